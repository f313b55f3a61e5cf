"""Random numbers: one private generator per purpose, each derived from the one seed.

So that, say, another encoder does not change the order of the data. Two things draw from torch's
global generator, which cannot be handed in: the initial weights, and modules such as dropout. For
these it is seeded (and given back as it was).

The states of all of them are part of a checkpoint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Purpose = Literal[
    "weights",
    "order",
    "encoder",
    "augmentation",
    "evaluation",
    "modules",
    "settling",
    "rewiring",
    "noise",
    "rule",
    "devices",
    "programming",
]


def derived(seed: int, purpose: Purpose) -> int:
    """The seed for one purpose: the first 63 bits of SHA-256 of "seed/purpose".

    >>> derived(0, "weights") != derived(0, "order") != derived(1, "order")
    True
    """
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, purpose: Purpose) -> torch.Generator:
    """A fresh generator for one purpose."""
    return torch.Generator().manual_seed(derived(seed, purpose))


@contextmanager
def global_seed(seed: int, purpose: Purpose) -> Iterator[None]:
    """torch's global generator seeded for a purpose within, and as it was afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived(seed, purpose))
        yield


@dataclass(frozen=True)
class Generators:
    """The generators that training draws from, step after step."""

    order: torch.Generator
    encoder: torch.Generator
    augmentation: torch.Generator
    rewiring: torch.Generator
    noise: torch.Generator

    @classmethod
    def from_seed(cls, seed: int) -> Generators:
        """All of them, at their start."""
        return cls(
            generator(seed, "order"),
            generator(seed, "encoder"),
            generator(seed, "augmentation"),
            generator(seed, "rewiring"),
            generator(seed, "noise"),
        )

    def states(self) -> dict[str, Tensor]:
        """The state of each, and of torch's global generator: uint8 tensors."""
        return {
            "order": self.order.get_state(),
            "encoder": self.encoder.get_state(),
            "augmentation": self.augmentation.get_state(),
            "rewiring": self.rewiring.get_state(),
            "noise": self.noise.get_state(),
            "modules": torch.get_rng_state(),
        }

    def restore(self, states: Mapping[str, Tensor]) -> None:
        """Set all states that `states` returned."""
        self.order.set_state(states["order"])
        self.encoder.set_state(states["encoder"])
        self.augmentation.set_state(states["augmentation"])
        self.rewiring.set_state(states["rewiring"])
        self.noise.set_state(states["noise"])
        torch.set_rng_state(states["modules"])
