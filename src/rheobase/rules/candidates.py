"""Candidates: sets of parameters whose loss is wanted, made one at a time, when asked for.

    parameters of member p = mean + s_p sigma * direction_p

with the direction's entries of variance 1, and s_p = +1; or, mirrored, members 2i and 2i + 1 share direction
i with s = +1 and -1. Directions come from `Noise`: nothing is kept for a member, so memory does not grow
with their number. Directions of matrices may be of low rank r: E = A B^T / sqrt(r), of which only the factors
A [to, r] and B [from, r] need be made, since x (W + sigma E)^T = x W^T + sigma (x B) A^T / sqrt(r).

Low rank: Sarkar et al., "Evolution strategies at the hyperscale" (EGGROLL), arXiv:2511.16652 (2025).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from rheobase.layers.members import Factored
from rheobase.rules.noise import Noise

#: How the entries of a direction are distributed: standard normal, or +1 and -1.
Law = Literal["normal", "signs"]


class LowRank(NamedTuple):
    """A matrix as the product of its factors, `left @ right.T`."""

    left: Tensor  # shape: [rows, r]
    right: Tensor  # shape: [columns, r]

    def dense(self) -> Tensor:
        """The matrix itself."""
        return self.left @ self.right.T


class Candidates(ABC):
    """P sets of parameters by name. Iterating makes each in turn."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The parameters that differ between members."""

    @abstractmethod
    def __len__(self) -> int:
        """The number of members P."""

    @abstractmethod
    def parameters(self, member: int) -> dict[str, Tensor]:
        """What member `member` (from 0) has for these parameters."""

    def together(self, members: Sequence[int]) -> dict[str, Tensor | Factored]:
        """What these members have for these parameters, side by side: `[P, *shape]`.

        Where members differ by a product of factors, that may be said instead: its entries are those of
        `parameters` but for rounding.
        """
        each = [self.parameters(member) for member in members]
        return {name: torch.stack([values[name] for values in each]) for name in self.names}

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return (self.parameters(member) for member in range(len(self)))


@dataclass(frozen=True)
class Perturbed(Candidates):
    """Members around a mean.

    Attributes:
        mean: The centre, by name.
        sigma: How far from it, by name: one number, or one for each entry.
        noise: Where directions come from.
        generation: Whose.
        population: The number of members.
        mirrored: Whether members 2i and 2i + 1 are on opposite sides.
        rank: Of the directions of parameters with two or more axes (flattened to matrices); full if None.
        law: How entries are distributed.
        address: Number of each parameter's noise; its place in `mean` where there is none.
        redrawn: Parameters that are drawn anew for each member, uniform in +-bound: the bound and the shape.

    >>> import torch
    >>> around = Perturbed({"w": torch.ones(2)}, {"w": torch.tensor(0.1)}, Noise(0), 0, 4)
    >>> first, second, *_ = around
    >>> (first["w"] + second["w"]).tolist()
    [2.0, 2.0]
    """

    mean: Mapping[str, Tensor]
    sigma: Mapping[str, Tensor]
    noise: Noise
    generation: int
    population: int
    mirrored: bool = True
    rank: int | None = None
    law: Law = "normal"
    address: Mapping[str, int] = field(default_factory=dict)
    redrawn: Mapping[str, tuple[float, tuple[int, ...]]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.mean, *self.redrawn)

    def __len__(self) -> int:
        return self.population

    @property
    def directions(self) -> int:
        """How many directions there are: half as many as members, if mirrored."""
        return self.population // 2 if self.mirrored else self.population

    def place(self, member: int) -> tuple[int, float]:
        """A member's direction and the side it is on, +1 or -1."""
        return (member // 2, -1.0 if member % 2 else 1.0) if self.mirrored else (member, 1.0)

    def direction(self, index: int, name: str) -> Tensor | LowRank:
        """Direction `index` for one parameter, entries of variance 1: in its shape, or a matrix's factors."""
        mean, number = self.mean[name], self._address(name)
        if self.rank is None or mean.dim() < 2:
            draw = self.noise.normal if self.law == "normal" else self.noise.signs
            return draw(self.generation, index, number, mean.shape).to(mean.dtype)
        rows, columns = mean.shape[0], mean[0].numel()
        both = self.noise.normal(self.generation, index, number, (rows + columns, self.rank)).to(mean.dtype)
        return LowRank(both[:rows] / math.sqrt(self.rank), both[rows:])

    def parameters(self, member: int) -> dict[str, Tensor]:
        index, side = self.place(member)
        values = {}
        for name, mean in self.mean.items():
            direction = self.direction(index, name)
            full = direction.dense().reshape(mean.shape) if isinstance(direction, LowRank) else direction
            values[name] = mean + (side * self.sigma[name]) * full
        for name, (bound, shape) in self.redrawn.items():
            drawn = self.noise.uniform(self.generation, member, self._address(name), shape)
            values[name] = bound * drawn
        return values

    def together(self, members: Sequence[int]) -> dict[str, Tensor | Factored]:
        places = [self.place(member) for member in members]
        values: dict[str, Tensor | Factored] = {}
        for name, mean in self.mean.items():
            drawn = {index: self.direction(index, name) for index in dict.fromkeys(i for i, _ in places)}
            factors = {index: d for index, d in drawn.items() if isinstance(d, LowRank)}
            sigma = self.sigma[name]
            if factors and sigma.dim() == 0:
                left = torch.stack([(side * sigma) * factors[index].left for index, side in places])
                right = torch.stack([factors[index].right.T for index, _ in places])
                values[name] = Factored(mean.flatten(1), left, right)
                continue
            full = {
                i: d.dense().reshape(mean.shape) if isinstance(d, LowRank) else d for i, d in drawn.items()
            }
            values[name] = torch.stack([mean + (side * sigma) * full[index] for index, side in places])
        for name, (bound, shape) in self.redrawn.items():
            number = self._address(name)
            each = [self.noise.uniform(self.generation, member, number, shape) for member in members]
            values[name] = bound * torch.stack(each)
        return values

    def _address(self, name: str) -> int:
        if self.address:
            return self.address[name]
        return self.names.index(name)
