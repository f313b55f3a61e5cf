"""What both Tiki-Takas share: a second array that takes the updates, and is read column by column.

The fast array A is as large as the array C of the weights, and of the same device and mapping. Updates go to
A as stochastic pulses, scaled such that a mean wish is `fast` pulses, however small: what A is for is to
average many coarse pulses. Every `every` updates, the next `columns` of A (inputs) are read, in turn, and
what they hold, back in units of the wish, goes to C, each in the way of its scheme. A is not erased: that
asymmetric pulses pull it to its symmetry point, where steps up and down are alike, is what makes it forget.

A starts at its symmetry point, and is read against a reference that holds what that comes to (a point that
differs from cell to cell, so that pairs alone do not cancel it: else A at rest would push the weights for
ever). Both are as a long train of pulses up and down in turn would leave them, without its noise; those
pulses are not counted. Cells that have no such point (steps that grow towards a bound, or are the same
everywhere) start in the middle of their range, and do not forget.

Zero-shifting: Kim et al., "Zero-shifting technique for deep neural network training on resistive cross-point
arrays", arXiv:1907.10228 (2019). Scaling by the recent size of updates: aihwkit's `auto_scale`.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from rheobase.config import option
from rheobase.crossbar.array import Array, Placed
from rheobase.crossbar.devices.base import Device
from rheobase.crossbar.devices.cells import Cells, cells_at, gain_of
from rheobase.crossbar.programming.base import LEAST_STEP, Programming, State, mirrored, weight_of

_FAST = "fast_"
MEMORY = 50  # updates over which the mean size of a wish is taken
HALVINGS = 30
WIDTH = 0.01  # of g, over which the slope of a law is taken
LEAST_FORGETTING = 1e-3  # else a law with steps of one size would never pass anything on


class Transfer(Programming):
    """Updates to a fast array, and from there to the weights."""

    fast: float = option(
        default=4.0, above=0, unit="pulses", help="on the fast array, for a wish of mean size"
    )
    length: int = option(default=31, at_least=1, unit="pulses", help="most pulses per update")
    every: int = option(default=1, at_least=1, unit="updates", help="updates between transfers")
    columns: float = option(default=1.0, above=0, at_most=1, help="share of the columns read per transfer")
    transfer: float = option(
        default=3.0, above=0, help="how much of what is wished comes to the weights, by the law's forgetting"
    )

    def _begin(self, placed: Placed) -> State:
        array = placed.array
        # Which cells the fast array got is drawn from the array's own, so that it needs no generator.
        cells = {name: value.flip(0).clone() for name, value in array.cells.items() if value.dim() > 2}
        cells |= {name: value.clone() for name, value in array.cells.items() if value.dim() <= 2}
        cells = dict(array.device.place(cells, symmetry(array.device, cells)))
        zero = array.device.conductance(cells).clone()
        step = float(array.device.next_steps(cells)[0].mean())
        numbers = {"step": max(step, LEAST_STEP), "forgets": forgetting(array.device, cells)}
        fast = {f"{_FAST}{name}": value for name, value in cells.items()}
        return {"updates": 0, "column": 0, "size": 0.0, **numbers, "zero": zero, **fast}

    def _write(self, placed: Placed, wish: Tensor, state: State, generator: torch.Generator) -> None:
        array = placed.array
        due = array.spread(wish.flatten(1))
        some = due.abs()[due != 0]
        state["updates"] += 1
        if len(some):
            state["size"] += (float(some.mean()) - state["size"]) / min(state["updates"], MEMORY)
            self._update(array, due * (self.fast / state["size"]), state, generator)
        if state["updates"] % self.every:
            return
        inputs = array.pulses.shape[-1]
        number = max(1, round(self.columns * inputs))
        chosen = (state["column"] + torch.arange(number)) % inputs
        state["column"] = (state["column"] + number) % inputs
        seen = array.device.read(fast_cells(state), generator)
        # What a pulse stands for, and how often it is read before it is forgotten.
        unit = state["size"] / (self.fast * state["step"])
        unit *= min(1.0, state["forgets"] * self.fast) * self.every / self.columns
        self._transfer(placed, weight_of(array, unit * (seen - state["zero"])), chosen, state, generator)

    def _update(self, array: Array, steps: Tensor, state: State, generator: torch.Generator) -> None:
        """Pulses to the fast array, with the mean `steps`: as many for a step up as for one down."""
        steps = mirrored(steps) if array.device.one_sided else steps
        pulses = whole_numbers(steps, self.length, generator).flatten()
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


def whole_numbers(steps: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """Random whole numbers whose mean is `steps`, of at most `length`."""
    lots = torch.rand(steps.shape, generator=generator, dtype=steps.dtype)
    return steps.sign() * (steps.abs().clamp(max=length) + lots).floor()


def symmetry(device: Device, cells: Cells) -> Tensor:
    """The g at which a pulse up and one down are alike, of each cell; the middle of its range where pulses in
    turn do not lead to such a point.

    >>> from rheobase.crossbar.devices.soft_bounds import SoftBounds
    >>> law = SoftBounds(step_up=0.02, step_down=0.01)
    >>> round(float(symmetry(law, law.fresh((1,)))), 3)
    0.667
    """

    like = cells["g"]
    low, high = (torch.as_tensor(bound).to(like).expand_as(like) for bound in device.bounds(cells))
    middle, drawn = (low + high) / 2, (_net(device, low, cells) > 0) & (_net(device, high, cells) < 0)
    for _ in range(HALVINGS):
        g = (low + high) / 2
        rises = _net(device, g, cells) > 0
        low, high = torch.where(rises, g, low), torch.where(rises, high, g)
    return torch.where(drawn, (low + high) / 2, middle)


def forgetting(device: Device, cells: Cells) -> float:
    """By how much a pulse up or down, at random, brings cells nearer to where they are at rest, as a share of
    their distance; at least `LEAST_FORGETTING`.

    >>> from rheobase.crossbar.devices.soft_bounds import SoftBounds
    >>> law = SoftBounds(step_up=0.02, step_down=0.02)
    >>> round(forgetting(law, law.place(law.fresh((1,)), torch.tensor([0.5]))), 4)
    0.04
    """
    below, above = cells["g"] - WIDTH, cells["g"] + WIDTH
    slope = (_net(device, below, cells) - _net(device, above, cells)).mean() / (2 * WIDTH)
    return max(float(slope) / 2, LEAST_FORGETTING)


def _net(device: Device, g: Tensor, cells: Cells) -> Tensor:
    """The change of g by a pulse up and one down."""
    return gain_of(cells, True) * device.increase(g, cells) - gain_of(cells, False) * device.decrease(
        g, cells
    )
