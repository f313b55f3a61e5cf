"""Fully connected feed-forward networks."""

from __future__ import annotations

import math

from torch import nn

from rheobase.config import option
from rheobase.layers.connection import Weights
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.networks.base import Architecture
from rheobase.neurons.base import Neuron


class FeedForward(Architecture):
    """Inputs -> hidden layers -> read-out, all-to-all.

    >>> from rheobase.neurons.lif import LIF
    >>> net = FeedForward(hidden=(8,)).build((1, 4, 4), 2, LIF(), LIF())
    >>> list(net.layers)
    ['dense1', 'hidden1', 'dense2', 'readout']
    """

    hidden: tuple[int, ...] = option(default=(1000,), at_least=1, help="neurons per hidden layer")
    bias: bool = option(default=True, help="whether connections have biases")
    weights: Weights = option(default="uniform", help="distribution of the initial weights")
    gain: float = option(default=1.0, above=0, help="factor on the initial weights")

    def build(self, input_shape: tuple[int, ...], outputs: int, neuron: Neuron, readout: Neuron) -> Network:
        layers: dict[str, nn.Module] = {}
        before = math.prod(input_shape)
        for i, size in enumerate((*self.hidden, outputs), start=1):
            last = i > len(self.hidden)
            layers[f"dense{i}"] = Dense(before, size, bias=self.bias, gain=self.gain, weights=self.weights)
            layers["readout" if last else f"hidden{i}"] = self.neurons(readout if last else neuron, size)
            before = size
        return Network(**layers)
