"""The exponential law: steps shrink exponentially with the distance already gone.

    up    dG =  a+ e^(-b+ (G - g_min) / (g_max - g_min))
    down  dG = -a- e^(-b- (g_max - G) / (g_max - g_min))

a in units of g_max. With `fall`, both amplitudes fall linearly, by this share, over the first `fall_writes`
writes to the array, and stay there. The default, in units of g_max: a+ .01, a- .005, b 3, g_min 1e-4, g_max
1, in siemens a hundred microsiemens.

The form is that of Querlioz et al., "Immunity to device variations in a spiking neural network with
memristive nanodevices", IEEE Trans. Nanotechnology 12 (2013), whose simplified STDP uses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from rheobase.config import option
from rheobase.crossbar.devices.base import Cells, Device


class Exponential(Device):
    """Exponentially shrinking steps, with amplitudes that may fall in the course of training.

    >>> device = Exponential()
    >>> cells = device.place(device.fresh((1,)), device.normalised(torch.tensor([0.5e-4])))
    >>> one = torch.ones(1)
    >>> device.siemens(device.pulse(cells, one, 0 * one)["g"]) * 1e4
    tensor([0.5022])
    """

    known: ClassVar[tuple[str, ...]] = ("writes",)
    fitted: ClassVar = (("a_up", "b_up"), ("a_down", "b_down"))
    guesses: ClassVar[Mapping[str, tuple[float, ...]]] = {"b_up": (0.5, 3.0), "b_down": (0.5, 3.0)}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # "Adaptive STDP": amplitudes fall to a half over training, here of 10,000 writes.
        "adaptive": {"fall": 0.5, "fall_writes": 10_000},
    }

    g_min: float = option(default=1e-8, unit="S", at_least=0, help="nominal lowest conductance")
    g_max: float = option(default=1e-4, unit="S", above=0, help="nominal highest conductance")
    a_up: float = option(default=0.01, above=0, help="largest step up, in units of g_max")
    a_down: float = option(default=0.005, above=0, help="largest step down, in units of g_max")
    b_up: float = option(default=3.0, help="how fast steps up shrink")
    b_down: float = option(default=3.0, help="how fast steps down shrink")
    fall: float = option(default=0.0, at_least=0, at_most=1, help="share by which amplitudes fall")
    fall_writes: int = option(
        default=10_000, at_least=1, unit="writes", help="over how many writes they fall"
    )

    def fresh(
        self,
        shape: Sequence[int],
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Cells:
        cells = super().fresh(shape, generator, dtype)
        return {**cells, "writes": torch.zeros((), dtype=torch.int64)} if self.fall else cells

    def increase(self, g: Tensor, cells: Cells) -> Tensor:
        return self._amplitude(self.a_up, cells) * torch.exp(-self.b_up * g)

    def decrease(self, g: Tensor, cells: Cells) -> Tensor:
        return self._amplitude(self.a_down, cells) * torch.exp(-self.b_down * (1 - g))

    def pulse_at(
        self,
        cells: Cells,
        chosen: Tensor,
        up: Tensor,
        down: Tensor,
        generator: torch.Generator | None = None,
    ) -> Cells:
        after = super().pulse_at(cells, chosen, up, down, generator)
        return {**after, "writes": cells["writes"] + 1} if "writes" in cells else after

    def _amplitude(self, a: float, cells: Cells) -> float | Tensor:
        share = a * self.g_max / (self.g_max - self.g_min)
        if "writes" not in cells:
            return share
        return share * (1 - self.fall * (cells["writes"] / self.fall_writes).clamp(max=1))
