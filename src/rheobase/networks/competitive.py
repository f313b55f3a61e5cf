"""Networks in which neurons compete: one layer, each neuron of which silences all others when it fires.

    inputs -> neurons, each inhibiting all others -> read-out

The inhibition is fixed: a spike takes `inhibition` off the membranes of all others one step later. What the
neurons answer to is left to a rule that needs no labels (`stdp`); weights are positive, and those of a
neuron add up to `total` at the start, drawn at random. With `train_neurons` "threshold", a rule may make
neurons that win too often harder to excite. The read-out is for a rule to fill (as votes of neurons that
have been named).

Diehl & Cook, "Unsupervised learning of digit recognition using spike-timing-dependent plasticity",
Frontiers in Computational Neuroscience 9, 99 (2015). Not modelled: the inhibitory neurons (one for each
excitatory one there, with fixed weights), conductance-based synapses.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from rheobase.config import option
from rheobase.layers.connection import trained_weight
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.layers.recurrent import Recurrent
from rheobase.networks.base import Architecture
from rheobase.neurons.base import Neuron


class Competitive(Architecture):
    """Inputs -> competing neurons -> read-out. Neither connection has biases.

    >>> from rheobase.neurons.leaky_integrator import LeakyIntegrator
    >>> from rheobase.neurons.lif import LIF
    >>> net = Competitive(hidden=3, inhibition=5.0, total=2.0).build((1, 4, 4), 2, LIF(), LeakyIntegrator())
    >>> list(net.layers), net.layers["hidden1"].weight[0].tolist()
    (['dense1', 'hidden1', 'dense2', 'readout'], [0.0, -5.0, -5.0])
    >>> round(net.layers["dense1"].weight.sum().item(), 4)  # of three neurons
    6.0
    """

    hidden: int = option(default=100, at_least=2, help="number of competing neurons")
    inhibition: float = option(
        default=1000.0, at_least=0, help="what a spike takes off the membranes of all others"
    )
    total: float = option(default=78.4, above=0, help="sum of a neuron's initial weights")

    def build(self, input_shape: tuple[int, ...], outputs: int, neuron: Neuron, readout: Neuron) -> Network:
        columns = len(neuron.inputs)
        if columns > 1:
            raise ValueError(
                f"Competitive: got neurons with the inputs {', '.join(neuron.inputs)}, wanted a model "
                "with one, such as lif"
            )
        dense = Dense(math.prod(input_shape), self.hidden, bias=False)
        names = [name for name in self.train_neurons if name in neuron.parameter_names()]
        hidden = Recurrent(
            neuron,
            self.hidden,
            trainable=names,
            backend=self.backend,
            checkpoint_every=self.checkpoint_every,
        )
        votes = Dense(self.hidden, outputs * len(readout.inputs), bias=False)
        among = trained_weight(hidden)
        assert among is not None
        among.requires_grad_(False)
        with torch.no_grad():
            dense.weight.abs_()
            dense.weight *= self.total / dense.weight.sum(1, keepdim=True)
            among.fill_(-self.inhibition).fill_diagonal_(0.0)
        layers: dict[str, nn.Module] = {"dense1": dense, **self.noisy("noise1", neuron.dt), "hidden1": hidden}
        return Network(**layers, dense2=votes, readout=self.neurons(readout, outputs))
