"""Cells: what is known of each, new ones with their variation, some of them, and their bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

if TYPE_CHECKING:
    from rheobase.crossbar.devices.base import Device

#: What is known of each cell, by name; never changed in place.
Cells: TypeAlias = Mapping[str, Tensor]


def draw_cells(
    device: Device, shape: tuple[int, ...], generator: torch.Generator | None, dtype: torch.dtype
) -> Cells:
    """New cells at their lowest conductance (see `Device.fresh`)."""
    cells: dict[str, Tensor] = {}

    def normal() -> Tensor:
        if generator is None:
            return torch.zeros(shape, dtype=dtype)
        return torch.randn(shape, generator=generator, dtype=dtype)

    if device.step_d2d or device.asymmetry_d2d:
        common = device.step_d2d * normal()
        gain = common.exp() if device.step_d2d_lognormal else 1 + common
        tilt = device.asymmetry_d2d * normal()
        cells |= {"gain_up": (gain + tilt).clamp(min=0), "gain_down": (gain - tilt).clamp(min=0)}
    if device.low_d2d or device.high_d2d:
        one, other = device.low_d2d * normal(), 1 + device.high_d2d * normal()
        cells |= {"low": torch.minimum(one, other), "high": torch.maximum(one, other)}
        cells |= {name: cells[name].clamp(min=device.unformed_g) for name in ("low", "high")}
    if device.retention_d2d and (device.retention or device.lifetime):
        cells["persistence"] = (1 + device.retention_d2d * normal()).abs().clamp(min=1e-3)
    cells["g"] = cells["low"].clone() if "low" in cells else torch.zeros(shape, dtype=dtype)
    if device.stuck_low + device.stuck_high + device.unformed > 0 and generator is not None:
        cells |= _stuck(device, cells["g"], generator)
    if device.write_noise:
        cells["hidden"] = cells["g"].clone()
    return cells


def _stuck(device: Device, g: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    lot = torch.rand(g.shape, generator=generator, dtype=g.dtype)
    low, high = device.stuck_low, device.stuck_low + device.stuck_high
    g = torch.where(lot < high, 1.0, g)
    g = torch.where(lot < low, 0.0, g)
    unformed = (lot >= high) & (lot < high + device.unformed)
    return {"g": torch.where(unformed, device.unformed_g, g), "stuck": lot < high + device.unformed}


def settled(cells: Cells, g: Tensor, seen: Tensor) -> Cells:
    """The cells with new conductances, and what is seen of them; those that are stuck keep theirs."""
    new = dict(cells)
    stuck = cells.get("stuck")
    new["g"] = seen if stuck is None else torch.where(stuck, cells["g"], seen)
    if "hidden" in cells:
        new["hidden"] = g if stuck is None else torch.where(stuck, cells["hidden"], g)
    return new


def gain_of(cells: Cells, up: bool) -> Tensor | float:
    """The factor on steps of each cell, or 1."""
    return cells.get("gain_up" if up else "gain_down", 1.0)


def clip(g: Tensor, low: Tensor | float, high: Tensor | float) -> Tensor:
    """g within its bounds, which are numbers or one per cell."""
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        return torch.minimum(
            torch.maximum(g, torch.as_tensor(low, dtype=g.dtype)), torch.as_tensor(high, dtype=g.dtype)
        )
    return g.clamp(low, high)


def cells_at(cells: Cells, chosen: Tensor, shape: torch.Size) -> Cells:
    """What is known of some cells: one-dimensional, but for what is known of the array as a whole."""
    return {
        name: value.expand(shape).flatten().index_select(0, chosen) if value.dim() else value
        for name, value in cells.items()
    }
