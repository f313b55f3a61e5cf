"""Accumulate, then write: wishes are summed digitally until they are worth a pulse.

    chi <- chi + wish;  pulses = trunc(chi / step);  chi <- chi - pulses step

with the step that the write circuit expects; nothing is read back (unless steps are counted where the cell
is), so what a pulse really did stays unknown.

Mixed-precision training: Nandakumar et al., "Mixed-precision deep learning based on computational memory",
Frontiers in Neuroscience 14 (2020) 406.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from rheobase.config import option
from rheobase.crossbar.array import Array, Placed
from rheobase.crossbar.devices.base import Device, cells_at
from rheobase.crossbar.mapping import DifferentialPair, Offset, OneSigned
from rheobase.crossbar.programming.base import (
    LEAST_STEP,
    Programming,
    State,
    Steps,
    apply,
    in_steps,
    step_sizes,
    turned,
    weight_of,
)

#: What no write circuit knows of a cell, and so need not be looked up.
_HIDDEN = ("gain_up", "gain_down", "low", "high", "hidden", "persistence", "stuck")


class Accumulate(Programming):
    """Sums of wishes, written once they are whole pulses.

    >>> import torch
    >>> from rheobase.crossbar.array import place
    >>> from rheobase.crossbar.devices.constant_step import ConstantStep
    >>> from rheobase.crossbar.mapping import Offset
    >>> from rheobase.layers.dense import Dense
    >>> law = ConstantStep(step_up=0.01, step_down=0.01)  # 0.02 of a weight's range of -1 to 1
    >>> placed = place(Dense(3, 2), law, Offset(), generator=None, largest=1.0)
    >>> generator = torch.Generator().manual_seed(0)
    >>> scheme = Accumulate()
    >>> state = scheme.begin(placed)
    >>> for _ in range(10):
    ...     scheme.write(placed, torch.full((2, 3), 0.005), state, generator)  # a quarter of a step
    >>> placed.array.pulses[0, 0].tolist(), round(float(state["sum"][0, 0]), 3)
    ([[2, 2, 2], [2, 2, 2]], 0.01)
    """

    digital: ClassVar[str] = "one number per weight (the sum)"

    every: int = option(default=1, at_least=1, unit="updates", help="updates between writes")
    most: int = option(default=64, at_least=1, unit="pulses", help="most pulses per write")
    steps: Steps = option(
        default="present", help="how wishes are counted: by one step size, or the present one"
    )

    def _begin(self, placed: Placed) -> State:
        return {"sum": torch.zeros_like(placed.parameter.detach()), "updates": 0}

    def meant(self, placed: Placed, state: Mapping[str, Any]) -> Tensor:
        stored: Tensor = placed.array.stored()
        total: Tensor = state["sum"]
        return stored.view_as(total) + total

    def _write(self, placed: Placed, wish: Tensor, state: State, generator: torch.Generator) -> None:
        array, total = placed.array, state["sum"]
        total += wish
        state["updates"] += 1
        if state["updates"] % self.every:
            return
        turn = state["updates"] // self.every
        factor = _factor(array, turn)
        if factor is None or self.steps == "nominal":
            self._write_all(array, total, turn, generator)
        else:
            self._write_few(array, total, *factor, generator)

    def _write_all(self, array: Array, total: Tensor, turn: int, generator: torch.Generator) -> None:
        due = turned(array, array.spread(total.flatten(1)), turn)
        pulses = in_steps(array, due, self.steps).trunc().clamp(-self.most, self.most)
        rise, fall = step_sizes(array, self.steps)
        total -= weight_of(array, pulses * torch.where(pulses > 0, rise, fall)).view_as(total)
        apply(array, pulses, generator)

    def _write_few(
        self, array: Array, total: Tensor, plane: int, factor: Tensor, generator: torch.Generator
    ) -> None:
        """The same, where a sum stands for one cell: looked at only where it could be worth a pulse."""
        least = _least_step(array.device) / factor.abs()
        some = (total.flatten(1).abs() >= least).flatten().nonzero().flatten()
        factors = factor
        if factor.dim():
            factors = factor.expand(total.flatten(1).shape).flatten().index_select(0, some)
        due = total.view(-1).index_select(0, some) * factors
        places = some + plane * total.numel()
        cells = array.cells
        told = {name: cells[name] for name in cells if name not in _HIDDEN}
        rise, fall = array.device.next_steps(cells_at(told, places, cells["g"].shape))
        step = torch.where(due > 0, rise, fall).clamp(min=LEAST_STEP)
        pulses = (due / step).trunc().clamp(-self.most, self.most)
        worth = pulses.nonzero().flatten()
        pulses, step = pulses.index_select(0, worth), step.index_select(0, worth)
        some, places = some.index_select(0, worth), places.index_select(0, worth)
        if factor.dim():
            factors = factors.index_select(0, worth)
        total.view(-1).index_add_(0, some, pulses * step / factors, alpha=-1)
        counts = pulses.to(torch.int32)
        array.pulse_at(places, counts.clamp(min=0), (-counts).clamp(min=0), generator)


def _factor(array: Array, turn: int) -> tuple[int, Tensor] | None:
    """The plane that is written at this turn, and its change of g per change of weight (a number, or one per
    weight); None where a change is more than that."""
    if array.device.one_sided:
        return None
    largest = array.largest.float()
    if isinstance(array.mapping, DifferentialPair):
        return turn % 2, (1 if turn % 2 == 0 else -1) / largest
    if isinstance(array.mapping, Offset):
        return 0, 0.5 / largest
    if isinstance(array.mapping, OneSigned) and array.signs is not None:
        return 0, array.signs / largest
    return None


@functools.cache
def _least_step(device: Device) -> float:
    """The smallest change of g by a pulse, anywhere in the range of a nominal cell."""
    g = torch.linspace(0, 1, 257)
    rise, fall = device.next_steps({**device.fresh(g.shape), "g": g})
    return max(LEAST_STEP, 0.99 * float(torch.minimum(rise, fall).min()))
