"""Sequences as what they leave behind: I[t] = a I[t-1] + gain x[t], a = exp(-dt/tau)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from rheobase.coding.encoders.base import Encoder, time_first
from rheobase.coding.filters import Exponential
from rheobase.config import option


class Trace(Encoder):
    """What values that are a sequence already leave behind: a current that decays, or lasts.

    Each value of `[B, T, ...]` adds to a current that decays with `tau`, so that an input that fires once is
    felt for longer than one step.

    >>> Trace().encode(torch.tensor([[[0.0], [1.0], [0.0]]])).flatten()
    tensor([0., 1., 1.])
    """

    unit_interval: ClassVar[bool] = False

    gain: float = option(default=1.0, help="input current per unit of value")
    tau: float | None = option(
        default=None, above=0, unit="ms", help="time constant of the decay (no decay if none)"
    )
    dt: float = option(default=1.0, unit="ms", above=0, help="duration of a time step")

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape

    def _encode(self, values: Tensor, generator: torch.Generator | None) -> Tensor:
        sequence = time_first(values, "Trace") * self.gain
        if self.tau is None:
            return sequence.cumsum(0)
        return Exponential(tau=self.tau, normalise="none")(sequence, self.dt)
