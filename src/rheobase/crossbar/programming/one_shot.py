"""Programming a trained network once, and programming it again after it has drifted."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rheobase.crossbar.array import Placed
from rheobase.crossbar.programming.verify import write_and_verify


class Programmed(NamedTuple):
    """How it went: rounds used, and the root mean square error of the weight as a share of the largest."""

    rounds: int
    error: float


@torch.no_grad()
def program(
    placed: Placed,
    target: Tensor,
    generator: torch.Generator | None,
    *,
    rounds: int = 20,
    tolerance: float = 0.01,
    most: int = 256,
    procedure: bool = False,
) -> Programmed:
    """Write a weight to an array, from whatever it stores now.

    Args:
        placed: The array.
        target: The weight, shaped as the parameter.
        generator: For noise; None for none.
        rounds: Of reading and pulsing, at most.
        tolerance: Error of a cell that is left alone, as a share of the range.
        most: Pulses per cell and round.
        procedure: Use the device's own programming (`Device.program`) instead of pulses.

    >>> from rheobase.crossbar.array import place
    >>> from rheobase.crossbar.devices.memtransistor import Memtransistor
    >>> from rheobase.crossbar.mapping import DifferentialPair
    >>> from rheobase.layers.dense import Dense
    >>> generator = torch.Generator().manual_seed(0)
    >>> placed = place(Dense(30, 20), Memtransistor(c2c=0.05), DifferentialPair(), generator=generator)
    >>> program(placed, 0.5 * placed.parameter, generator).error < 0.02
    True
    """
    array = placed.array
    wanted = target.detach().flatten(1).clone()
    used = 1
    if procedure:
        cells = array.mapping.encode(wanted, float(array.largest), array.signs)
        array.put(array.device.program(array.cells, cells, generator))
    else:
        if array.device.one_sided:  # from empty cells: they can only be raised
            every = torch.ones_like(array.cells["g"], dtype=torch.int32)
            array.pulse(0 * every, every, generator)
        used = write_and_verify(array, wanted, generator, rounds=rounds, tolerance=tolerance, most=most)
    placed.sync()
    error = (array.stored() - wanted).square().mean().sqrt() / float(array.largest)
    return Programmed(used, float(error))


def refresh(placed: Placed, target: Tensor, generator: torch.Generator | None, seconds: float) -> Programmed:
    """Let an array age by `seconds`, and program the weight into it again.

    Args:
        placed, target, generator: See `program`.
        seconds: How long it was left alone.
    """
    array = placed.array
    array.put(array.device.drift(array.cells, seconds, generator))
    return program(placed, target, generator)
