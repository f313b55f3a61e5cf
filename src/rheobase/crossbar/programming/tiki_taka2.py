"""Tiki-Taka, version 2: what is read from the fast array is summed digitally, and written as whole pulses.

    A <- A + wish (pulses);  for the columns read:  H <- H + transfer A;
    where H is worth a step of C: one pulse to C, and H <- H - step

The digital sum filters the noise of A and of its reads, so that few pulses reach C.

Gokmen, "Enabling training of neural networks on noisy hardware", Frontiers in Artificial Intelligence 4
(2021).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from rheobase.config import option
from rheobase.crossbar.array import Placed
from rheobase.crossbar.programming._transfer import Transfer
from rheobase.crossbar.programming.base import State, Steps, apply, in_steps, step_sizes, turned, weight_of


class TikiTaka2(Transfer):
    """A fast array, transferred by way of a digital sum.

    >>> import torch
    >>> from rheobase.crossbar.array import place
    >>> from rheobase.crossbar.devices.soft_bounds import SoftBounds
    >>> from rheobase.crossbar.mapping import Offset
    >>> from rheobase.layers.dense import Dense
    >>> law = SoftBounds(step_up=0.05, step_down=0.05)
    >>> placed = place(Dense(3, 2), law, Offset(), generator=None, largest=1.0)
    >>> generator = torch.Generator().manual_seed(0)
    >>> scheme = TikiTaka2()
    >>> state, before = scheme.begin(placed), placed.parameter.detach().clone()
    >>> for _ in range(20):
    ...     scheme.write(placed, torch.full((2, 3), 0.005), state, generator)
    >>> moved = (placed.parameter.detach() - before).mean()  # by wishes of 0.1 in all, and `transfer`
    >>> 0.1 < float(moved) < 0.3
    True
    """

    digital: ClassVar[str] = "one number per weight (the sum), and a second array"

    steps: Steps = option(
        default="present", help="how sums are counted: by one step size, or the present one"
    )

    def _begin(self, placed: Placed) -> State:
        return {**super()._begin(placed), "sum": torch.zeros_like(placed.parameter.detach()).flatten(1)}

    def _transfer(
        self, placed: Placed, read: Tensor, chosen: Tensor, state: State, generator: torch.Generator
    ) -> None:
        array, total = placed.array, state["sum"]
        total[:, chosen] += self.transfer * read[:, chosen]
        due = turned(array, array.spread(total), state["updates"] // self.every)
        pulses = in_steps(array, due, self.steps).trunc().clamp(-1, 1)
        rise, fall = step_sizes(array, self.steps)
        total -= weight_of(array, pulses * torch.where(pulses > 0, rise, fall))
        apply(array, pulses, generator)
