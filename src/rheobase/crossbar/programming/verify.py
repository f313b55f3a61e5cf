"""Write and verify: read, plan pulses by the nominal law, apply them, and read again.

An error of many steps is put right by counted pulses, of a pair on one of its cells, now this one, now that
(so that a cell that is stuck or at a bound leaves the rest to the other). An error of few steps gets the best
short sequence (see `search`), of a pair on both cells together.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rheobase.crossbar.array import Array
from rheobase.crossbar.devices.base import Cells, cells_at
from rheobase.crossbar.mapping import DifferentialPair
from rheobase.crossbar.programming.base import mirrored
from rheobase.crossbar.programming.search import best_for_cells, best_for_pairs, reached

#: Errors of fewer steps than this are searched for.
FEW = 4.0
#: What a pulse costs in a search, as a share of the tolerance.
PRICE = 0.05


class Plan(NamedTuple):
    """Places in the flattened array, int64, and pulses up and down for each, int32; all `[M]`."""

    chosen: Tensor
    up: Tensor
    down: Tensor


def write_and_verify(
    array: Array,
    target: Tensor,
    generator: torch.Generator | None,
    *,
    rounds: int,
    tolerance: float,
    most: int,
    turn: int = 0,
    only: Tensor | None = None,
) -> int:
    """Write a weight to an array; the number of rounds used.

    Args:
        array: The array.
        target: The weight, `[outputs, inputs]`.
        generator: For noise of pulses and of the reads that verify; None for none.
        rounds: At most so many.
        tolerance: Weights that are off by at most this share of the largest are left alone.
        most: Pulses per cell and round.
        turn: Which cell of a pair is first in turn, 0 or 1.
        only: Which weights to write, bool `[outputs, inputs]`; None for all.
    """
    largest = float(array.largest)
    for done in range(rounds):
        seen = array.device.read(array.cells, generator)
        error = (target - array.mapping.decode(seen, largest, array.signs)).flatten()
        if array.mask is not None:
            error = error * array.mask.flatten()
        if only is not None:
            error = error * only.flatten()
        off = (error.abs() > tolerance * largest).nonzero().flatten()
        if not len(off):
            return done
        if isinstance(array.mapping, DifferentialPair) and not array.device.one_sided:
            plan = _for_pairs(array, seen, off, error[off] / largest, PRICE * tolerance, turn + done)
        else:
            wrong = torch.zeros_like(error).index_put((off,), error[off]).view_as(target)
            plan = _for_cells(array, seen, array.spread(wrong), PRICE * tolerance)
        array.pulse_at(plan.chosen, plan.up.clamp(max=most), plan.down.clamp(max=most), generator)
    return rounds


def _for_pairs(array: Array, seen: Tensor, off: Tensor, error: Tensor, price: float, turn: int) -> Plan:
    """Pulses for the pairs `off`, whose differences of g are off by `error`."""
    device, size = array.device, seen[0].numel()
    known = {**device.nominal(array.cells), "scale": device.scale(array.cells), "g": seen}
    first, second = (cells_at(_plane(known, k), off, seen.shape[1:]) for k in (0, 1))
    place = turn % 2
    due = -error if place else error
    counts = _counted(array, (first, second)[place], due)
    pulses = torch.zeros(2, 2, len(off), dtype=torch.int32)  # up and down; of each cell
    pulses[0, place], pulses[1, place] = counts.clamp(min=0), (-counts).clamp(min=0)
    few = (counts.abs() < FEW).nonzero().flatten()
    if len(few):
        near = [cells_at(cells, few, off.shape) for cells in (first, second)]
        options = [reached(device, cells["g"], cells["scale"], cells) for cells in near]
        target = near[0]["g"] - near[1]["g"] + error[few]
        pulses[0, :, few], pulses[1, :, few] = best_for_pairs(options[0], options[1], target, price)
    up, down = pulses.flatten(1)
    some = (up + down).nonzero().flatten()  # of a pair, often one cell only gets pulses
    places = torch.cat([off, off + size]).index_select(0, some)
    return Plan(places, up.index_select(0, some), down.index_select(0, some))


def _for_cells(array: Array, seen: Tensor, due: Tensor, price: float) -> Plan:
    """Pulses for the cells whose g is to change by `due`."""
    device = array.device
    due = mirrored(due) if device.one_sided else due
    chosen = due.flatten().nonzero().flatten()
    known = {**device.nominal(array.cells), "scale": device.scale(array.cells), "g": seen, "due": due}
    cells = cells_at(known, chosen, seen.shape)
    counts = _counted(array, cells, cells["due"])
    up, down = counts.clamp(min=0), (-counts).clamp(min=0)
    few = (counts.abs() < FEW).nonzero().flatten()
    if len(few) and not device.one_sided:
        near = cells_at(cells, few, chosen.shape)
        options = reached(device, near["g"], near["scale"], near)
        up[few], down[few] = best_for_cells(options, near["g"] + near["due"], price)
    return Plan(chosen, up, down)


def _counted(array: Array, cells: Cells, due: Tensor) -> Tensor:
    """Pulses by the present step, int32 `[M]`: above 0 up, below 0 down."""
    device = array.device
    scale = _each(cells["scale"].clamp(min=1e-6), due)
    g = cells["g"] / scale
    step = torch.where(due > 0, device.increase(g, cells), device.decrease(g, cells)) * scale
    steps = due / step.clamp(min=1e-6)
    # Of one-sided cells, too much could only be made good by the other cell, until both are full.
    whole = (steps + 0.3).floor() if device.one_sided else steps.round()
    return whole.clamp(-1e6, 1e6).to(torch.int32)


def _each(value: Tensor, like: Tensor) -> Tensor:
    return value.expand_as(like)


def _plane(cells: Cells, plane: int) -> Cells:
    """What is known of one plane; what is known of rows or columns is the same for all."""
    return {name: value[plane] if value.dim() > 2 else value for name, value in cells.items()}
