"""An array of devices under the weight of a connection: a parametrisation, so any connection can stand on
one.

    weight = mask * decode( wires( read(cells) ) )

The trained parameter (`parametrizations.weight.original`) stays in units of weight and mirrors what the cells
store: after every write it is decode(g). What a rule puts into its `.grad` is the derivative by the stored
weight: a change dw of it stands for the change spread(dw) of the conductances (see `mapping`), and goes
through wires with their exact derivative. Device laws and read noise have no part in it (straight-through):
how a wish becomes pulses, and what those do, is a matter of programming. Where nothing is lost on the way (no
wires, no read noise), the weight is the parameter itself, bit for bit.

A parameter that was changed by something else than a write (Dale's projection, rewiring, a rule that tries
out perturbed weights) acts by that difference until the next write, which should include it (`Array.due`).

Cells, the largest weight and counts of pulses are buffers, so a checkpoint has them. Read noise is drawn once
per key (`renew_noise`) and frozen over a sequence: to redraw it at every step would take a weight matrix per
step.

Not modelled: cross-talk between neighbouring cells while writing, self-heating.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from rheobase.crossbar.devices.base import Cells, Device, cells_at
from rheobase.crossbar.mapping import WeightMapping
from rheobase.layers.connection import constraint_of, trained_weight
from rheobase.layers.noise import Keyed

_CELL = "cell_"

#: Conductances in S `[planes, columns, inputs]` to what they come to as seen from outside; differentiable.
Circuit = Callable[[Tensor], Tensor]


class Array(Keyed):
    """The cells under one weight `[outputs, ...]`, and what comes of reading them.

    Args:
        weight: The weight to start from; the cells are set to it as far as they can hold it.
        device: The law of each cell.
        mapping: Which cells stand for a weight.
        largest: The largest weight that the range of the device stands for.
        generator: Where the differences between devices are drawn from; None for nominal devices.
        signs, mask: Those of the connection (see `rheobase.layers.connection.Constraint`).
        circuit: What wires make of the conductances, or None for wires without resistance.

    Raises:
        ValueError: If the mapping cannot hold such weights.
    """

    largest: Tensor
    pulses: Tensor
    energy: Tensor
    write_seconds: Tensor
    signs: Tensor | None
    mask: Tensor | None

    def __init__(
        self,
        weight: Tensor,
        device: Device,
        mapping: WeightMapping,
        *,
        largest: float,
        generator: torch.Generator | None,
        signs: Tensor | None = None,
        mask: Tensor | None = None,
        circuit: Circuit | None = None,
    ) -> None:
        super().__init__()
        self.device, self.mapping, self.circuit = device, mapping, circuit
        self.key = 0
        self.time_s: float | None = None  # since programming; None: reads are immediate
        self.blind = False  # whether training takes wires for ideal
        self._seen: tuple[object, Tensor] | None = None
        self.register_buffer("largest", torch.tensor(largest, dtype=torch.float64))
        # Buffers of the connection's constraint, which changes them in place: shared, and saved once, there.
        self.register_buffer("signs", signs, persistent=False)
        self.register_buffer("mask", mask, persistent=False)
        shape = mapping.shape(weight.shape[0], weight[0].numel())
        cells = device.fresh(shape, generator, weight.dtype)
        wanted = mapping.encode(weight.detach().flatten(1), largest, signs)
        for name, value in device.place(cells, wanted).items():
            self.register_buffer(_CELL + name, value.clone())
        self.register_buffer("pulses", torch.zeros(2, *shape, dtype=torch.int32))
        self.register_buffer("energy", torch.zeros((), dtype=torch.float64))
        self.register_buffer("write_seconds", torch.zeros((), dtype=torch.float64))

    # ---- what is stored

    @property
    def cells(self) -> dict[str, Tensor]:
        """What is known of each cell, by name; "g" is the normalised conductance."""
        return {
            k.removeprefix(_CELL): v
            for k, v in self._buffers.items()
            if k.startswith(_CELL) and v is not None
        }

    @property
    def present(self) -> Tensor | None:
        """Which cells there are, bool `[1, columns, inputs]`; None where all are."""
        if self.mask is None:
            return None
        mask = self.mask.flatten(1)
        columns = self.pulses.shape[2]
        # A reference column serves all connections, and is there wherever one of them is.
        return torch.cat([mask, mask.any(0, keepdim=True).expand(columns - len(mask), -1)]).unsqueeze(0)

    @property
    def version(self) -> tuple[int, ...]:
        """What changes whenever a cell does (as long as this process runs)."""
        return tuple(value._version for value in self.cells.values())

    def stored(self) -> Tensor:
        """The weight that the cells store, as a noiseless read through perfect wires finds it."""
        return self._weight(self.device.conductance(self.cells))

    def due(self, wish: Tensor) -> Tensor:
        """The change of normalised conductances `[planes, columns, inputs]` that a write is to make, for a
        weight of `wish`."""
        return self.spread(wish - self.stored())

    def spread(self, change: Tensor) -> Tensor:
        """The change of normalised conductances that stands for a change of the weight."""
        if self.mask is not None:
            change = change * self.mask
        return self.mapping.spread(change.flatten(1), float(self.largest), self.signs)

    def _weight(self, g: Tensor) -> Tensor:
        weight = self.mapping.decode(g, float(self.largest), self.signs)
        return weight if self.mask is None else weight * self.mask.flatten(1)

    # ---- writing

    @torch.no_grad()
    def pulse(self, up: Tensor, down: Tensor, generator: torch.Generator | None) -> None:
        """Apply whole numbers of pulses to each cell (first those up), and count them.

        Follow with `parameter.copy_(array.stored().view_as(parameter))`: see `sync`.
        """
        chosen = ((up > 0) | (down > 0)).flatten().nonzero().flatten()
        self.pulse_at(chosen, up.flatten()[chosen], down.flatten()[chosen], generator)

    @torch.no_grad()
    def pulse_at(self, chosen: Tensor, up: Tensor, down: Tensor, generator: torch.Generator | None) -> None:
        """`pulse` for a few cells: places in the flattened array, and pulses for each, all `[M]`."""
        cells, shape = self.cells, self.pulses.shape[1:]
        before = self.device.conductance(cells_at(cells, chosen, shape))
        after = self.device.pulse_at(cells, chosen, up, down, generator)
        self.put(after)
        counts = self.pulses.view(2, -1)
        for row, number in zip(counts, (up, down), strict=True):
            row.index_add_(0, chosen, number.to(torch.int32))
        mean = (before + self.device.conductance(cells_at(after, chosen, shape))) / 2
        self.energy += self.device.pulse_energy(mean, up, down).sum(dtype=torch.float64)
        # Row by row (a row is an input), the pulses of a row in parallel.
        rows, none = chosen % shape[-1], torch.zeros(shape[-1], dtype=torch.float64)
        for number, seconds in ((up, self.device.up_seconds), (down, self.device.down_seconds)):
            longest = none.scatter_reduce(0, rows, number.double(), "amax")
            self.write_seconds += seconds * longest.sum()

    @torch.no_grad()
    def put(self, cells: Cells) -> None:
        """Replace what is known of the cells (no pulse is counted)."""
        for name, value in cells.items():
            buffer = self._buffers[_CELL + name]
            assert buffer is not None
            if value is not buffer:
                buffer.copy_(value)

    # ---- reading

    def forward(self, weight: Tensor) -> Tensor:
        """The weight that acts."""
        g = self._read()
        if g is None:
            return weight
        flat = weight.flatten(1)
        with torch.no_grad():
            base = self.stored()
        # Cells that follow the parameter: by value what was read, and a derivative as spread has it.
        g = g + self.spread(flat - base)
        if self.circuit is None or (self.blind and self.training):
            return self._weight(g).view_as(weight)
        siemens = self.device.siemens(g)
        present = self.present
        seen = self.circuit(siemens if present is None else siemens * present)  # missing cells: 0 S
        return self._weight(self.device.normalised(seen)).view_as(weight)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The parameter that stands for `weight`."""
        return weight

    @torch.no_grad()
    def _read(self) -> Tensor | None:
        """Normalised conductances as read; None where reading them changes nothing."""
        if self.circuit is None and not self.time_s and self.device.exact_reads:
            return None  # told by the device alone: no cell need be looked at
        cells = self.cells
        token = (self.key, self.time_s, self.version)
        if self._seen is not None and self._seen[0] == token:
            g = self._seen[1]
        else:
            noise = torch.Generator().manual_seed(self.key % 2**63)
            g = self.device.read(cells, noise, self.time_s)
            self._seen = (token, g)
        if self.circuit is None and torch.equal(g, self.device.conductance(cells)):
            return None
        return g

    def extra_repr(self) -> str:
        return f"{type(self.device).__name__}, {type(self.mapping).__name__}, {tuple(self.pulses.shape[1:])}"


class Placed(NamedTuple):
    """An array, the layer that stands on it, and the parameter that mirrors it."""

    layer: nn.Module
    parameter: nn.Parameter
    array: Array

    @torch.no_grad()
    def sync(self) -> None:
        """Make the parameter what the cells store."""
        self.parameter.copy_(self.array.stored().view_as(self.parameter))


def place(
    layer: nn.Module,
    device: Device,
    mapping: WeightMapping,
    *,
    generator: torch.Generator | None,
    largest: float | None = None,
    reach: float = 1.0,
    circuit: Circuit | None = None,
) -> Placed:
    """Put the `weight` of a connection on an array, its cells set to what the weight is.

    Args:
        layer: The connection; constraints on its weight stay.
        device, mapping, generator, circuit: See `Array`.
        largest: The largest weight that the cells can hold; `reach` times the largest there is if None.

    Raises:
        ValueError: If there is no such weight, it stands on an array already, or the mapping cannot hold it.

    >>> from rheobase.crossbar.devices.exponential import Exponential
    >>> from rheobase.crossbar.mapping import DifferentialPair
    >>> from rheobase.layers.dense import Dense
    >>> layer = Dense(3, 2)
    >>> placed = place(layer, Exponential(), DifferentialPair(), generator=None)
    >>> placed.array.cells["g"].shape, torch.equal(layer.weight, placed.array.stored())
    (torch.Size([2, 2, 3]), True)
    """
    parameter = trained_weight(layer)
    if parameter is None or array_of(layer) is not None:
        raise ValueError(
            f"{type(layer).__name__}: has no weight that could be put on an array (or is on one)"
        )
    assert isinstance(parameter, nn.Parameter)
    weight = cast(Tensor, layer.weight).detach()
    constraint = constraint_of(layer)
    signs, mask = (constraint.signs, constraint.mask) if constraint else (None, None)
    if largest is None:
        largest = reach * float(weight.abs().max()) or 1.0
    array = Array(
        weight,
        device,
        mapping,
        largest=largest,
        generator=generator,
        signs=signs,
        mask=mask,
        circuit=circuit,
    )
    parametrize.register_parametrization(layer, "weight", array, unsafe=True)
    trained = trained_weight(layer)
    assert isinstance(trained, nn.Parameter)
    placed = Placed(layer, trained, array)
    placed.sync()
    return placed


def array_of(layer: nn.Module) -> Array | None:
    """The array that the weight of a connection stands on, if it does."""
    if not parametrize.is_parametrized(layer, "weight"):
        return None
    chains: Any = layer.parametrizations
    last = chains["weight"][-1]
    return last if isinstance(last, Array) else None


def arrays(network: nn.Module) -> dict[str, Placed]:
    """Every array of a network, by the name of its layer."""
    found = {}
    for name, layer in network.named_modules():
        array, parameter = array_of(layer), trained_weight(layer)
        if array is not None and isinstance(parameter, nn.Parameter):
            found[name] = Placed(layer, parameter, array)
    return found
