"""Convolutional networks: blocks of convolution, neurons and pooling, then dense layers."""

from __future__ import annotations

import math

from torch import nn

from rheobase.config import option
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.layers.neurons import Neurons
from rheobase.layers.over_time import OverTime
from rheobase.networks.base import Architecture
from rheobase.neurons.base import Neuron


class Convolutional(Architecture):
    """[convolution -> (batch norm) -> neurons -> average pooling] x n -> dense layers -> read-out.

    Neurons of a convolutional layer share their trained parameters.

    >>> from rheobase.neurons.lif import LIF
    >>> net = Convolutional(channels=(4,), hidden=()).build((1, 8, 8), 2, LIF(), LIF())
    >>> list(net.layers)
    ['conv1', 'neurons1', 'pool1', 'dense1', 'readout']
    """

    channels: tuple[int, ...] = option(default=(16, 32), at_least=1, help="channels per convolution")
    kernel: int = option(default=5, at_least=1, unit="px", help="side of the convolutions' kernels")
    pool: int = option(default=2, at_least=1, unit="px", help="side of the pooling windows")
    norm: bool = option(default=True, help="batch norm behind each convolution")
    hidden: tuple[int, ...] = option(default=(128,), at_least=1, help="neurons per dense hidden layer")
    dropout: float = option(default=0.0, at_least=0, at_most=0.95, help="share dropped before dense layers")

    def build(self, input_shape: tuple[int, ...], outputs: int, neuron: Neuron, readout: Neuron) -> Network:
        if len(input_shape) != 3:
            raise ValueError(
                f"Convolutional: got samples of shape {input_shape}, wanted images [channels, height, width]"
            )
        layers: dict[str, nn.Module] = {}
        before, *sides = input_shape
        for i, size in enumerate(self.channels, start=1):
            maps = size * len(neuron.inputs)
            convolution = nn.Conv2d(before, maps, self.kernel, padding=self.kernel // 2, bias=not self.norm)
            parts = [convolution, nn.BatchNorm2d(maps)] if self.norm else [convolution]
            layers[f"conv{i}"] = OverTime(*parts)
            layers |= self.noisy(f"noise{i}", neuron.dt)
            layers[f"neurons{i}"] = self.shared(neuron)
            layers[f"pool{i}"] = OverTime(nn.AvgPool2d(self.pool))
            before = size
            sides = [(side + 2 * (self.kernel // 2) - self.kernel + 1) // self.pool for side in sides]
        if min(sides) < 1:
            raise ValueError(
                f"Convolutional: got images of {input_shape[1]} x {input_shape[2]} px, too small for "
                f"{len(self.channels)} poolings by {self.pool}; use fewer channels or a smaller pool"
            )
        flat = before * math.prod(sides)
        for i, size in enumerate((*self.hidden, outputs), start=1):
            last = i > len(self.hidden)
            if self.dropout:
                layers[f"dropout{i}"] = OverTime(nn.Dropout(self.dropout))
            model = readout if last else neuron
            layers[f"dense{i}"] = Dense(flat, size * len(model.inputs))
            layers |= {} if last else self.noisy(f"hidden_noise{i}", neuron.dt)
            layers["readout" if last else f"hidden{i}"] = self.neurons(model, size)
            flat = size
        return Network(**layers)

    def shared(self, neuron: Neuron) -> Neurons:
        """A layer of neurons that share one trained value per parameter."""
        names = [name for name in self.train_neurons if name in neuron.parameter_names()]
        return Neurons(neuron, trainable=names, backend=self.backend, checkpoint_every=self.checkpoint_every)
