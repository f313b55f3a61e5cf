"""Sequences as they are: I[t] = gain x[t] + offset."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from rheobase.coding.encoders.base import Encoder, time_first
from rheobase.config import option


class Sequence(Encoder):
    """Values that are a sequence already, `[B, T, ...]`, as input currents (or spikes) `[T, B, ...]`.

    >>> Sequence(gain=2.0).encode(torch.tensor([[[0.5], [1.0], [0.0]]])).flatten()
    tensor([1., 2., 0.])
    """

    unit_interval: ClassVar[bool] = False

    gain: float = option(default=1.0, help="input current per unit of value")
    offset: float = option(default=0.0, help="input current at the value 0")

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape

    def _encode(self, values: Tensor, generator: torch.Generator | None) -> Tensor:
        sequence = time_first(values, "Sequence")
        if self.gain != 1.0:
            sequence = sequence * self.gain
        return (sequence + self.offset if self.offset else sequence).contiguous()
