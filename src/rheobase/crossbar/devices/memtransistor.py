"""The MoS2 memtransistor: an exponential law measured on a device with a gate terminal.

    up    dg =  f a_up   e^(-b_up g)
    down  dg = -f a_down e^(-b_down (1 - g))

fitted to Fig. 4c of Sangwan et al., "Multi-terminal memtransistors from polycrystalline monolayer molybdenum
disulfide", Nature 554 (2018): a_up .2248, b_up 1.537 (root mean square error .005 of the range), a_down
.8698, b_down 3.762 (.012). One such pulse moves the conductance by up to 87 % of the range: few states,
strongly nonlinear.

The gate voltage V sets the on/off ratio r: 300 at +50 V, 8 at -50 V there; between and beyond it is taken as
exponential in V. What this does to a cell is not settled, so there are two laws, with
s(V) = (r(V) - 1) / (r(V_0) - 1), V_0 = 50 V:

    window   the conductance that is read is s(V) g; the state and its steps are as they were (f = 1)
    step     steps are f = s(V) as large; what is read is the state

Cells hold their gate voltages, "gate", in V: one for the array, for each row (an input; `[inputs]`), column
(an output; `[outputs, 1]`) or cell. Change them there; gradients flow through reads (window) and pulses
(step).

The window's absolute scale, 10 nS to 3 uS, is an assumption; its ratio is the measured one.

Not modelled: drift of the gate's threshold, sneak currents, a second gate (Lee et al., Advanced Functional
Materials 30, 2020), pulses of other shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from rheobase.config import option
from rheobase.crossbar.devices.base import Cells, Device

#: Gate voltages and on/off ratios that were measured.
LOW_VOLTS, LOW_RATIO, HIGH_VOLTS, HIGH_RATIO = -50.0, 8.0, 50.0, 300.0


class Memtransistor(Device):
    """An exponential law with a gate.

    >>> device = Memtransistor()
    >>> cells = device.fresh((2, 3))
    >>> two = torch.full((2, 3), 2)
    >>> device.pulse(cells, two, 0 * two)["g"][0, 0]
    tensor(0.3839)
    """

    known: ClassVar[tuple[str, ...]] = ("gate",)
    fitted: ClassVar = (("a_up", "b_up"), ("a_down", "b_down"))
    guesses: ClassVar[Mapping[str, tuple[float, ...]]] = {"b_up": (0.5, 3.0), "b_down": (0.5, 3.0)}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "sangwan-2018": {},
        # The same with an assumed spread of 5 % from pulse to pulse and from device to device.
        "memtransistor-5": {"c2c": 0.05, "step_d2d": 0.05},
    }

    g_min: float = option(default=1e-8, unit="S", at_least=0, help="nominal lowest conductance")
    g_max: float = option(
        default=3e-6, unit="S", above=0, help="nominal highest conductance, at +50 V of gate"
    )
    a_up: float = option(default=0.2248, above=0, help="largest step up, as a share of the range")
    a_down: float = option(default=0.8698, above=0, help="largest step down, as a share of the range")
    b_up: float = option(default=1.537, help="how fast steps up shrink")
    b_down: float = option(default=3.762, help="how fast steps down shrink")
    gate_law: Literal["window", "step"] = option(default="window", help="what the gate voltage changes")
    gate_volts: float = option(default=HIGH_VOLTS, unit="V", help="gate voltage of fresh cells")
    gate_per: Literal["array", "row", "column", "cell"] = option(default="array", help="what shares a gate")

    def fresh(
        self,
        shape: Sequence[int],
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Cells:
        cells = super().fresh(shape, generator, dtype)
        size = {"array": (), "row": tuple(shape[-1:]), "column": (*shape[-2:-1], 1), "cell": tuple(shape)}
        return {**cells, "gate": torch.full(size[self.gate_per], self.gate_volts, dtype=dtype)}

    def increase(self, g: Tensor, cells: Cells) -> Tensor:
        return self._step(cells) * self.a_up * torch.exp(-self.b_up * g)

    def decrease(self, g: Tensor, cells: Cells) -> Tensor:
        return self._step(cells) * self.a_down * torch.exp(-self.b_down * (1 - g))

    def scale(self, cells: Cells) -> Tensor:
        return gate_factor(cells["gate"]) if self.gate_law == "window" else torch.ones_like(cells["gate"])

    def conductance(self, cells: Cells) -> Tensor:
        gate = cells["gate"]
        if gate.dim() == 0 and not gate.requires_grad and float(gate) == HIGH_VOLTS:
            return cells["g"]  # the factor is 1
        return cells["g"] * self.scale(cells)

    def place(self, cells: Cells, g: Tensor) -> Cells:
        return super().place(cells, g / self.scale(cells).clamp(min=1e-6))

    def _step(self, cells: Cells) -> Tensor | float:
        return gate_factor(cells["gate"]) if self.gate_law == "step" else 1.0


def gate_factor(volts: Tensor) -> Tensor:
    """s(V), 1 at +50 V.

    >>> gate_factor(torch.tensor([50.0, -50.0]))
    tensor([1.0000, 0.0234])
    """
    share = (volts - LOW_VOLTS) / (HIGH_VOLTS - LOW_VOLTS)
    ratio = LOW_RATIO * (HIGH_RATIO / LOW_RATIO) ** share
    return (ratio - 1).clamp(min=0) / (HIGH_RATIO - 1)
