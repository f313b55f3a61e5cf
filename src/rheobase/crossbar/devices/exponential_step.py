"""aihwkit's exponential step, a fit with four constants per direction to ReRAM and to CMOS-like cells.

    z = 2 a (g - origin) / (high - low) + b
    up    dg =  step_up   max(1 - A_up   e^(gamma_up z), 0)
    down  dg = -step_down max(1 - A_down e^(-gamma_down z), 0)

The pulse-to-pulse spread is c2c (step + noise_add + noise_slope |g - origin|).

aihwkit's `ExpStepDevice`; the constants have no spread from device to device, there and here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from rheobase.config import option
from rheobase.crossbar.devices._weights import published
from rheobase.crossbar.devices.base import Cells, Device


class ExponentialStep(Device):
    """Steps with an exponential in the conductance.

    >>> ExponentialStep.preset("reram-es").step_up
    0.000675
    """

    fitted: ClassVar = (("step_up", "A_up", "gamma_up"), ("step_down", "A_down", "gamma_down"))
    guesses: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "A_up": (0.1, -1.0),
        "A_down": (0.1, -1.0),
        "gamma_up": (2.0, 8.0),
        "gamma_down": (2.0, 8.0),
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # aihwkit's ReRamESPresetDevice, a fit to Gong et al., Nature Communications 9, 2018.
        "reram-es": published(
            -1,
            1,
            0.00135,
            up_down=0.259359,
            dw_min_dtod=0.2,
            up_down_dtod=0.05,
            w_min_dtod=0.3,
            w_max_dtod=0.3,
            dw_min_std=5.0,
            write_noise_std=75.0,
            a=-0.5,
            b=-0.5,
            gamma_up=5.0,
            gamma_down=5.0,
            A_up=-1.18445,
            A_down=-0.081404,
        ),
    }

    origin: float = option(default=0.5, help="where g stands for a weight of 0, normalised")
    step_up: float = option(default=0.0005, above=0, help="scale of steps up, as a share of the range")
    step_down: float = option(default=0.0005, above=0, help="scale of steps down, as a share of the range")
    a: float = option(default=0.244, help="slope of z")
    b: float = option(default=0.2425, help="offset of z")
    A_up: float = option(default=0.00081, help="factor of the exponential, up")
    A_down: float = option(default=0.36833, help="factor of the exponential, down")
    gamma_up: float = option(default=12.44625, help="exponent, up")
    gamma_down: float = option(default=12.78785, help="exponent, down")
    noise_add: float = option(
        default=0.0, at_least=0, help="part of the spread that is always there, of the range"
    )
    noise_slope: float = option(default=0.0, at_least=0, help="part of the spread that grows from the origin")

    def increase(self, g: Tensor, cells: Cells) -> Tensor:
        return self.step_up * (1 - self.A_up * torch.exp(self.gamma_up * self._z(g, cells))).clamp(min=0)

    def decrease(self, g: Tensor, cells: Cells) -> Tensor:
        return self.step_down * (1 - self.A_down * torch.exp(-self.gamma_down * self._z(g, cells))).clamp(
            min=0
        )

    def spread(self, g: Tensor, step: Tensor, cells: Cells, *, up: bool) -> Tensor:
        return self.c2c * (step + self.noise_add + self.noise_slope * (g - self.origin).abs())

    def _z(self, g: Tensor, cells: Cells) -> Tensor:
        low, high = self.bounds(cells)
        room = high - low
        room = room.clamp(min=1e-6) if isinstance(room, Tensor) else room
        return 2 * self.a * (g - self.origin) / room + self.b
