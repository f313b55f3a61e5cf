"""What an encoder is: values become an input sequence, time-major.

Shapes: T time steps, B samples, `...` the features of one sample (pixels, channels).

Gerstner, Kistler, Naud & Paninski 2014, "Neuronal Dynamics", chapter 7, https://neuronaldynamics.epfl.ch
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from rheobase.config import Config
from rheobase.kernels.constant import Constant


class Encoder(Config, ABC):
    """Turns a batch of values into an input sequence."""

    room: ClassVar[str] = "rheobase.coding.encoders"
    random: ClassVar[bool] = False  # draws random numbers: `encode` then needs a generator
    unit_interval: ClassVar[bool] = True  # takes values in [0, 1] only; otherwise any finite values

    def encode(self, values: Tensor, generator: torch.Generator | None = None) -> Tensor | Constant:
        """Values `[B, ...]` as a sequence `[T, B, ...]` of the same dtype, on the same device.

        Raises `ValueError` for values that are not floating point, empty, not finite or outside [0, 1] (see
        `unit_interval`), and for a random encoder without a generator on the device of the values.
        """
        self._check(values, generator)
        return self._encode(values, generator)

    @abstractmethod
    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape `(T, ...)` of one encoded sample, for the shape `(...)` of one sample (no batch axis)."""

    @abstractmethod
    def _encode(self, values: Tensor, generator: torch.Generator | None) -> Tensor | Constant:
        """`encode` on values that were checked."""

    def _check(self, values: Tensor, generator: torch.Generator | None) -> None:
        who = type(self).__name__
        shape = tuple(values.shape)
        if not values.is_floating_point():
            raise ValueError(
                f"{who}: got values of {values.dtype}, wanted floating point; for bytes, divide by 255"
            )
        if values.dim() < 2 or values.numel() == 0:
            raise ValueError(f"{who}: got values of shape {shape}, wanted [B, ...] with nothing of size 0")
        low, high = (float(extreme) for extreme in values.detach().aminmax())  # NaN wins in both
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(
                f"{who}: got values that are NaN or infinite, wanted finite ones; clean the data"
            )
        if self.unit_interval and (low < 0 or high > 1):
            raise ValueError(
                f"{who}: got values from {low:g} to {high:g}, wanted 0 to 1; scale the data to that range"
            )
        if self.random and generator is None:
            raise ValueError(f"{who}: got no generator, wanted a seeded torch.Generator; its code is random")
        if self.random and generator is not None and generator.device.type != values.device.type:
            raise ValueError(
                f"{who}: got a generator on {generator.device} for values on {values.device}, wanted one "
                "device; make it with torch.Generator(device=...)"
            )


def time_first(values: Tensor, who: str) -> Tensor:
    """A sequence `[B, T, ...]` as `[T, B, ...]`."""
    if values.dim() < 3:
        raise ValueError(f"{who}: got values of shape {tuple(values.shape)}, wanted a sequence [B, T, ...]")
    return values.transpose(0, 1)
