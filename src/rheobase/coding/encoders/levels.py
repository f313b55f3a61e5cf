"""Values in time as spikes of neurons that stand for levels, at k / (levels + 1), k = 1 ... levels.

Thermometer         spikes at each step at or above the level
ThresholdCrossing   spikes where x crosses the level between t-1 and t
"""

from __future__ import annotations

import torch
from torch import Tensor

from rheobase.coding.encoders.base import Encoder, time_first
from rheobase.config import option


class ThresholdCrossing(Encoder):
    """Levels that are crossed: a neuron per level and direction fires where the value passes it.

    Levels are at k / (levels + 1), k = 1 ... levels. Each has a neuron for the way up and one for the way
    down, so a sequence `[B, T, ...]` of values in [0, 1] becomes spikes `[T, B, ..., 2 levels]`, the way up
    first. The value before the first step counts as 0.

    Bellec, Salaj, Subramoney, Legenstein & Maass 2018, "Long short-term memory and learning-to-learn in
    networks of spiking neurons", https://arxiv.org/abs/1803.09574 (80 such inputs for the grey values of an
    image read pixel by pixel).

    >>> up, down = ThresholdCrossing(levels=3).encode(torch.tensor([[[0.6], [0.1]]]))[:, 0, 0]
    >>> up, down  # over the levels 1/4 and 2/4, and back
    (tensor([1., 1., 0., 0., 0., 0.]), tensor([0., 0., 0., 1., 1., 0.]))
    """

    levels: int = option(default=40, at_least=1, help="levels, each with a neuron per direction")

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*input_shape, 2 * self.levels)

    def _encode(self, values: Tensor, generator: torch.Generator | None) -> Tensor:
        sequence = time_first(values, "ThresholdCrossing")
        level = _levels(self.levels, values)
        above = sequence.unsqueeze(-1) >= level  # shape: [T, B, ..., levels]
        before = torch.cat([torch.zeros_like(above[:1]), above[:-1]])
        return torch.cat([above & ~before, before & ~above], -1).to(values.dtype)


class Thermometer(Encoder):
    """Levels that are reached: the neuron of a level fires at each step at or above it.

    Levels are at k / (levels + 1), k = 1 ... levels. A sequence `[B, T, ...]` of values in [0, 1] becomes
    spikes `[T, B, ..., levels]`.

    >>> Thermometer(levels=3).encode(torch.tensor([[[0.6], [0.1]]]))[:, 0, 0].tolist()
    [[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """

    levels: int = option(default=4, at_least=1, help="levels, each with a neuron")

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*input_shape, self.levels)

    def _encode(self, values: Tensor, generator: torch.Generator | None) -> Tensor:
        sequence = time_first(values, "Thermometer")
        level = _levels(self.levels, values)
        return (sequence.unsqueeze(-1) >= level).to(values.dtype)


def _levels(number: int, like: Tensor) -> Tensor:
    return torch.arange(1, number + 1, dtype=like.dtype, device=like.device) / (number + 1)
