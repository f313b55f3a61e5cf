"""What constant, linear and soft-bound steps share: steps that fall linearly from the origin to the bounds.

    up    dg =  step_up   (1 - slope_up   (g - origin) / (high - origin))
    down  dg = -step_down (1 - slope_down (origin - g) / (origin - low))

at least 0. With slopes s between 0 and 1 there is an exact solution for n pulses: with y = g - origin and
k = step s / (bound - origin), y_n = y (1 - k)^n + (step / k) (1 - (1 - k)^n), clipped once at the end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from rheobase.config import option
from rheobase.crossbar.devices.base import Cells, Device, gain_of

#: A bound of a cell is at least this far from the origin, where a slope is measured by it.
NEAREST = 0.02


class Linear(Device, ABC):
    """Steps that are linear in the conductance."""

    origin: float = option(default=0.5, above=0, help="where the steps are those given, normalised")
    step_up: float = option(default=0.005, above=0, help="a step up at the origin, as a share of the range")
    step_down: float = option(
        default=0.005, above=0, help="a step down at the origin, as a share of the range"
    )
    additive: bool = option(
        default=False, help="whether pulse-to-pulse spread is relative to the step at the origin"
    )

    def validate(self) -> None:
        super().validate()
        if self.origin >= 1:
            raise ValueError(
                f"{type(self).__name__}.origin: got {self.origin}, wanted a share between 0 and 1"
            )

    @abstractmethod
    def slopes(self) -> tuple[float, float]:
        """slope_up and slope_down."""

    @property
    def own_bounds(self) -> bool:
        """Whether slopes are relative to a cell's own bounds, or to the nominal ones."""
        return False

    def increase(self, g: Tensor, cells: Cells) -> Tensor:
        return self.step_up * (1 - self._rate(cells, True) * (g - self.origin)).clamp(min=0)

    def decrease(self, g: Tensor, cells: Cells) -> Tensor:
        return self.step_down * (1 - self._rate(cells, False) * (self.origin - g)).clamp(min=0)

    def spread(self, g: Tensor, step: Tensor, cells: Cells, *, up: bool) -> Tensor:
        if not self.additive:
            return self.c2c * step
        at_origin = self.c2c * (self.step_up if up else self.step_down)
        return torch.ones_like(g) * (gain_of(cells, up) * at_origin)

    def closed(self, g: Tensor, pulses: Tensor, cells: Cells, *, up: bool) -> Tensor | None:
        if not all(0 <= slope <= 1 for slope in self.slopes()):
            return None
        step = torch.as_tensor(gain_of(cells, up) * (self.step_up if up else self.step_down), dtype=g.dtype)
        rate = torch.as_tensor(self._rate(cells, up), dtype=g.dtype)
        if bool((step * rate >= 1).any()):
            return None  # a step that overshoots: pulse by pulse
        y = g - self.origin if up else self.origin - g
        stays = torch.log1p(-step * rate) * pulses
        # (1 - (1-k)^n) / k, which is n without a slope.
        series = torch.where(
            rate == 0, step * pulses, -torch.expm1(stays) / torch.where(rate == 0, 1.0, rate)
        )
        y = y * torch.exp(stays) + series
        return self.origin + y if up else self.origin - y

    def _rate(self, cells: Cells, up: bool) -> Tensor | float:
        """Slope over the distance from the origin to the bound."""
        slope = self.slopes()[0 if up else 1]
        low, high = self.bounds(cells) if self.own_bounds else (0.0, 1.0)
        room = high - self.origin if up else self.origin - low
        return slope / (room.clamp(min=NEAREST) if isinstance(room, Tensor) else room)
