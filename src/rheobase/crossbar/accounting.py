"""What crossbars cost: energy, time, devices and pulses, for reads and for writes.

    a read      every cell of a row conducts while its input is on:   E = V^2 t sum_j x_j^2 sum G_j
    a pulse     E = V^2 G t, with the mean of the conductance before and after it
    time        reads follow each other: steps x (delays that occur) x t for each layer, layers one after the
                other; writes go row by row, pulses of a row in parallel: see `Array.write_seconds`
    area        cells, and 4 F^2 for each, F the half pitch: an ideal cross-point, without periphery

x is the input of a layer as a share of the read voltage (spikes are 0 or 1), V and t are the device's read
(or write) pulse, G its conductances as they are. Each delay that occurs is a read of its own: for it, the
rows of inputs that were on so many steps ago are driven again. Constant inputs are read at every step.

Not modelled: drivers, converters, wires, selectors, leakage, digital sums; half-selected cells while writing.
Figures are proxies, good for comparing devices and schemes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rheobase.crossbar.array import Array, Placed
from rheobase.kernels.constant import Constant
from rheobase.layers.delayed import Delayed
from rheobase.layers.recurrent import Recurrent

HALF_PITCH = 32e-9  # m


@dataclass(frozen=True)
class LayerCost:
    """One array.

    Attributes:
        device: Name of its law or preset.
        cells: Devices.
        area: 4 F^2 for each at a half pitch of 32 nm, in mm^2.
        reads: Reads of the whole array per inference.
        read_energy: Energy of these, in J (mean over samples).
        read_seconds: Time of these.
        inputs: Inputs that were on, per inference (spikes, or squared shares of full scale).
        pulses_up, pulses_down: Over training so far.
        write_energy: Energy of these, in J.
        write_seconds: Time of these.
        most_pulses: Of the cell that had most.
    """

    cells: int
    area: float
    reads: float
    read_energy: float
    read_seconds: float
    inputs: float
    pulses_up: int
    pulses_down: int
    write_energy: float
    write_seconds: float
    most_pulses: int


def delays_of(layer: nn.Module) -> int:
    """How many reads one time step takes: one per delay that occurs."""
    if isinstance(layer, (Delayed, Recurrent)) and layer.delays is not None:
        ms = layer.delays.ms()
        dt = float(layer.delays.dt)  # type: ignore[arg-type]
        return int(torch.unique((ms / dt).floor()).numel())
    return 1


class Meter:
    """Counts what goes into each layer on an array while a network runs.

    >>> from rheobase.crossbar.array import place
    >>> from rheobase.crossbar.devices.memtransistor import Memtransistor
    >>> from rheobase.crossbar.mapping import DifferentialPair
    >>> from rheobase.layers.dense import Dense
    >>> placed = place(Dense(3, 2), Memtransistor(), DifferentialPair(), generator=None)
    >>> meter = Meter({"dense": placed})
    >>> with meter.running():
    ...     _ = placed.layer(torch.ones(5, 4, 3))
    >>> cost = meter.costs()["dense"]
    >>> cost.cells, cost.reads, cost.inputs
    (12, 5.0, 15.0)
    """

    def __init__(self, placed: Mapping[str, Placed]) -> None:
        self.placed = dict(placed)
        self._on: dict[str, Tensor] = {}  # squares of the inputs, summed over steps and samples
        self._samples: dict[str, int] = {}
        self._steps: dict[str, int] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count within."""
        handles = [one.layer.register_forward_hook(self._hook(name)) for name, one in self.placed.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, name: str) -> Any:
        def count(layer: nn.Module, arguments: Any, result: Any) -> None:
            # What a recurrent connection gets are the layer's own spikes.
            x = result.output if isinstance(layer, Recurrent) else arguments[0]
            steps = x.shape[0]
            values = x.value if isinstance(x, Constant) else x
            squares = values.detach().double().square()
            samples = squares.shape[0] if isinstance(x, Constant) else squares.shape[1]
            on = (
                squares.flatten(1).sum(0) * steps
                if isinstance(x, Constant)
                else squares.flatten(2).sum((0, 1))
            )
            self._on[name] = self._on.get(name, torch.zeros_like(on)) + on
            self._samples[name] = self._samples.get(name, 0) + samples
            self._steps[name] = steps

        return count

    def costs(self) -> dict[str, LayerCost]:
        """The costs of each array."""
        return {name: self._cost(name, one) for name, one in self.placed.items()}

    def _cost(self, name: str, one: Placed) -> LayerCost:
        array, device = one.array, one.array.device
        samples = max(1, self._samples.get(name, 0))
        per_row = device.read_energy(device.conductance(array.cells)).double()
        if array.present is not None:
            per_row = per_row * array.present
        per_row = per_row.sum((0, 1))
        on = self._on.get(name, torch.zeros_like(per_row)) / samples
        delays = delays_of(one.layer)
        reads = float(self._steps.get(name, 0) * delays)
        cells = cells_of(array)
        per_cell = array.pulses.sum(0)
        return LayerCost(
            cells=cells,
            area=cells * 4 * HALF_PITCH**2 * 1e6,
            reads=reads,
            # Convolutions see each input as often as their kernel passes over it: not counted here.
            read_energy=float(on @ per_row) * delays if len(on) == len(per_row) else 0.0,
            read_seconds=reads * device.read_seconds,
            inputs=float(on.sum()),
            pulses_up=int(array.pulses[0].sum()),
            pulses_down=int(array.pulses[1].sum()),
            write_energy=float(array.energy),
            write_seconds=float(array.write_seconds),
            most_pulses=int(per_cell.max()),
        )


def cells_of(array: Array) -> int:
    """The number of devices."""
    planes, columns, inputs = array.pulses.shape[1:]
    present = array.present
    return planes * (columns * inputs if present is None else int(present.sum()))


def account(costs: Mapping[str, LayerCost], accesses: float) -> dict[str, Any]:
    """The table of `summary.json`: each array, and all of them together.

    Args:
        costs: By layer.
        accesses: Inferences that training made, for an estimate of what its reads took.
    """
    layers = {name.removeprefix("layers."): asdict(cost) for name, cost in costs.items()}
    total = {key: sum(layer[key] for layer in layers.values()) for key in next(iter(layers.values()))}
    total["most_pulses"] = max(layer["most_pulses"] for layer in layers.values())
    total["training_read_energy"] = accesses * total["read_energy"]
    return {"layers": layers, "total": total}
