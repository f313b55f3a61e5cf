"""NeuroSim's devices: conductance as an exponential curve over the number of pulses.

    up    G =  B (1 - e^(-P/A)) + g_min            P = 0 .. P_max
    down  G = -B (1 - e^((P - P_max)/A)) + g_max   B = (g_max - g_min) / (1 - e^(-P_max/A))

Here x = P/P_max and k = P_max/A, negative for a curve that bends the other way, in both directions

    g(x) = (1 - e^(-k x)) / (1 - e^(-k))

and n pulses move x by n / P_max. A is told by a label of nonlinearity: positive where the curve rises steeply
at low conductance, so that an ordinary depression, steep at its start, has a negative one. NeuroSim tabulates
A/P_max over labels from .01 to 9; the table is (to its printed digits)

    |label| = 10 / (.7 sqrt 2) max_x (g(x) - x)

A train of n pulses varies by c2c sqrt(n) of the range ("cycle noise"), added at its end.

Chen, Peng & Yu, "NeuroSim: a circuit-level macro model for benchmarking neuro-inspired architectures in
online learning", IEEE Trans. CAD 37 (2018); devices and their published accuracies are in its table II. Not
modelled: read noise of the FeFET's gate, pulses of growing height, current-voltage nonlinearity.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from rheobase.config import option
from rheobase.crossbar.devices.base import Cells, Device, gain_of

#: Label over largest distance of the normalised curve from a straight line.
LABEL_PER_DISTANCE = 10 / (0.7 * math.sqrt(2))


def _measured(
    states: int, up: float, down: float, r_on: float, on_off: float, noise: float, **pulses: float
) -> dict[str, Any]:
    """Options from a row of NeuroSim's table: R_on in ohm, cycle noise as a share of the range."""
    return {
        "g_min": 1 / r_on / on_off,
        "g_max": 1 / r_on,
        "pulses_up": states,
        "pulses_down": states,
        "label_up": up,
        "label_down": down,
        "c2c": noise,
        **pulses,
    }


class Neurosim(Device):
    """A curve over pulses.

    >>> device = Neurosim.preset("ag-a-si")
    >>> cells = device.fresh((1,))
    >>> device.siemens(device.pulse(cells, torch.tensor([24]), torch.tensor([0]))["g"])
    tensor([1.9063e-08])
    """

    fitted: ClassVar = (("label_up",), ("label_down",))
    guesses: ClassVar[Mapping[str, tuple[float, ...]]] = {"label_up": (-2.0, 2.0), "label_down": (-2.0, 2.0)}
    noise_at_end: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "ag-a-si": _measured(
            97,
            2.4,
            -4.88,
            26e6,
            12.5,
            0.035,
            up_volts=3.2,
            down_volts=-2.8,
            up_seconds=300e-6,
            down_seconds=300e-6,
        ),
        # "< 1 %" of cycle noise.
        "pcmo": _measured(
            50,
            3.68,
            -6.76,
            23e6,
            6.84,
            0.01,
            up_volts=-2.0,
            down_volts=2.0,
            up_seconds=1e-3,
            down_seconds=1e-3,
        ),
        "alox-hfo2": _measured(
            40,
            1.94,
            -0.61,
            16.9e3,
            4.43,
            0.05,
            up_volts=0.9,
            down_volts=-1.0,
            up_seconds=100e-6,
            down_seconds=100e-6,
        ),
        # Heights and widths of pulses of the next two are not in the source used: the defaults.
        "gst-pcm": _measured(100, 0.105, 2.4, 4.71e3, 19.8, 0.015),
        "epiram": _measured(64, 0.5, -0.5, 81e3, 50.2, 0.02),
        # "< .5 %" of cycle noise; mean heights.
        "hzo-fefet": _measured(
            32,
            1.75,
            1.46,
            559.28e3,
            45,
            0.005,
            up_volts=3.65,
            down_volts=-2.95,
            up_seconds=75e-9,
            down_seconds=75e-9,
        ),
    }

    pulses_up: int = option(default=64, at_least=1, help="pulses from the lowest to the highest conductance")
    pulses_down: int = option(
        default=64, at_least=1, help="pulses from the highest to the lowest conductance"
    )
    label_up: float = option(default=1.0, at_least=-9, at_most=9, help="label of nonlinearity, up")
    label_down: float = option(default=-1.0, at_least=-9, at_most=9, help="label of nonlinearity, down")

    def increase(self, g: Tensor, cells: Cells) -> Tensor:
        return (self._after(g, torch.ones_like(g), cells, up=True, gain=1.0) - g).clamp(min=0)

    def decrease(self, g: Tensor, cells: Cells) -> Tensor:
        return (g - self._after(g, torch.ones_like(g), cells, up=False, gain=1.0)).clamp(min=0)

    def closed(self, g: Tensor, pulses: Tensor, cells: Cells, *, up: bool) -> Tensor:
        return self._after(g, pulses, cells, up=up, gain=gain_of(cells, up))

    @classmethod
    def of_curve(cls, pulses_up: int, pulses_down: int) -> dict[str, Any]:
        return {"pulses_up": max(1, pulses_up), "pulses_down": max(1, pulses_down)}

    def typical_steps(self) -> tuple[float, float]:
        return 1 / self.pulses_up, 1 / self.pulses_down

    def _after(self, g: Tensor, pulses: Tensor, cells: Cells, *, up: bool, gain: Tensor | float) -> Tensor:
        low, high = self.bounds(cells)
        k = curvature(self.label_up if up else self.label_down)
        share = ((g - low) / (high - low)).clamp(0, 1)
        x = share if k == 0 else -torch.log1p(share * math.expm1(-k)) / k
        moved = pulses * gain / (self.pulses_up if up else self.pulses_down)
        x = (x + moved if up else x - moved).clamp(0, 1)
        share = x if k == 0 else torch.expm1(-k * x) / math.expm1(-k)
        return low + share * (high - low)


@functools.cache
def curvature(label: float) -> float:
    """k = P_max / A of a label of nonlinearity.

    >>> round(1 / curvature(2.40), 4), round(1 / curvature(4.88), 4)
    (0.4992, 0.2003)
    """
    if label == 0:
        return 0.0
    low, high = 1e-6, 1e3
    for _ in range(200):
        k = math.sqrt(low * high)
        if LABEL_PER_DISTANCE * _distance(k) < abs(label):
            low = k
        else:
            high = k
    return math.copysign(k, label)


def _distance(k: float) -> float:
    """The largest distance of the curve from a straight line."""
    whole = -math.expm1(-k)
    x = -math.log(whole / k) / k  # where its slope is 1
    return (1 - whole / k) / whole - x
