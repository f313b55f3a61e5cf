"""Many networks of one form on one batch: the members of a population, evaluated together.

    inputs -> (Dense -> Neurons or Recurrent) -> ... -> read-out, reduced over time or whole

`unsuited` says why a network cannot be evaluated in this way; nothing is replaced silently. See
`rheobase.kernels.population` for what it costs and how exact it is. Parameters that members do not have of
their own are the network's, and shared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.utils import parametrize

from rheobase.kernels.constant import Constant
from rheobase.kernels.passes import NAMES
from rheobase.kernels.population import lay_out, run_population
from rheobase.kernels.population_parts import Batch, Cells, Stage, Weights
from rheobase.kernels.recurrent import to_inputs
from rheobase.kernels.reduction import Reduction
from rheobase.layers.connection import constraint_of, trained_weight
from rheobase.layers.delays import FixedDelays
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.layers.neurons import Neurons
from rheobase.layers.population import Population
from rheobase.layers.recurrent import Recurrent

ORIGINAL = "parametrizations.weight.original"


class Factored(NamedTuple):
    """A matrix for each member: what all share, and a product of factors.

    Attributes:
        shared: `[M, K]`.
        left, right: `[P, M, r]` and `[P, r, K]`.
    """

    shared: Tensor
    left: Tensor
    right: Tensor

    def dense(self) -> Tensor:
        """The matrices themselves, `[P, M, K]`."""
        return self.shared + self.left @ self.right


#: Parameters of members by the network's names for them: `[P, *shape]`, or factors.
Values = Mapping[str, Tensor | Factored]


def unsuited(network: Network, inputs: Tensor | Constant) -> str | None:
    """Why the population kernel cannot serve this network and input; None if it can."""
    if inputs.device.type != "cpu" or inputs.dtype not in NAMES:
        return f"it runs on the CPU in float32 or float64, and the input is {inputs.dtype} on {inputs.device}"
    if type(network) is not Network:
        return f"the network is a {type(network).__name__}, which may do more than its layers"
    for name, layer in network.layers.items():
        if layer._forward_hooks or layer._forward_pre_hooks:
            return f"layer '{name}' has forward hooks"
    if len(network.layers) % 2:
        return "its layers are not dense connections and neurons in turn"
    for (name, dense), (behind, neurons) in _pairs(network):
        if not isinstance(dense, Dense):
            return f"layer '{name}' is of type {type(dense).__name__}, not Dense"
        if not isinstance(neurons, (Neurons, Recurrent)):
            return f"layer '{behind}' is of type {type(neurons).__name__}, not Neurons or Recurrent"
        if neurons.backend == "torch":
            return f"layer '{behind}' asks for backend 'torch'"
        for where, module in ((name, dense), (behind, neurons)):
            if not _plain(module):
                return f"the weights of layer '{where}' are made by more than constraints"
        if isinstance(neurons, Recurrent) and _delay(neurons) is None:
            return f"the recurrent connections of layer '{behind}' have different delays, or learnt ones"
    return None


def run_members(
    network: Network,
    values: Values,
    inputs: Batch,
    reductions: Sequence[Reduction] = (),
    signals: Sequence[str] = (),
) -> tuple[list[Tensor], list[Tensor]]:
    """The read-outs of all members on a batch.

    Args:
        network: What the members have in common; it must not be `unsuited`.
        values: What they have of their own.
        inputs: See `batch_for`.
        reductions, signals: What is wanted of the read-out, see `run_population`.

    Raises:
        ValueError: On samples that do not fit the network, or a refractory period longer than T.

    >>> import torch
    >>> from rheobase.neurons.lif import LIF
    >>> net = Network(fc=Dense(1, 1, bias=False), readout=Neurons(LIF(tau_m=1.0)))
    >>> two = {"layers.fc.weight": torch.tensor([[[0.5]], [[2.0]]])}
    >>> batch = batch_for(net, torch.ones(4, 1, 1))
    >>> run_members(net, two, batch, [Reduction("spikes", "sum")])[0][0].flatten().tolist()
    [0.0, 4.0]
    """
    network.check_refractory(inputs.steps)
    first = next(iter(network.layers.values()))
    if isinstance(first, Dense) and first.inputs != inputs.width:
        raise ValueError(
            f"Dense: got samples of {inputs.width} values, wanted {first.inputs}; inputs are time-major, "
            "[T, B, ...]"
        )
    return run_population(stages_of(network, values), inputs, reductions, signals)


def batch_for(network: Network, inputs: Tensor | Constant) -> Batch:
    """A batch `[T, B, ...]` laid out for a network; make it once for any number of members."""
    return lay_out(stages_of(network, {}), inputs)


def stages_of(network: Network, values: Values) -> list[Stage]:
    """The network's connections and neurons with the members' parameters in them."""
    stages: list[Stage] = []
    for (before, dense), (name, neurons) in _pairs(network):
        assert isinstance(dense, Dense)
        bias = None if dense.bias is None else _parameter(values, f"layers.{before}.bias", dense.bias)
        weights, prefix = _weights(dense, values, f"layers.{before}"), f"layers.{name}"
        if isinstance(neurons, Recurrent):
            cells = [
                _cells(neurons.populations[key], values, f"{prefix}.populations.{key}", size)
                for key, size in zip(neurons.populations, neurons.sizes.values(), strict=True)
            ]
            recurrent, delay = _among(neurons, values, prefix), _delay(neurons)
            assert delay is not None
        else:
            assert isinstance(neurons, Neurons)
            size = dense.outputs // len(neurons.neuron.inputs)
            cells, recurrent, delay = [_cells(neurons, values, prefix, size)], None, 1
        stage = Stage(tuple(cells), weights, bias, recurrent, delay)
        sent = stages[-1].size if stages else dense.inputs
        if stage.columns != dense.outputs or sent != dense.inputs:
            raise ValueError(
                f"layer '{before}': got a connection of {dense.inputs} to {dense.outputs} units, wanted "
                f"{sent} to {stage.columns}, as the layers around it"
            )
        stages.append(stage)
    return stages


def _plain(module: nn.Module) -> bool:
    """Whether nothing but constraints stands between a module's weights and what is trained."""
    if not parametrize.is_parametrized(module):
        return True
    chains: Any = module.parametrizations
    return constraint_of(module) is not None and [len(chain) for chain in chains.values()] == [1]


def _pairs(network: Network) -> Iterator[tuple[tuple[str, nn.Module], tuple[str, nn.Module]]]:
    layers = list(network.layers.items())
    return zip(layers[::2], layers[1::2], strict=False)


def _delay(neurons: Recurrent) -> int | None:
    """The delay in steps that all connections have; None if they differ, or are learnt."""
    if neurons.delays is None:
        return 1
    if not isinstance(neurons.delays, FixedDelays):
        return None
    steps = neurons.delays.taps(neurons.weight.detach())[1]
    return int(steps.max()) if bool((steps == steps.max()).all()) else None


def _parameter(values: Values, name: str, own: Tensor) -> Tensor:
    """The members' `[P, size]`, or the network's `[1, size]`; of numbers, a size of 1."""
    value = values.get(name)
    if isinstance(value, Factored):
        value = value.dense()
    shaped = own.detach()[None] if value is None else value
    return shaped.reshape(shaped.shape[0], -1)


def _weights(module: nn.Module, values: Values, prefix: str) -> Weights:
    """A connection's weights, under its constraints."""
    constraint, own = constraint_of(module), trained_weight(module)
    assert own is not None
    value = values.get(f"{prefix}.{'weight' if constraint is None else ORIGINAL}")
    if constraint is None and isinstance(value, Factored):
        return Weights(value.shared[None], value.left, value.right)
    whole = own.detach()[None] if value is None else value
    whole = whole.dense() if isinstance(whole, Factored) else whole
    return Weights(whole if constraint is None else constraint(whole))


def _among(neurons: Recurrent, values: Values, prefix: str) -> Weights:
    """The weights among a layer's neurons, by the input that they go to."""
    weights, groups = _weights(neurons, values, prefix), neurons.groups()
    if all(len(group.neuron.inputs) == 1 for group in groups):
        return weights
    whole = weights.weight
    if weights.left is not None and weights.right is not None:  # which input it is, is decided by the sign
        whole = whole + weights.left @ weights.right
    return Weights(to_inputs(groups, whole, None)[0])


def _cells(population: nn.Module, values: Values, prefix: str, size: int) -> Cells:
    assert isinstance(population, Population)
    own = population.bounded(
        {name: _parameter(values, f"{prefix}.{name}", value) for name, value in population.tensors().items()}
    )
    return Cells(population.neuron, size, own)
