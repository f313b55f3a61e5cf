"""A stage whose weights spikes change: over windows of time, with the weights held or changing as it goes.

    held      the neurons run on the weights as they are; pairs of spikes are summed up
              (`rheobase.rules.pairing`), and the sum is scaled by the weights once, at the end
    online    weights change at every spike and act on what comes next (`rheobase.kernels.plastic`), each
              sample of a batch having a copy of its own

In both cases the change is the sum over the samples of a batch, each of which starts from the same weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from rheobase.kernels.constant import Constant
from rheobase.kernels.plastic import plastic
from rheobase.kernels.sequence import Run
from rheobase.kernels.timing import Timing
from rheobase.layers.dense import Dense
from rheobase.layers.network import NetworkState
from rheobase.layers.neurons import Neurons
from rheobase.layers.recurrent import Recurrent
from rheobase.layers.stateful import NeuronLayer, Stateful
from rheobase.neurons.base import Neuron
from rheobase.rules.pairing import pairs
from rheobase.rules.stages import Stage

States = dict[str, dict[str, Tensor]]


@dataclass
class PlasticStage:
    """A stage that learns, while a batch runs.

    Attributes:
        stage: The stage; its connection is `Dense`.
        timing: How spikes change weights.
        online: Whether weights change as it goes.
        memory: Traces of spikes so far; empty for none.
        weight: The weights: `[N, P]`, or online those of each sample, `[B, N, P]`, once it has run.
        fired: Spikes of each neuron in each sample so far, `[B, N]`.
    """

    stage: Stage
    timing: Timing
    online: bool
    memory: dict[str, Tensor]
    weight: Tensor = field(init=False)
    fired: Tensor | None = None
    _up: Tensor | None = None
    _down: Tensor | None = None

    def __post_init__(self) -> None:
        self.weight = _dense(self.stage).weight.detach()

    def run(self, x: Tensor, state: NetworkState, record: Sequence[str]) -> tuple[Tensor, States, Run]:
        """A window: what came in `[T, B, P]`, the states of all modules, and what the neurons did."""
        x, states = passed(self.stage.before, x, state)
        pre = x.flatten(2)
        own = state.get(self.stage.name)
        if self.online:
            run = self._online(pre, state, own, record, states)
        else:
            current, more = replace(self.stage, before=()).current(pre, state)
            states |= more
            run = self.stage.neurons(current, own, record)
            up, down, self.memory = pairs(self.timing, pre, run.output, self.memory)
            self._up = up if self._up is None else self._up + up
            self._down = down if self._down is None else self._down + down
        fired = run.output.sum(0)
        self.fired = fired if self.fired is None else self.fired + fired
        states[self.stage.name] = run.state
        return pre, states, run

    def _online(
        self,
        pre: Tensor,
        state: NetworkState,
        own: Mapping[str, Tensor] | None,
        record: Sequence[str],
        states: States,
    ) -> Run:
        connection, neurons = _dense(self.stage), self.stage.neurons
        assert isinstance(neurons, (Neurons, Recurrent))
        size = connection.outputs
        bias = torch.zeros(size, dtype=pre.dtype) if connection.bias is None else connection.bias.detach()
        given, more = passed(self.stage.noise, Constant(bias.expand(pre.shape[1], size), len(pre)), state)
        states |= more
        model, lateral = among(neurons)
        start = None if own is None else {n: v for n, v in own.items() if n != "history"}
        result = plastic(
            model,
            pre,
            self.weight,
            self.timing,
            given=given,
            lateral=lateral,
            state=start,
            memory=self.memory or None,
            record=record,
            backend=neurons.backend,
        )
        self.weight, self.memory = result.weight, result.memory
        history = {"history": result.output[-1:]} if lateral is not None else {}
        return Run(result.output, {**result.state, **history}, result.traces)

    def learnt(self) -> Tensor:
        """The weights `[N, P]` that the batch led to, within their bounds."""
        if self.online:
            start = _dense(self.stage).weight.detach()
            return self.timing.bounded(self.weight.sum(0) - (len(self.weight) - 1) * start)
        assert self._up is not None
        assert self._down is not None
        w = self.weight
        return self.timing.bounded(w + self._up * self.timing.raised(w) - self._down * self.timing.lowered(w))


def _dense(stage: Stage) -> Dense:
    assert isinstance(stage.connection, Dense)
    return stage.connection


def passed(
    modules: Sequence[tuple[str, nn.Module]], x: Tensor | Constant, state: NetworkState
) -> tuple[Tensor, States]:
    """What comes out of these modules, one after the other, as a tensor, and their states."""
    states: States = {}
    for name, module in modules:
        if isinstance(module, Stateful):
            run = module(x, state.get(name))
            x, states[name] = run.output, run.state
        else:
            x = module(x)
    return (x.expand() if isinstance(x, Constant) else x), states


def among(neurons: NeuronLayer) -> tuple[Neuron, Tensor | None]:
    """The one model of a layer, and the weights among its neurons, if there are any."""
    if isinstance(neurons, Neurons):
        return neurons.bound(), None
    assert isinstance(neurons, Recurrent)
    (group,) = neurons.groups()
    return group.neuron, neurons.weight.detach()


def why_not_online(stage: Stage) -> str:
    """What keeps weights of this stage from changing within a sample; empty if nothing does."""
    neurons, connection = stage.neurons, stage.connection
    if connection._forward_hooks or connection._forward_pre_hooks:
        return "a connection with forward hooks (converters, say)"
    if isinstance(neurons, Recurrent):
        if neurons.read_apart:
            return "recurrent connections that are read in a way of their own (converters, say)"
        if len(neurons.groups()) > 1:
            return "neurons of several models"
        if neurons.delays is not None:
            return "recurrent connections with delays"
    elif not isinstance(neurons, Neurons):
        return f"neurons in a {type(neurons).__name__}"
    if any(len(model.inputs) > 1 for model, _ in neurons.models()):
        return "neurons with several inputs"
    return ""
