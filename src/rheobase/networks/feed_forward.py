"""Fully connected feed-forward networks."""

from __future__ import annotations

import math

from torch import nn

from rheobase.config import option
from rheobase.layers.network import Network
from rheobase.networks.connected import Connected
from rheobase.neurons.base import Neuron


class FeedForward(Connected):
    """Inputs -> hidden layers -> read-out, all-to-all.

    >>> from rheobase.neurons.lif import LIF
    >>> net = FeedForward(hidden=(8,)).build((1, 4, 4), 2, LIF(), LIF())
    >>> list(net.layers)
    ['dense1', 'hidden1', 'dense2', 'readout']
    """

    hidden: tuple[int, ...] = option(default=(1000,), at_least=1, help="neurons per hidden layer")

    def build(self, input_shape: tuple[int, ...], outputs: int, neuron: Neuron, readout: Neuron) -> Network:
        layers: dict[str, nn.Module] = {}
        before = math.prod(input_shape)
        signs = self.input_signs(before)
        for i, size in enumerate((*self.hidden, outputs), start=1):
            last = i > len(self.hidden)
            model = readout if last else neuron
            layers[f"dense{i}"] = self.connect(before, [(model, size)], signs)
            layers |= {} if last else self.noisy(f"noise{i}", neuron.dt)
            layers["readout" if last else f"hidden{i}"] = self.neurons(model, size)
            before, signs = size, None if last else self.signs(size)
        return Network(**layers)
