"""Accumulate, then write: wishes are summed digitally until they are worth a pulse.

    chi <- chi + wish;  pulses = trunc(chi / step);  chi <- chi - pulses step

with the step that the write circuit expects; nothing is read back (unless steps are counted where the cell
is), so what a pulse really did stays unknown.

Mixed-precision training: Nandakumar et al., "Mixed-precision deep learning based on computational memory",
Frontiers in Neuroscience 14 (2020) 406.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from rheobase.config import option
from rheobase.crossbar.array import Placed
from rheobase.crossbar.programming.base import (
    Programming,
    State,
    Steps,
    apply,
    in_steps,
    step_sizes,
    turned,
    weight_of,
)


class Accumulate(Programming):
    """Sums of wishes, written once they are whole pulses."""

    digital: ClassVar[str] = "one number per weight (the sum)"

    every: int = option(default=1, at_least=1, unit="updates", help="updates between writes")
    most: int = option(default=64, at_least=1, unit="pulses", help="most pulses per write")
    steps: Steps = option(
        default="present", help="how wishes are counted: by one step size, or the present one"
    )

    def _begin(self, placed: Placed) -> State:
        return {"sum": torch.zeros_like(placed.parameter.detach()), "updates": 0}

    def _write(self, placed: Placed, wish: Tensor, state: State, generator: torch.Generator) -> None:
        array, total = placed.array, state["sum"]
        total += wish
        state["updates"] += 1
        if state["updates"] % self.every:
            return
        due = turned(array, array.spread(total.flatten(1)), state["updates"] // self.every)
        pulses = in_steps(array, due, self.steps).trunc().clamp(-self.most, self.most)
        rise, fall = step_sizes(array, self.steps)
        total -= weight_of(array, pulses * torch.where(pulses > 0, rise, fall)).view_as(total)
        apply(array, pulses, generator)
