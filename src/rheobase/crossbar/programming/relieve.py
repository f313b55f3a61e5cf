"""Refresh of pairs of cells that can only be raised: before both are full, they are reset and raised anew.

A pair whose larger cell is above `FULL` while the smaller is above `OCCUPIED` has room only below. Both are
reset, and the larger is raised by pulses to what the difference was. (aihwkit's one-sided unit cells refresh
at the same levels.)
"""

from __future__ import annotations

import torch
from torch import Tensor

from rheobase.crossbar.array import Array

FULL, OCCUPIED = 0.75, 0.25
#: Rounds of raising and reading.
ROUNDS = 8


def relieve(array: Array, generator: torch.Generator) -> int:
    """Refresh the pairs that need it; how many did.

    Args:
        array: Whose cells are in pairs, `[2 K, ...]`.
        generator: For noise.
    """
    device = array.device
    g = _pairs(device.conductance(array.cells))
    larger, smaller = g.amax(1, keepdim=True), g.amin(1, keepdim=True)
    full = (larger > FULL) & (smaller > OCCUPIED)
    number = int(full.sum())
    if not number:
        return 0
    wanted = torch.where(g == larger, larger - smaller, 0.0)
    chosen = full.expand_as(g)
    none = torch.zeros(array.cells["g"].shape, dtype=torch.int64)
    array.pulse(none, chosen.flatten(0, 1).long(), generator)
    for _ in range(ROUNDS):
        seen = _pairs(device.read(array.cells, generator))
        step = _pairs(device.next_steps(array.cells)[0]).clamp(min=1e-4)
        pulses = torch.where(chosen, ((wanted - seen) / step).round().clamp(min=0, max=64), 0)
        if not bool(pulses.any()):
            break
        array.pulse(pulses.flatten(0, 1).long(), none, generator)
    return number


def _pairs(g: Tensor) -> Tensor:
    """`[2 K, ...]` as `[K, 2, ...]`."""
    return g.reshape(-1, 2, *g.shape[1:])
