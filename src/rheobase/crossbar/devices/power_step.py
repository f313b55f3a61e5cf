"""The power law: steps fall as a power of the distance to the bound.

    up    dg =  step_up   ((high - g) / (high - low))^gamma_up
    down  dg = -step_down ((g - low) / (high - low))^gamma_down

aihwkit's `PowStepDevice`. Not modelled: spreads of the exponents from device to device.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from rheobase.config import option
from rheobase.crossbar.devices.base import Cells, Device


class PowerStep(Device):
    """Steps that fall as a power of the room left.

    >>> import torch
    >>> PowerStep(step_up=0.04, gamma_up=2.0).increase(torch.tensor([0.5]), {})
    tensor([0.0100])
    """

    fitted: ClassVar = (("step_up", "gamma_up"), ("step_down", "gamma_down"))
    guesses: ClassVar[Mapping[str, tuple[float, ...]]] = {"gamma_up": (0.7, 2.0), "gamma_down": (0.7, 2.0)}

    step_up: float = option(
        default=0.01, above=0, help="a step up from the lower bound, as a share of the range"
    )
    step_down: float = option(default=0.01, above=0, help="a step down from the upper bound, likewise")
    gamma_up: float = option(default=1.0, at_least=0, help="exponent of steps up")
    gamma_down: float = option(default=1.0, at_least=0, help="exponent of steps down")

    def increase(self, g: Tensor, cells: Cells) -> Tensor:
        low, high = self.bounds(cells)
        return self.step_up * _share(high - g, high - low) ** self.gamma_up

    def decrease(self, g: Tensor, cells: Cells) -> Tensor:
        low, high = self.bounds(cells)
        return self.step_down * _share(g - low, high - low) ** self.gamma_down


def _share(part: Tensor, whole: Tensor | float) -> Tensor:
    whole = whole.clamp(min=1e-6) if isinstance(whole, Tensor) else whole
    return (part / whole).clamp(min=0)
