"""What both Tiki-Takas share: a second array that takes the updates, and is read column by column.

The fast array A is as large as the array C of the weights, and of the same device, mapping and scale. Updates
go to A as stochastic pulses. Every `every` updates, the next `columns` of A (inputs) are read, in turn. What
is read goes to C, each in the way of its scheme. A is not erased: that asymmetric pulses pull it to its
symmetry point (0, for a pair of cells) is what makes it forget.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from rheobase.config import option
from rheobase.crossbar.array import Array, Placed
from rheobase.crossbar.devices.base import Cells, cells_at
from rheobase.crossbar.programming.base import Programming, State, in_steps

_FAST = "fast_"


class Transfer(Programming):
    """Updates to a fast array, and from there to the weights."""

    fast: float = option(default=1.0, above=0, help="factor on updates of the fast array")
    length: int = option(default=31, at_least=1, unit="pulses", help="most pulses per update")
    every: int = option(default=1, at_least=1, unit="updates", help="updates between transfers")
    columns: float = option(default=0.1, above=0, at_most=1, help="share of the columns read per transfer")
    transfer: float = option(default=0.1, above=0, help="factor on what is transferred")

    def _begin(self, placed: Placed) -> State:
        array = placed.array
        # Which cells the fast array got is drawn from the array's own, so that it needs no generator.
        cells = {name: value.flip(0).clone() for name, value in array.cells.items() if value.dim() > 2}
        cells |= {name: value.clone() for name, value in array.cells.items() if value.dim() <= 2}
        zero = torch.zeros_like(placed.parameter.detach()).flatten(1)
        start = array.mapping.encode(zero, float(array.largest), array.signs)
        cells = dict(array.device.place(cells, start))
        return {"updates": 0, "column": 0, **{f"{_FAST}{name}": value for name, value in cells.items()}}

    def _write(self, placed: Placed, wish: Tensor, state: State, generator: torch.Generator) -> None:
        array = placed.array
        self._update(array, self.fast * wish.flatten(1), state, generator)
        state["updates"] += 1
        if state["updates"] % self.every:
            return
        inputs = array.pulses.shape[-1]
        number = max(1, round(self.columns * inputs))
        chosen = (state["column"] + torch.arange(number)) % inputs
        state["column"] = (state["column"] + number) % inputs
        seen = array.device.read(fast_cells(state), generator)
        read = array.mapping.decode(seen, float(array.largest), array.signs)
        self._transfer(placed, read, chosen, state, generator)

    def _update(self, array: Array, wish: Tensor, state: State, generator: torch.Generator) -> None:
        pulses = drawn(array, array.spread(wish), self.length, generator).flatten()
        chosen = pulses.nonzero().flatten()
        some = pulses[chosen].to(torch.int32)
        up, down = some.clamp(min=0), (-some).clamp(min=0)
        after = array.device.pulse_at(fast_cells(state), chosen, up, down, generator)
        g = array.device.conductance(cells_at(after, chosen, array.pulses.shape[1:]))
        array.energy += array.device.pulse_energy(g, up, down).sum(dtype=torch.float64)
        counts = array.pulses.view(2, -1)
        counts[0, chosen] += up
        counts[1, chosen] += down
        state.update({f"{_FAST}{name}": value for name, value in after.items()})

    @abstractmethod
    def _transfer(
        self, placed: Placed, read: Tensor, chosen: Tensor, state: State, generator: torch.Generator
    ) -> None:
        """Take what was read, `[outputs, inputs]`, of the chosen columns to the array of the weights."""


def fast_cells(state: State) -> Cells:
    """The cells of the fast array."""
    return {name.removeprefix(_FAST): value for name, value in state.items() if name.startswith(_FAST)}


def drawn(array: Array, due: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """Random whole numbers of pulses, up above 0 and down below, whose mean is the change that is due."""
    steps = in_steps(array, due, "nominal").clamp(-length, length)
    lots = torch.rand(due.shape, generator=generator, dtype=due.dtype)
    return steps.sign() * (steps.abs() + lots).floor()
