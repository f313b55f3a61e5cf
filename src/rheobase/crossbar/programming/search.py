"""The best short sequence of pulses by the nominal law, for cells and for pairs of cells.

Where steps are coarse and unequal, a few pulses up followed by a few down reach conductances between those
that one direction can. A pair of cells has the combinations of both: some hundred differences, a few
thousandths of the range apart, where single steps are a fifth of it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rheobase.crossbar.devices.base import Cells, Device

#: A sequence is up to `UPS` pulses up, then up to `DOWNS` down.
UPS, DOWNS = 2, 3
#: Pairs searched at once, which bounds memory.
CHUNK = 16_384


class Reached(NamedTuple):
    """What K sequences make of M cells: conductances `[K, M]`, and their pulses up and down `[K]`."""

    g: Tensor
    ups: Tensor
    downs: Tensor

    @property
    def pulses(self) -> Tensor:
        """Pulses of each sequence, `[K, 1]`."""
        return (self.ups + self.downs).to(self.g.dtype).unsqueeze(1)


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
    return Reached(torch.stack(states) * scale, torch.tensor(ups), torch.tensor(downs))


def best_for_cells(options: Reached, target: Tensor, price: float) -> tuple[Tensor, Tensor]:
    """Pulses up and down, int32 `[M]`, that come nearest to the targets `[M]`, each pulse at a price."""
    cost = (options.g - target).abs() + price * options.pulses
    chosen = cost.argmin(0)
    return options.ups[chosen].to(torch.int32), options.downs[chosen].to(torch.int32)


def best_for_pairs(first: Reached, second: Reached, target: Tensor, price: float) -> tuple[Tensor, Tensor]:
    """Pulses up and down, int32 `[2, M]`, that bring differences nearest to the targets `[M]`."""
    ups, downs = [], []
    for start in range(0, len(target), CHUNK):
        part = slice(start, start + CHUNK)
        a, b = first.g[:, part], second.g[:, part]
        cost = (a.unsqueeze(1) - b.unsqueeze(0) - target[part]).abs()
        cost += price * (first.pulses.unsqueeze(1) + second.pulses.unsqueeze(0))
        chosen = cost.flatten(0, 1).argmin(0)
        i, j = chosen // len(b), chosen % len(b)
        ups.append(torch.stack([first.ups[i], second.ups[j]]))
        downs.append(torch.stack([first.downs[i], second.downs[j]]))
    return torch.cat(ups, 1).to(torch.int32), torch.cat(downs, 1).to(torch.int32)
