"""What trains of pulses do to cells, by the law of their device, with its noise (equations are in `base`).

Cells that get as many pulses go on together, pulse after pulse; where the law has a solution in closed form,
and noise allows it, all at once.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rheobase.crossbar.devices.cells import Cells, cells_at, clip, gain_of, settled

if TYPE_CHECKING:
    from rheobase.crossbar.devices.base import Device


def pulsed(
    device: Device, cells: Cells, chosen: Tensor, up: Tensor, down: Tensor, generator: torch.Generator | None
) -> Cells:
    """The cells after pulses up, then down, on some of them (see `Device.pulse_at`)."""
    present = cells.get("hidden", device.conductance(cells) if device.drifts else cells["g"])
    if device.lifetime is not None:
        keep = 1 - 1 / (device.lifetime * cells.get("persistence", torch.ones((), dtype=present.dtype)))
        present = device.rest + (present - device.rest) * keep
    there = cells_at(cells, chosen, present.shape)
    g = present.flatten().index_select(0, chosen)
    for counts, rising in ((up, True), (down, False)):
        counts = counts if "stuck" not in there else torch.where(there["stuck"], 0, counts)
        some = counts.nonzero().flatten()
        if len(some) == len(g):
            g = _train(device, g, counts, there, rising, generator)
        elif len(some):
            part = cells_at(there, some, g.shape)
            g = g.index_put((some,), _train(device, g[some], counts[some], part, rising, generator))
    after = present.flatten().index_put((chosen,), g).view_as(present)
    seen = after
    if device.write_noise and generator is not None:
        noise = device.write_noise * torch.randn(g.shape, generator=generator, dtype=g.dtype)
        noisy = (g + noise).clamp(min=device.unformed_g)
        seen = cells["g"].flatten().index_put((chosen,), noisy).view_as(present)
    return settled(cells, after, seen)


def _train(
    device: Device, g: Tensor, counts: Tensor, cells: Cells, up: bool, generator: torch.Generator | None
) -> Tensor:
    """g after `counts` (all above 0) pulses of one sign; all arguments one-dimensional."""
    low, high = device.bounds(cells)
    quiet = generator is None or not device.noisy
    solved = device.closed(g, counts, cells, up=up) if quiet or device.noise_at_end else None
    if solved is not None:
        if not quiet:
            noise = torch.randn(g.shape, generator=generator, dtype=g.dtype)
            solved = solved + device.c2c * counts.to(g.dtype).sqrt() * noise
        return clip(solved, low, high)
    done = 0
    result, place = g, torch.arange(len(g))
    while len(place):
        g = clip(g + _one(device, g, cells, up, generator), low, high)
        done += 1
        left = counts > done
        if bool(left.all()):
            continue
        result = result.index_put((place,), g)
        keep = left.nonzero().flatten()
        g, counts, place = g[keep], counts[keep], place[keep]
        cells = {name: value[keep] if value.dim() else value for name, value in cells.items()}
        low, high = device.bounds(cells)
    return result


def _one(device: Device, g: Tensor, cells: Cells, up: bool, generator: torch.Generator | None) -> Tensor:
    """The change by one pulse."""
    step = device.increase(g, cells) if up else device.decrease(g, cells)
    step = gain_of(cells, up) * step
    if generator is not None and device.noisy:
        noise = torch.randn(g.shape, generator=generator, dtype=g.dtype)
        step = step + device.spread(g, step, cells, up=up) * noise
    return step if up else -step


@functools.lru_cache(maxsize=64)
def typical_steps(device: Device) -> tuple[float, float]:
    """The mean change by one pulse up and by one down over the range of a nominal cell."""
    g = torch.linspace(0, 1, 65, dtype=torch.float64)
    cells = {**device.fresh(g.shape, dtype=torch.float64), "g": g}
    rises = torch.minimum(device.increase(g, cells), 1 - g)
    falls = torch.minimum(device.decrease(g, cells), g)
    return float(rises.mean()), float(falls.mean())
