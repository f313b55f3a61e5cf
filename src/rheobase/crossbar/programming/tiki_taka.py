"""Tiki-Taka: gradients on a fast array, whose columns are transferred to the weights by pulses.

    A <- A + wish (pulses);  for the columns read:  C <- C + transfer A (pulses)

so that the weights follow what A remembers of the gradients, filtered by its asymmetry, instead of each step
with its own. With the weight of A in the network at 0.

Gokmen & Haensch, "Algorithm for training neural networks on resistive device arrays", Frontiers in
Neuroscience 14 (2020) 103.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from rheobase.crossbar.array import Placed
from rheobase.crossbar.programming._transfer import Transfer, whole_numbers
from rheobase.crossbar.programming.base import State, apply, in_steps


class TikiTaka(Transfer):
    """A fast array, transferred by stochastic pulses.

    >>> import torch
    >>> from rheobase.crossbar.array import place
    >>> from rheobase.crossbar.devices.soft_bounds import SoftBounds
    >>> from rheobase.crossbar.mapping import Offset
    >>> from rheobase.layers.dense import Dense
    >>> law = SoftBounds(step_up=0.05, step_down=0.05)
    >>> placed = place(Dense(3, 2), law, Offset(), generator=None, largest=1.0)
    >>> generator = torch.Generator().manual_seed(0)
    >>> scheme = TikiTaka()
    >>> state, before = scheme.begin(placed), placed.parameter.detach().clone()
    >>> for _ in range(20):
    ...     scheme.write(placed, torch.full((2, 3), 0.005), state, generator)
    >>> moved = (placed.parameter.detach() - before).mean()  # by wishes of 0.1 in all, and `transfer`
    >>> 0.1 < float(moved) < 0.3
    True
    """

    digital: ClassVar[str] = "none (a second array)"

    def _transfer(
        self, placed: Placed, read: Tensor, chosen: Tensor, state: State, generator: torch.Generator
    ) -> None:
        array = placed.array
        wish = torch.zeros_like(read)
        wish[:, chosen] = self.transfer * read[:, chosen]
        steps = in_steps(array, array.spread(wish), "nominal")
        apply(array, whole_numbers(steps, self.length, generator), generator)
