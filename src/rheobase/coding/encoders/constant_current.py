"""Values as currents that do not change: I[t] = gain x."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from rheobase.coding.encoders.base import Encoder
from rheobase.config import option
from rheobase.kernels.constant import Constant


class ConstantCurrent(Encoder):
    """Every value is an input current, `gain` times the value, the same at each step. Any finite values.

    Source: snnTorch tutorial 5 (static MNIST, 25 steps),
    https://snntorch.readthedocs.io/en/latest/tutorials/tutorial_5.html

    >>> ConstantCurrent(steps=25, gain=2.0).encode(torch.tensor([[0.5, 1.0]])).value
    tensor([[1., 2.]])
    """

    unit_interval: ClassVar[bool] = False

    steps: int = option(
        default=25, unit="steps", at_least=1, help="time steps for which the values are shown"
    )
    gain: float = option(default=1.0, help="input current per unit of value")

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.steps, *input_shape)

    def _encode(self, values: Tensor, generator: torch.Generator | None) -> Constant:
        return Constant(values if self.gain == 1.0 else values * self.gain, self.steps)
