"""Rounded pulse counts: a wish of n steps is written as the nearest whole number of pulses.

Wishes below half a step are lost, so that learning stops where steps are coarse or learning rates small:
NeuroSim's scheme (Chen, Peng & Yu, IEEE Trans. CAD 37, 2018), which truncates.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from rheobase.config import option
from rheobase.crossbar.array import Placed
from rheobase.crossbar.programming.base import Programming, State, Steps, apply, in_steps, turned


class RoundedPulses(Programming):
    """The nearest whole number of pulses, batch by batch.

    >>> import torch
    >>> from rheobase.crossbar.array import place
    >>> from rheobase.crossbar.devices.constant_step import ConstantStep
    >>> from rheobase.crossbar.mapping import Offset
    >>> from rheobase.layers.dense import Dense
    >>> law = ConstantStep(step_up=0.01, step_down=0.01)  # 0.02 of a weight's range of -1 to 1
    >>> placed = place(Dense(3, 2), law, Offset(), generator=None, largest=1.0)
    >>> generator = torch.Generator().manual_seed(0)
    >>> scheme = RoundedPulses()
    >>> state = scheme.begin(placed)
    >>> for wish in (0.045, 0.005):  # 2.25 steps, and a quarter of one
    ...     scheme.write(placed, torch.full((2, 3), wish), state, generator)
    >>> placed.array.pulses[0, 0].tolist()
    [[2, 2, 2], [2, 2, 2]]
    """

    digital: ClassVar[str] = "none"

    most: int = option(default=64, at_least=1, unit="pulses", help="most pulses per write")
    steps: Steps = option(
        default="nominal", help="how wishes are counted: by one step size, or the present one"
    )

    def _begin(self, placed: Placed) -> State:
        return {"turn": 0}

    def _write(self, placed: Placed, wish: Tensor, state: State, generator: torch.Generator) -> None:
        array = placed.array
        due = turned(array, array.spread(wish.flatten(1)), state["turn"])
        state["turn"] = (state["turn"] + 1) % 2
        apply(array, in_steps(array, due, self.steps).round().clamp(-self.most, self.most), generator)
