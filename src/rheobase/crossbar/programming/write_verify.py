"""Write and verify towards a digital copy of the weights, with planned pulses (see `verify`).

The copy takes every wish exactly; the array follows it to within a tolerance. So steps may be coarse and
unequal, and wishes far below a step still add up. It costs a digital number per weight, a read of the array
per round, and it is what programming a trained network uses too (`one_shot`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from rheobase.config import option
from rheobase.crossbar.array import Array, Placed
from rheobase.crossbar.programming.base import Programming, State
from rheobase.crossbar.programming.verify import write_and_verify


class WriteVerify(Programming):
    """A digital copy, which the array follows by reading and pulsing.

    >>> import torch
    >>> from rheobase.crossbar.array import place
    >>> from rheobase.crossbar.devices.constant_step import ConstantStep
    >>> from rheobase.crossbar.mapping import Offset
    >>> from rheobase.layers.dense import Dense
    >>> law = ConstantStep(step_up=0.01, step_down=0.01)  # 0.02 of a weight's range of -1 to 1
    >>> placed = place(Dense(3, 2), law, Offset(), generator=None, largest=1.0)
    >>> generator = torch.Generator().manual_seed(0)
    >>> scheme = WriteVerify(tolerance=0.01)
    >>> state, before = scheme.begin(placed), placed.parameter.detach().clone()
    >>> for _ in range(12):
    ...     scheme.write(placed, torch.full((2, 3), 0.005), state, generator)
    >>> error = (placed.parameter.detach() - before - 0.06).abs()
    >>> bool((error <= 0.01 + 1e-6).all()), placed.array.pulses[0, 0].tolist()
    (True, [[3, 3, 3], [3, 3, 3]])
    """

    digital: ClassVar[str] = "one number per weight (the copy)"

    every: int = option(default=2, at_least=1, unit="updates", help="updates between writes")
    rounds: int = option(default=1, at_least=1, help="rounds of reading and pulsing per write")
    tolerance: float = option(
        default=0.02,
        at_least=0,
        at_most=1,
        help="error of a cell that is left alone, as a share of the range",
    )
    most: int = option(default=64, at_least=1, unit="pulses", help="most pulses per cell and round")

    def _begin(self, placed: Placed) -> State:
        return {"copy": placed.parameter.detach().clone(), "updates": 0}

    def meant(self, placed: Placed, state: Mapping[str, Any]) -> Tensor:
        copy: Tensor = state["copy"]
        return copy.clone()

    def _write(self, placed: Placed, wish: Tensor, state: State, generator: torch.Generator) -> None:
        copy = state["copy"]
        copy += wish
        hold(placed.array, copy)
        state["updates"] += 1
        if state["updates"] % self.every == 0:
            write_and_verify(
                placed.array,
                copy.flatten(1),
                generator,
                rounds=self.rounds,
                tolerance=self.tolerance,
                most=self.most,
                turn=state["updates"] // self.every,
            )


def hold(array: Array, copy: Tensor) -> None:
    """Keep a digital copy within what the array can hold, in place: else it would run away from it."""
    largest = float(array.largest)
    copy.clamp_(-largest, largest)
    if array.signs is not None:
        signs = array.signs.to(copy.dtype)
        copy.copy_(torch.where(copy * signs > 0, copy, 0.0))
