"""Activity-aware initialisation: weights scaled so that each layer fires at a chosen rate at the start.

Layer by layer from the input, the connection in front of each spiking layer is scaled until the layer's
mean firing rate on a batch is the wanted one. A network whose layers are silent or saturated at the start
gets no useful gradient; how it must be scaled depends on the data, the code and the neuron, which this
measures instead of assuming (data-dependent initialisation: Mishkin & Matas, "All you need is a good
init", ICLR 2016; for the rates to aim at: Rossbroich, Gygax & Zenke, "Fluctuation-driven initialization
for spiking neural network training", Neuromorphic Computing and Engineering 2, 2022).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rheobase.kernels.constant import Constant
from rheobase.kernels.sequence import Run
from rheobase.layers.connection import plain_name
from rheobase.layers.network import Network
from rheobase.layers.stateful import NeuronLayer

LOW, HIGH, HALVINGS = 1e-3, 1e3, 24  # bounds of the factor, and steps of the bisection (in its logarithm)


@torch.no_grad()
def match_rates(
    network: Network, inputs: Tensor | Constant, rate: float, *, last: bool = False
) -> dict[str, float]:
    """Scale the weights in front of each spiking layer until it fires at `rate` on `inputs`.

    The weights (not the biases) of the last connection in front of a layer are multiplied by one factor, and
    those of recurrent connections within it by the same one, so that their proportion stays.
    The rate is that of all neurons together; it rises with the factor where weights of either sign are drawn
    alike, which is what the bisection relies on.

    Args:
        network: The network; its weights are changed in place.
        inputs: A batch `[T, B, ...]`, or a `Constant` input.
        rate: Wanted mean number of spikes per neuron and time step, between 0 and 1.
        last: Whether to scale the read-out's connection too, if it spikes.

    Returns:
        The rate reached per spiking layer (close to the wanted one, unless no factor brings it about).

    Raises:
        ValueError: If `rate` is not between 0 and 1, or the network has batch norm.

    >>> from rheobase.layers.dense import Dense
    >>> from rheobase.layers.neurons import Neurons
    >>> from rheobase.neurons.lif import LIF
    >>> net = Network(dense=Dense(50, 200), hidden=Neurons(LIF()))
    >>> reached = match_rates(net, torch.rand(40, 8, 50), rate=0.05, last=True)
    >>> round(reached["hidden"], 2)
    0.05
    """
    if not 0.0 < rate < 1.0:
        raise ValueError(f"rate: got {rate}, wanted a mean number of spikes per step between 0 and 1")
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules()):
        raise ValueError(
            "got a network with batch norm, which undoes in training whatever its connections are scaled by; "
            "do without the one or the other (e.g. --network.norm false)"
        )
    mode = network.training
    network.eval()  # batch statistics and dropout must not move while factors are tried
    reached: dict[str, float] = {}
    before: list[nn.Module] = []
    for name, layer in network.layers.items():
        if not isinstance(layer, NeuronLayer):
            before.append(layer)
            continue
        weights = [w for module in before for w in _connections(module)]
        if layer.spiking and weights and (last or name != network.last):
            _bisect(before, layer, [weights[-1], *_connections(layer)], inputs, rate)
        inputs = _emitted(before, layer, inputs)
        if layer.spiking:
            reached[name] = float(inputs.mean())
        before = []
    network.train(mode)
    return reached


def _connections(module: nn.Module) -> list[Tensor]:
    """Weights of connections: those with two or more axes."""
    return [p for name, p in module.named_parameters() if p.dim() >= 2 and "weight" in plain_name(name)]


def _emitted(before: list[nn.Module], layer: NeuronLayer, inputs: Tensor | Constant) -> Tensor:
    for module in before:
        result = module(inputs)
        inputs = result.output if isinstance(result, Run) else result
    output: Tensor = layer(inputs).output
    return output


def _bisect(
    before: list[nn.Module],
    layer: NeuronLayer,
    weights: list[Tensor],
    inputs: Tensor | Constant,
    rate: float,
) -> None:
    """Scale `weights`, in front of and within `layer`, so that it fires at `rate`."""
    originals = [weight.clone() for weight in weights]

    def scale(logarithm: float) -> None:
        for weight, original in zip(weights, originals, strict=True):
            weight.copy_(original * math.exp(logarithm))

    low, high = math.log(LOW), math.log(HIGH)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        scale(middle)
        if float(_emitted(before, layer, inputs).mean()) < rate:
            low = middle
        else:
            high = middle
    scale((low + high) / 2)
