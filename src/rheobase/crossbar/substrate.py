"""What a network's connections are made of: ideal weights, or crossbars of devices.

    --substrate ideal                    numbers
    --substrate memtransistor            crossbars of that device; any law or preset of `rheobase list
    devices`
    --substrate crossbar --substrate.device pcm --substrate.r-word 2 ...      the same, spelt out

On crossbars every connection of the network (dense, delayed, recurrent, convolutional) stands on an array of
its own (see `array`), or only those that are named. Biases, delays and neuron parameters stay digital.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from rheobase.config import Config, option
from rheobase.crossbar.array import Placed, arrays, place
from rheobase.crossbar.circuit import Tiles, WireModel
from rheobase.crossbar.devices.base import Device
from rheobase.crossbar.devices.library import device as named_device
from rheobase.crossbar.devices.library import names as device_names
from rheobase.crossbar.devices.memtransistor import Memtransistor
from rheobase.crossbar.mapping import DifferentialPair, OneSigned, WeightMapping
from rheobase.crossbar.periphery import Converters
from rheobase.crossbar.programming.accumulate import Accumulate
from rheobase.crossbar.programming.base import Programming
from rheobase.crossbar.programming.optimizer import PulsedOptimizer
from rheobase.crossbar.wires import Wires
from rheobase.layers.connection import constraint_of, trained_weight
from rheobase.registry import catalogue, name_of, unknown


class Substrate(Config, ABC):
    """What connections are made of."""

    room: ClassVar[str] = "rheobase.crossbar.substrate"

    @classmethod
    def named(cls, name: str) -> Mapping[str, Any] | None:
        """The table that another name stands for: crossbars of the device of that name.

        Raises:
            ValueError: If there is no such device either, or its preset file is damaged.
        """
        if not name.endswith(".toml") and name.lower().replace("_", "-") not in device_names():
            known = {*catalogue(cls), *device_names()}
            raise ValueError(f"{unknown('substrate', name, known)}, or a device's preset file (FILE.toml)")
        return {"name": "crossbar", "device": named_device(name).to_dict()}

    @property
    @abstractmethod
    def title(self) -> str:
        """What it is called in results."""

    @abstractmethod
    def place(self, network: nn.Module, generator: torch.Generator) -> dict[str, Placed]:
        """Put a network's connections on this substrate, in place; their arrays, by layer."""

    def writer(
        self, inner: torch.optim.Optimizer, placed: Mapping[str, Placed], seed: int
    ) -> torch.optim.Optimizer:
        """What makes `inner`'s steps reach this substrate; `seed` is that of noise and lots."""
        return inner


class Ideal(Substrate):
    """Weights are numbers.

    >>> Ideal().title
    'ideal'
    """

    @property
    def title(self) -> str:
        return "ideal"

    def place(self, network: nn.Module, generator: torch.Generator) -> dict[str, Placed]:
        return {}


class Crossbar(Substrate):
    """Crossbars of memory devices.

    >>> from rheobase.layers.dense import Dense
    >>> from rheobase.layers.network import Network
    >>> net = Network(dense=Dense(784, 100))
    >>> placed = Crossbar().place(net, torch.Generator().manual_seed(0))
    >>> placed["layers.dense"].array.cells["g"].shape
    torch.Size([2, 100, 784])
    """

    device: Device = option(default=Memtransistor(), help="the memory cell")
    mapping: WeightMapping = option(default=DifferentialPair(), help="which cells stand for a weight")
    programming: Programming = option(default=Accumulate(), help="how updates become pulses")
    reach: float = option(
        default=1.0,
        above=0,
        help="largest weight that the range of the device stands for, in multiples of a layer's largest "
        "initial one",
    )
    r_word: float = option(
        default=0.0, at_least=0, unit="ohm", help="wire between two cells of a word line (one input)"
    )
    r_bit: float = option(
        default=0.0, at_least=0, unit="ohm", help="wire between two cells of a bit line (one output)"
    )
    wire_model: WireModel = option(default="exact", help="exact nodal solution, or a fast approximation")
    train_through_wires: bool = option(
        default=True, help="whether training sees the wires; evaluation always does"
    )
    tile_rows: int = option(
        default=128, at_least=1, at_most=512, help="largest number of word lines of a tile"
    )
    tile_columns: int = option(default=128, at_least=1, at_most=512, help="largest number of its bit lines")
    dac_bits: int | None = option(
        default=None, at_least=1, at_most=16, help="bits of the converters of inputs (spikes need none)"
    )
    dac_range: float = option(default=1.0, above=0, help="their full scale, in units of the input")
    adc_bits: int | None = option(default=None, at_least=2, at_most=16, help="bits of the converters of sums")
    adc_range: float = option(
        default=0.1, above=0, at_most=1, help="their full scale, as a share of the largest sum of a tile"
    )
    layers: tuple[str, ...] | None = option(
        default=None, help="layers whose connections stand on crossbars (all if none)"
    )

    def validate(self) -> None:
        if isinstance(self.mapping, OneSigned) and self.device.one_sided:
            raise ValueError(
                f"Crossbar.mapping: got one_signed with {name_of(type(self.device))}, whose cells cannot "
                "be lowered in steps; use differential_pair"
            )

    @property
    def title(self) -> str:
        """The device's preset, where it is one, else its law."""
        for name, options in type(self.device).presets.items():
            if options and self.device == type(self.device)(**options):
                return name
        return name_of(type(self.device))

    @property
    def wires(self) -> Wires:
        """The wires of a tile."""
        return Wires(self.r_word, self.r_bit)

    def place(self, network: nn.Module, generator: torch.Generator) -> dict[str, Placed]:
        """Put the connections on arrays, with their weights as they are now.

        Raises:
            ValueError: If a layer that is named has no weights, or the mapping or converters do not fit one.
        """
        layers = {name: layer for name, layer in network.named_modules() if _connection(layer)}
        chosen = layers if self.layers is None else self._named(layers)
        converters = Converters(self.dac_bits, self.dac_range, self.adc_bits, self.adc_range, self.tile_rows)
        for name, layer in chosen.items():
            circuit = None
            if not self.wires.ideal:
                circuit = Tiles(self.wires, self.tile_rows, self.tile_columns, self.wire_model)
            placed = place(
                layer,
                self.device,
                self._mapping(layer),
                generator=generator,
                reach=self.reach,
                circuit=circuit,
            )
            placed.array.blind = not self.train_through_wires
            converters.attach(name, layer)
        return arrays(network)

    def writer(
        self, inner: torch.optim.Optimizer, placed: Mapping[str, Placed], seed: int
    ) -> torch.optim.Optimizer:
        """Pulses, as the scheme of programming says."""
        return PulsedOptimizer(inner, placed, self.programming, seed=seed)

    def _mapping(self, layer: nn.Module) -> WeightMapping:
        """The mapping; one cell per weight where weights have no sign of their own is not possible: a pair
        then."""
        constraint = constraint_of(layer)
        if isinstance(self.mapping, OneSigned) and (constraint is None or constraint.signs is None):
            return DifferentialPair()
        return self.mapping

    def _named(self, layers: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
        short = {name.removeprefix("layers."): name for name in layers}
        assert self.layers is not None
        for name in self.layers:
            if name not in short:
                raise ValueError(f"Crossbar.layers: {unknown('layer with weights', name, short)}")
        return {short[name]: layers[short[name]] for name in self.layers}


def _connection(layer: nn.Module) -> bool:
    """Whether a layer has weights from inputs to outputs."""
    weight = trained_weight(layer)
    return weight is not None and weight.dim() >= 2
