"""A feed-forward network as layers of neurons with the weights in front of each, for rules of synapses.

Of a stage (`rheobase.rules.stages`), what a rule needs that works with what arrives at a synapse: the weight
matrix, the bias, one delay, and the neuron model with its parameters as numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from rheobase.kernels.constant import Constant
from rheobase.layers.delayed import Delayed
from rheobase.layers.delays import FixedDelays
from rheobase.layers.network import Network
from rheobase.layers.neurons import Neurons
from rheobase.neurons.spiking import SpikingNeuron
from rheobase.rules.stages import Stage, stages


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer of neurons and the connection to it.

    Attributes:
        stage: The stage.
        neuron: The model.
        delay: Steps from a presynaptic spike to its arrival.
    """

    stage: Stage
    neuron: SpikingNeuron
    delay: int

    @property
    def name(self) -> str:
        """The name of the layer of neurons."""
        return self.stage.name

    @property
    def spiking(self) -> bool:
        """Whether its neurons spike."""
        return self.stage.neurons.spiking

    @cached_property
    def weight(self) -> Tensor:
        """The weights `[I, J]`, with a graph to what is trained behind them."""
        weight: Tensor = self.stage.connection.weight  # type: ignore[assignment]
        return weight

    @property
    def bias(self) -> nn.Parameter | None:
        """The biases `[I]`, if there are any."""
        bias: nn.Parameter | None = self.stage.connection.bias  # type: ignore[assignment]
        return bias

    @property
    def outputs(self) -> int:
        """The number of neurons I."""
        return int(self.stage.connection.outputs)  # type: ignore[arg-type]

    @property
    def inputs(self) -> int:
        """The number of presynaptic units J."""
        return int(self.stage.connection.inputs)  # type: ignore[arg-type]

    def sent(self, x: Tensor | Constant) -> Tensor | Constant:
        """What the presynaptic units send, `[T, B, J]`, from what the layer before (or the task) emits."""
        with torch.no_grad():
            for _, module in self.stage.before:
                x = module(x)
        return x.map(lambda value: value.flatten(1)) if isinstance(x, Constant) else x.flatten(2)

    def with_bias(self, x: Tensor) -> Tensor:
        """`x` `[T, B, J]` with a unit that is always 1 behind, where there are biases."""
        return x if self.bias is None else torch.cat([x, x.new_ones(*x.shape[:2], 1)], 2)


def layers(network: Network) -> tuple[Layer, ...]:
    """The layers of a feed-forward network, the read-out last.

    Raises:
        ValueError: If it has another form: recurrent or conductance-based layers, trained neurons, delays
            that are learnt or differ within a connection.
    """
    found = []
    for stage in stages(network, "superspike"):
        layer, connection = stage.neurons, stage.connection
        if not isinstance(layer, Neurons):
            raise ValueError(
                f"superspike: got the layer '{stage.name}' ({type(layer).__name__}), wanted neurons without "
                "connections among themselves; eprop and bptt train recurrent networks"
            )
        trained = [name for name, _ in layer.named_parameters()]
        if trained or any(
            isinstance(getattr(layer.neuron, n), Tensor) for n in layer.neuron.parameter_names()
        ):
            what = ", ".join(trained) or "parameters of their own"
            raise ValueError(
                f"superspike: got neurons in '{stage.name}' with {what} for each, wanted numbers that "
                "all share: it trains connections; eprop and bptt train neurons as well"
            )
        found.append(Layer(stage, layer.neuron, _delay(stage, connection)))  # type: ignore[arg-type]
    return tuple(found)


def put(layer: Layer, gradient: Tensor) -> None:
    """Add a direction `[I, J]`, or `[I, J + 1]` with that of the biases, to `.grad` of what is trained."""
    _add(layer.weight, gradient[:, : layer.inputs])
    if layer.bias is not None:
        _add(layer.bias, gradient[:, layer.inputs])


def _add(weight: Tensor, gradient: Tensor) -> None:
    if not weight.requires_grad:
        return
    if weight.is_leaf and weight.grad is None:  # what autograd would do, without its engine
        weight.grad = gradient.clone()
    else:
        torch.autograd.backward(weight, gradient)


def _delay(stage: Stage, connection: nn.Module) -> int:
    if not isinstance(connection, Delayed):
        return 0
    delays = connection.delays
    if not isinstance(delays, FixedDelays) or int(delays.steps.min()) != delays.longest:
        raise ValueError(
            f"superspike: got delays in '{stage.source}' that are learnt or differ between synapses, "
            "wanted one for all: errors are lined up with the spikes that caused them; set "
            "network.shortest_forward_delay and network.forward_delay to the same time"
        )
    return delays.longest
