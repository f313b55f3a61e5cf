"""What programming is: how a change that is wished of weights becomes pulses on the cells behind them.

A rule puts update directions into `.grad`, any torch optimizer turns them into a change of the parameter, and
`PulsedOptimizer` (see `optimizer`) hands that change, as a wish in units of weight, to a scheme:

    state = scheme.begin(placed)                          # once for each array
    scheme.write(placed, wish, state, generator)          # after each step; `state` is changed in place

A scheme writes by `placed.array.pulse(up, down, generator)`. What it keeps between steps (sums of wishes too
small to write, a digital copy of the weights, a second array) is tensors and numbers in `state`, which a
checkpoint has.

A write circuit knows a device's nominal law, and by reading, the conductance of a cell; it does not know how
a cell differs from the nominal one. So pulses are counted by steps of that law: `nominal`, one step size for
the whole range, or `present`, the step at the conductance that the cell has now (which must be read for
that).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, MutableMapping
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor

from rheobase.config import Config
from rheobase.crossbar.array import Array, Placed
from rheobase.crossbar.mapping import DifferentialPair
from rheobase.crossbar.programming.relieve import relieve
from rheobase.registry import name_of

#: What a scheme keeps for one array: tensors, numbers.
State: TypeAlias = MutableMapping[str, Any]
#: How a change of conductance is counted in pulses.
Steps = Literal["nominal", "present"]

#: A step is at least this share of the range when changes are counted in steps.
LEAST_STEP = 1e-5


class Programming(Config, ABC):
    """A scheme that writes wishes to arrays."""

    room: ClassVar[str] = "rheobase.crossbar.programming"
    #: What it needs beside the array, in words.
    digital: ClassVar[str]
    #: Whether cells get from one weight to another by pulses.
    in_place: ClassVar[bool] = True

    def begin(self, placed: Placed) -> State:
        """What it keeps for this array.

        Raises:
            ValueError: If it cannot program such an array, with what can.
        """
        array = placed.array
        if array.device.one_sided and array.mapping.planes % 2:
            raise ValueError(
                f"{name_of(type(self))}: got {name_of(type(array.device))} cells, which cannot be lowered in "
                f"steps, on the mapping {name_of(type(array.mapping))}; wanted pairs: use differential_pair"
            )
        return self._begin(placed)

    @torch.no_grad()
    def write(self, placed: Placed, wish: Tensor, state: State, generator: torch.Generator) -> None:
        """Write to the array, and make the parameter what it stores then, if anything was written.

        Args:
            placed: The array; its parameter is what it stores.
            wish: The change that is wished of the weight, shaped as the parameter.
            state: What `begin` returned, as writes before this one left it.
            generator: For noise, and for schemes that draw lots.
        """
        before = placed.array.version
        self._write(placed, wish, state, generator)
        if placed.array.device.one_sided:
            relieve(placed.array, generator)
        if placed.array.version != before:
            placed.sync()

    def meant(self, placed: Placed, state: Mapping[str, Any]) -> Tensor:
        """The weight that the array is meant to store, as far as the scheme knows: what it stores, unless
        there is a digital number that says more."""
        return placed.array.stored()

    def _begin(self, placed: Placed) -> State:
        return {}

    @abstractmethod
    def _write(self, placed: Placed, wish: Tensor, state: State, generator: torch.Generator) -> None:
        """Write to the array (not to the parameter)."""


def in_steps(array: Array, due: Tensor, steps: Steps) -> Tensor:
    """A change of g in (fractions of) pulses: above 0 up, below 0 down.

    Of devices that cannot be lowered in steps, the other cell of the pair is raised instead. `due` is not to
    be used afterwards: its memory may be that of the result.
    """
    if array.device.one_sided:
        due = mirrored(due)
    up, down = step_sizes(array, steps)
    if array.device.one_sided:
        return due / up
    if isinstance(up, Tensor) or isinstance(down, Tensor):
        return due / torch.where(due > 0, up, down)
    rising = due.relu()  # in parts, which takes a third of the time of choosing a step for each
    return due.sub_(rising).div_(down).add_(rising.div_(up))


def apply(array: Array, pulses: Tensor, generator: torch.Generator) -> None:
    """Apply whole numbers of pulses: above 0 up, below 0 down."""
    chosen = pulses.flatten().nonzero().flatten()
    some = pulses.flatten()[chosen].to(torch.int32)
    array.pulse_at(chosen, some.clamp(min=0), (-some).clamp(min=0), generator)


def step_sizes(array: Array, steps: Steps) -> tuple[Tensor | float, Tensor | float]:
    """The change of g by one pulse up and by one down, as a write circuit expects it."""
    if steps == "nominal":
        up, down = array.device.typical_steps()
        return max(up, LEAST_STEP), max(down, LEAST_STEP)
    rise, fall = array.device.next_steps(array.cells)
    return rise.clamp(min=LEAST_STEP), fall.clamp(min=LEAST_STEP)


def mirrored(due: Tensor) -> Tensor:
    """A change of pairs `[2 K, ...]` by raising only, with the same change of each difference.

    >>> mirrored(torch.tensor([[0.25, -0.5], [-0.25, 0.5]])).tolist()
    [[0.5, 0.0], [0.0, 1.0]]
    """
    pairs = due.view(-1, 2, *due.shape[1:])
    return (pairs.clamp(min=0) + (-pairs).clamp(min=0).flip(1)).view_as(due)


def turned(array: Array, due: Tensor, turn: int) -> Tensor:
    """The change with all of it on one cell of each pair, now this one, now that: half the number of pulses,
    and steps half as coarse. Of other mappings, the change as it is."""
    if not isinstance(array.mapping, DifferentialPair):
        return due
    chosen = torch.zeros_like(due)
    chosen[turn % 2] = 2 * due[turn % 2]
    return chosen


def weight_of(array: Array, moved: Tensor) -> Tensor:
    """The change of weight `[outputs, inputs]` that stands for a change of g (mappings are linear)."""
    largest, signs = float(array.largest), array.signs
    zero = torch.zeros_like(moved)
    return array.mapping.decode(moved, largest, signs) - array.mapping.decode(zero, largest, signs)
