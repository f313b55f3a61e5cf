"""The crossbars of a trained network, for the report: `crossbars.safetensors`.

map/<layer> [R, C]            conductances in S as they lie in the array (every so many rows and columns of
large ones) counts/<layer>, counts0/<layer> [bins], edges/<layer> [bins + 1] normalised conductances after and
before training pulses/<layer> [bins], pulse_edges/<layer> [bins + 1] cells by the number of pulses they had
drop/<layer> [m, n]           with wires: voltage across each cell of the first tile, for 1 V at each input
curve/up, curve/down [K]      normalised conductance of a nominal cell after 0, 1, ... pulses, from each end
"""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from rheobase.crossbar.array import Array, arrays
from rheobase.crossbar.circuit import Tiles, layout, pieces
from rheobase.crossbar.devices.base import Device
from rheobase.crossbar.wires import node_voltages
from rheobase.files import write_bytes
from rheobase.layers.network import Network

NAME = "crossbars.safetensors"
BINS, SIDE, PULSES = 40, 200, 200


def write_crossbars(folder: Path, network: Network, initial: Network) -> None:
    """Write the file; nothing where nothing stands on crossbars.

    Args:
        folder: The run folder.
        network: The network after training.
        initial: As it was before.
    """
    placed, before = arrays(network), arrays(initial)
    if not placed:
        return
    tensors: dict[str, Tensor] = {}
    for full, one in placed.items():
        name, array = full.removeprefix("layers."), one.array
        g, start = (a.device.conductance(a.cells).detach() for a in (array, before[full].array))
        low, high = (float(f(torch.stack([g, start]))) for f in (torch.min, torch.max))
        edges = torch.linspace(min(low, 0.0), max(high, 1.0), BINS + 1)
        siemens = _present(array, layout(array.device.siemens(g)))
        tensors[f"map/{name}"] = siemens[:: -(-len(siemens) // SIDE), :: -(-siemens.shape[1] // SIDE)]
        tensors[f"counts/{name}"] = torch.histogram(g.flatten(), edges)[0]
        tensors[f"counts0/{name}"] = torch.histogram(start.flatten(), edges)[0]
        tensors[f"edges/{name}"] = edges
        number = array.pulses.sum(0).flatten().float()
        steps = torch.linspace(0.0, max(1.0, float(number.max())), BINS + 1)
        tensors[f"pulses/{name}"], tensors[f"pulse_edges/{name}"] = torch.histogram(number, steps)[0], steps
        if isinstance(array.circuit, Tiles):
            tensors[f"drop/{name}"] = _drop(siemens, array.circuit)
    device = next(iter(placed.values())).array.device
    tensors["curve/up"], tensors["curve/down"] = _curve(device, up=True), _curve(device, up=False)
    data = {name: value.float().contiguous().clone() for name, value in tensors.items()}
    write_bytes(folder / NAME, safetensors.torch.save(data))


def _present(array: Array, cells: Tensor) -> Tensor:
    present = array.present
    return cells if present is None else cells * layout(present.expand(array.pulses.shape[1:]))


def _drop(siemens: Tensor, tiles: Tiles) -> Tensor:
    rows = pieces(siemens.shape[0], tiles.rows)[0]
    columns = pieces(siemens.shape[1], tiles.columns)[0]
    word, bit = node_voltages(siemens[:rows, :columns], torch.ones(rows), tiles.wires)
    return word - bit


def _curve(device: Device, *, up: bool) -> Tensor:
    """A nominal cell, pulse by pulse."""
    cells = device.place(device.fresh((1,)), torch.tensor([0.0 if up else 1.0]))
    one, none = torch.ones(1, dtype=torch.int32), torch.zeros(1, dtype=torch.int32)
    seen = [device.conductance(cells)]
    for _ in range(PULSES):
        cells = device.pulse(cells, one if up else none, none if up else one)
        seen.append(device.conductance(cells))
    return torch.cat(seen)
