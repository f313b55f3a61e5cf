"""Write and verify: read, plan pulses by the nominal law, apply them, and read again.

An error of many steps is put right by counted pulses, of a pair on one of its cells, now this one, now that
(so that a cell that is stuck or at a bound leaves the rest to the other). An error of few steps gets the best
short sequence (see `search`), of a pair on both cells together.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rheobase.crossbar.array import Array
from rheobase.crossbar.devices.base import Cells, cells_at
from rheobase.crossbar.mapping import DifferentialPair
from rheobase.crossbar.programming.base import mirrored, turned
from rheobase.crossbar.programming.search import best_for_cells, best_for_pairs, reached

#: Errors of fewer steps than this are searched for.
FEW = 4.0
#: What a pulse costs in a search, as a share of the tolerance.
PRICE = 0.05


def write_and_verify(
    array: Array,
    target: Tensor,
    generator: torch.Generator | None,
    *,
    rounds: int,
    tolerance: float,
    most: int,
) -> int:
    """Write a weight to an array; the number of rounds used.

    Args:
        array: The array.
        target: The weight, `[outputs, inputs]`.
        generator: For noise of pulses and of the reads that verify; None for none.
        rounds: At most so many.
        tolerance: Weights that are off by at most this share of the largest are left alone.
        most: Pulses per cell and round.
    """
    for turn in range(rounds):
        seen = array.device.read(array.cells, generator)
        error = target - array.mapping.decode(seen, float(array.largest), array.signs)
        if array.mask is not None:
            error = error * array.mask.flatten(1)
        off = error.abs() > tolerance * float(array.largest)
        if not bool(off.any()):
            return turn
        up, down = _plan(array, seen, error * off, tolerance, most, turn)
        array.pulse(up, down, generator)
    return rounds


def _plan(
    array: Array, seen: Tensor, error: Tensor, tolerance: float, most: int, turn: int
) -> tuple[Tensor, Tensor]:
    """Pulses up and down of each cell, int32, shaped as the cells."""
    device = array.device
    due = array.spread(error)
    due = mirrored(due) if device.one_sided else turned(array, due, turn)
    rise, fall = device.next_steps(array.cells)
    steps = due.abs() / torch.where(due > 0, rise, fall).clamp(min=1e-6)
    # Of one-sided cells, too much could only be made good by the other cell, until both are full.
    whole = ((steps + 0.3).floor() if device.one_sided else steps.round()).clamp(max=most).to(torch.int32)
    up, down = torch.where(due > 0, whole, 0), torch.where(due < 0, whole, 0)
    if device.one_sided:
        return up, down
    few = (due != 0) & (steps < FEW)
    if isinstance(array.mapping, DifferentialPair):
        few = few.any(0)
    chosen = few.flatten().nonzero().flatten()
    if not len(chosen):
        return up, down
    _search(array, seen, error, tolerance, chosen, (up, down))
    return up, down


def _search(
    array: Array, seen: Tensor, error: Tensor, tolerance: float, chosen: Tensor, pulses: tuple[Tensor, Tensor]
) -> None:
    """Put the best short sequences for the chosen cells, or weights, into the pulses, in place."""
    device, price = array.device, PRICE * tolerance
    up, down = (count.view(len(seen), -1) for count in pulses)
    known = {**device.nominal(array.cells), "scale": device.scale(array.cells), "g": seen}
    if isinstance(array.mapping, DifferentialPair):
        planes = [cells_at(_plane(known, k), chosen, seen.shape[1:]) for k in (0, 1)]
        options = [reached(device, cells["g"], cells["scale"], cells) for cells in planes]
        target = planes[0]["g"] - planes[1]["g"] + error.flatten()[chosen] / float(array.largest)
        up[:, chosen], down[:, chosen] = best_for_pairs(options[0], options[1], target, price)
        return
    cells = cells_at(known, chosen, seen.shape)
    target = cells["g"] + array.spread(error).flatten()[chosen]
    flat_up, flat_down = pulses[0].view(-1), pulses[1].view(-1)
    flat_up[chosen], flat_down[chosen] = best_for_cells(
        reached(device, cells["g"], cells["scale"], cells), target, price
    )


def _plane(cells: Cells, plane: int) -> Cells:
    """What is known of one plane; what is known of rows or columns is the same for all."""
    return {name: value[plane] if value.dim() > 2 else value for name, value in cells.items()}
