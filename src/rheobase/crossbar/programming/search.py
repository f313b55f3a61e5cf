"""The best short sequence of pulses by the nominal law, for cells and for pairs of cells.

Where steps are coarse and unequal, a few pulses up followed by a few down reach conductances between those
that one direction can. A pair of cells has the combinations of both: some eighty differences, a few
thousandths of the range apart, where single steps are a fifth of it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rheobase.crossbar.devices.base import Cells, Device
from rheobase.kernels.nearest import nearest

#: A sequence is up to `UPS` pulses up, then up to `DOWNS` down.
UPS, DOWNS = 2, 2


class Reached(NamedTuple):
    """What K sequences make of M cells: conductances `[K, M]`, and their pulses up and down, int32 `[K]`."""

    g: Tensor
    ups: Tensor
    downs: Tensor

    @property
    def pulses(self) -> Tensor:
        """Pulses of each sequence, `[K]`."""
        return (self.ups + self.downs).to(self.g.dtype)


def reached(device: Device, g: Tensor, scale: Tensor, nominal: Cells) -> Reached:
    """What every sequence makes of cells, by the nominal law.

    Args:
        device: Their law.
        g: The conductance that is read, `[M]`.
        scale: The conductance per state of the cell (a gate's window), `[M]`.
        nominal: What is known of the cells, `[M]`.
    """
    states, ups, downs = [], [], []
    scale = scale.clamp(min=1e-6)
    raised = g / scale
    for up in range(UPS + 1):
        lowered = raised
        for down in range(DOWNS + 1):
            states.append(lowered)
            ups.append(up)
            downs.append(down)
            if down < DOWNS:
                lowered = (lowered - device.decrease(lowered, nominal)).clamp(min=0)
        if up < UPS:
            raised = (raised + device.increase(raised, nominal)).clamp(max=1)
    counts = torch.tensor([ups, downs], dtype=torch.int32)
    return Reached(torch.stack(states) * scale, counts[0], counts[1])


def best_for_cells(options: Reached, target: Tensor, price: float) -> tuple[Tensor, Tensor]:
    """Pulses up and down, int32 `[M]`, that come nearest to the targets `[M]`, each pulse at a price."""
    prices = (price * options.pulses).unsqueeze(1)
    chosen = nearest(options.g, target.unsqueeze(0), prices)
    return options.ups[chosen], options.downs[chosen]


def best_for_pairs(first: Reached, second: Reached, target: Tensor, price: float) -> tuple[Tensor, Tensor]:
    """Pulses up and down, int32 `[2, M]`, that bring differences nearest to the targets `[M]`."""
    prices = price * (first.pulses.unsqueeze(1) + second.pulses)
    chosen = nearest(first.g, second.g + target, prices)
    both = torch.cartesian_prod(torch.arange(len(first.ups)), torch.arange(len(second.ups)))
    i, j = both[:, 0], both[:, 1]
    ups, downs = torch.stack([first.ups[i], second.ups[j]]), torch.stack([first.downs[i], second.downs[j]])
    return ups[:, chosen], downs[:, chosen]
