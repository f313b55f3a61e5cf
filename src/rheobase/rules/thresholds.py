"""A network with its thresholds moved: what is learnt with them below and above the real ones has a margin.

A neuron that must not fire, and does not with its threshold d lower, stays d away from the real one; one that
must, and does with it d higher, has d to spare. Whatever brings a membrane d up or down is allowed for.
"""

from __future__ import annotations

from typing import TypeGuard

from torch import nn

from rheobase.layers.network import Network
from rheobase.layers.neurons import Neurons
from rheobase.neurons.base import Neuron
from rheobase.neurons.spiking import SpikingNeuron


def moved_thresholds(network: Network, hidden: float, readout: float) -> Network:
    """`network` with the thresholds of hidden layers and of the read-out moved by that much.

    Connections are the same modules: what is added to the `.grad` of their weights is added to the network's.
    Layers that do not spike are the same, too.

    Raises:
        ValueError: If a layer of spiking neurons is recurrent or mixed, or has trained parameters or a
            threshold for each neuron.

    >>> from rheobase.layers.dense import Dense
    >>> from rheobase.neurons.lif import LIF
    >>> network = Network(dense=Dense(3, 2), neurons=Neurons(LIF(threshold=1.0)))
    >>> other = moved_thresholds(network, hidden=0.0, readout=-0.2)
    >>> other.layers["neurons"].neuron.threshold, other.layers["dense"] is network.layers["dense"]
    (0.8, True)
    """
    modules: dict[str, nn.Module] = dict(network.layers.items())
    for name, layer in network.neurons().items():
        if not layer.spiking:
            continue
        if not isinstance(layer, Neurons) or layer.trainable or not _movable(layer.neuron):
            raise ValueError(
                f"thresholds: got the layer '{name}' ({type(layer).__name__}), wanted neurons of one model, "
                "without connections among themselves, whose parameters are numbers"
            )
        threshold = layer.neuron.threshold + (readout if name == network.last else hidden)
        modules[name] = Neurons(
            layer.neuron.replace(threshold=threshold),
            backend=layer.backend,
            checkpoint_every=layer.checkpoint_every,
        )
    return Network(**modules)


def _movable(neuron: Neuron) -> TypeGuard[SpikingNeuron]:
    return isinstance(neuron, SpikingNeuron) and isinstance(neuron.threshold, (int, float))
