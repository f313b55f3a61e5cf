"""What strategies share whose members are the mean and independent noise on each entry."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from rheobase.config import option
from rheobase.registry import unknown
from rheobase.rules.base import Memory
from rheobase.rules.candidates import Law, Perturbed
from rheobase.rules.evolution import Evolution, Tensors, addresses, belongs, noise_of


class Perturbing(Evolution):
    """A strategy whose members are mean + sigma * noise; sigma is in the memory, by parameter."""

    law: ClassVar[Law] = "normal"

    sigma: float = option(default=0.05, above=0, help="standard deviation of the noise on parameters")
    layer_sigma: tuple[str, ...] = option(
        default=(), help="another sigma for single layers or parameters, such as dense2=0.1"
    )
    mirrored: bool = option(default=True, help="take members in pairs on opposite sides of the mean")

    def validate(self) -> None:
        if self.mirrored and self.population % 2:
            raise ValueError(
                f"{type(self).__name__}.population: got {self.population} with mirrored members, wanted an "
                "even number: they come in pairs; or set mirrored to false"
            )
        self._own_sigmas()

    def _start(self, mean: Tensors) -> Memory:
        own = self._own_sigmas()
        for layer in own:
            if not any(belongs(name, layer) for name in mean):
                known = {name.removeprefix("layers.") for name in mean}
                raise ValueError(f"{type(self).__name__}.layer_sigma: {unknown('layer', layer, known)}")
        sigmas = {}
        for name, value in mean.items():
            number = next((s for layer, s in own.items() if belongs(name, layer)), self.sigma)
            sigmas[f"sigma/{name}"] = self._spread(value, number)
        return sigmas

    def _spread(self, value: Tensor, sigma: float) -> Tensor:
        """The first sigma of a parameter: one number, unless a strategy has one for each entry."""
        return torch.tensor(sigma, dtype=value.dtype)

    def _ask(self, active: Tensors, mean: Tensors, memory: Memory) -> Perturbed:
        return Perturbed(
            mean=active,
            sigma={name: memory[f"sigma/{name}"] for name in active},
            noise=noise_of(memory),
            generation=int(memory["generation"]),
            population=self.population,
            mirrored=self.mirrored,
            rank=self._rank(),
            law=self.law,
            address=addresses(mean),
        )

    def _rank(self) -> int | None:
        """The rank of the noise on matrices; full if None."""
        return None

    def _own_sigmas(self) -> dict[str, float]:
        found = {}
        for word in self.layer_sigma:
            layer, _, text = word.partition("=")
            try:
                found[layer] = float(text)
            except ValueError:
                found[layer] = 0.0
            if not found[layer] > 0:
                raise ValueError(
                    f"{type(self).__name__}.layer_sigma: got '{word}', wanted LAYER=SIGMA with a number "
                    "above 0, such as dense2=0.1"
                )
        return found
