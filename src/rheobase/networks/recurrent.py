"""Recurrent networks: hidden layers whose neurons are connected among themselves, of one or two models."""

from __future__ import annotations

import math

from torch import nn

from rheobase.config import option
from rheobase.layers.connection import Weights
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.layers.recurrent import Recurrent as RecurrentLayer
from rheobase.networks.base import Architecture
from rheobase.neurons.adaptive_lif import AdaptiveLIF
from rheobase.neurons.base import Neuron


class Recurrent(Architecture):
    """Inputs -> recurrent hidden layers -> read-out.

    With `adaptive` above 0, each hidden layer has so many neurons of a second model beside those of the first
    (the groups are called "regular" and "adaptive"): the LSNN of Bellec, Salaj, Subramoney, Legenstein &
    Maass, NeurIPS 2018. Delays, signs, density and gain are those of the recurrent connections and, but for
    delays, of the others too.

    >>> from rheobase.neurons.lif import LIF
    >>> net = Recurrent(hidden=(8,), adaptive=4).build((1, 4, 4), 2, LIF(), LIF())
    >>> net.layers["hidden1"].states
    ('regular.v', 'adaptive.v', 'adaptive.b')
    """

    hidden: tuple[int, ...] = option(default=(200,), at_least=1, help="neurons per hidden layer")
    adaptive: int = option(
        default=0, at_least=0, help="further neurons in each hidden layer, of a second model"
    )
    adaptive_neuron: Neuron = option(default=AdaptiveLIF(), help="model of the adaptive neurons")
    delay: float | None = option(
        default=None, above=0, unit="ms", help="(shortest) delay of recurrent connections; one step if none"
    )
    longest_delay: float | None = option(
        default=None, above=0, unit="ms", help="longest delay, if each connection's is drawn up to it"
    )
    self_connections: bool = option(default=False, help="whether a neuron may excite itself")
    excitatory: float | None = option(
        default=None,
        at_least=0,
        at_most=1,
        help="share of hidden neurons that only excite, the others only inhibit; any signs if none",
    )
    density: float = option(default=1.0, above=0, at_most=1, help="share of recurrent connections that exist")
    bias: bool = option(default=True, help="whether feed-forward connections have biases")
    weights: Weights = option(default="uniform", help="distribution of the initial weights")
    gain: float = option(default=1.0, above=0, help="factor on the initial feed-forward weights")
    recurrent_gain: float = option(default=1.0, above=0, help="factor on the initial recurrent weights")

    def validate(self) -> None:
        if self.longest_delay is not None and self.longest_delay < (self.delay or 0.0):
            raise ValueError(
                f"Recurrent.longest_delay: got {self.longest_delay:g} ms, wanted at least the shortest, "
                f"{self.delay:g} ms"
            )

    def build(self, input_shape: tuple[int, ...], outputs: int, neuron: Neuron, readout: Neuron) -> Network:
        layers: dict[str, nn.Module] = {}
        before = math.prod(input_shape)
        for i, size in enumerate(self.hidden, start=1):
            layer = self.layer(neuron, size)
            layers[f"dense{i}"] = self.dense(before, layer.size)
            layers[f"hidden{i}"] = layer
            before = layer.size
        layers[f"dense{len(self.hidden) + 1}"] = self.dense(before, outputs)
        layers["readout"] = self.neurons(readout, outputs)
        return Network(**layers)

    def dense(self, inputs: int, outputs: int) -> Dense:
        """A connection between layers."""
        return Dense(inputs, outputs, bias=self.bias, gain=self.gain, weights=self.weights)

    def layer(self, neuron: Neuron, size: int) -> RecurrentLayer:
        """A hidden layer of `size` neurons, and those of the second model."""
        groups: dict[str, tuple[Neuron, int]] = {"regular": (neuron, size)}
        if self.adaptive:
            groups["adaptive"] = (self.adaptive_neuron, self.adaptive)
        known = {name for model, _ in groups.values() for name in model.parameter_names()}
        shortest = self.delay or neuron.dt
        return RecurrentLayer(
            groups if self.adaptive else neuron,
            None if self.adaptive else size,
            delays=(shortest, self.longest_delay or shortest),
            self_connections=self.self_connections,
            signs=self.excitatory,
            density=self.density,
            trainable=[name for name in self.train_neurons if name in known],
            gain=self.recurrent_gain,
            weights=self.weights,
            backend=self.backend,
            checkpoint_every=self.checkpoint_every,
        )
