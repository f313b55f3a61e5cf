"""Eligibility traces of any neuron model over windows of time, by the fused kernels of its adjoint.

A layer's neurons, given what they receive, do not influence each other: with the state s_j of neuron j, its
weights w_ji and what arrives through them, x_i, all that a weight does is

    eps_ji(t) = J_j(t) eps_ji(t-1) + c_j(t) x_i(t),    J = ds(t)/ds(t-1),  c = ds(t)/d(current)

(Bellec et al. 2020). This file takes such steps K at a time. Over a window t0 ... t1, with
Phi(t1, t) = J(t1) ... J(t+1), and L_j(t) what the loss loses by a spike of neuron j at t:

    eps(t1)                   = sum_t Phi(t1, t) c(t) x(t)  +  Phi(t1, t0) eps(t0)
    sum_t L(t) dz(t)/dw       = sum_t lambda_I(t) x(t)      +  lambda_s(t0) eps(t0)

All factors are results of the window's adjoint, generated from the neuron's equations: lambda_I and lambda_s
are its derivatives by current and first state, seeded with L; Phi(t1, t) c(t) and Phi(t1, t0) the same,
seeded with a unit derivative by one variable of the last state. The sums over t are matrix products. K = 1 is
the textbook's form, K = T needs no eps at all, and all K come to the same. Memory is that of K steps, and of
eps: one number per sample, connection and state variable.

What the read-out filters is traced as well: if its state u moves linearly and alike for all outputs,
u(t) = A u(t-1) + b sum_j w_kj z_j(t), then du_k/dw_ji = w_kj ebar_ji with

    ebar(t) = A ebar(t-1) + b dz_j(t)/dw_ji

which is one more sum of the second form, with L(t) = A^(t1 - t) b.

Not modelled: traces of a neuron's own parameters, and of what is not dense (convolutions).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from rheobase.kernels.adjoint import adjoint
from rheobase.kernels.constant import Constant
from rheobase.kernels.groups import HISTORY
from rheobase.kernels.recurrent import to_inputs
from rheobase.kernels.sequence import sequence
from rheobase.kernels.trace import trace
from rheobase.layers.delayed import Delayed
from rheobase.layers.network import NetworkState
from rheobase.layers.neurons import Neurons
from rheobase.layers.recurrent import Recurrent
from rheobase.layers.stateful import NeuronLayer
from rheobase.neurons.base import Neuron
from rheobase.rules.stages import Stage
from rheobase.rules.windows import Window

#: "<synapses>.<variable>": [taps, B, columns, from]
Traces: TypeAlias = Mapping[str, Tensor]
FILTER = "filter."
#: Brings an error at the read-out, `[..., C]`, to the neurons of a hidden stage, `[..., N]`.
Back: TypeAlias = Callable[[Tensor, Stage], Tensor]


class Members(NamedTuple):
    """Neurons of one model in a layer.

    Attributes:
        name: Theirs, "" where there is one model only.
        neuron: The model.
        states: Their variables' names in the layer, of those through which a derivative passes.
        columns: Their inputs among those of the layer.
        neurons: Their places among the neurons of the layer.
    """

    name: str
    neuron: Neuron
    states: tuple[str, ...]
    columns: slice
    neurons: slice

    def to_inputs(self, x: Tensor) -> Tensor:
        """A value per neuron `[B, n]` as one per input, `[B, P * n]`."""
        return x.repeat(1, len(self.neuron.inputs))


def members(layer: NeuronLayer, columns: int) -> tuple[Members, ...]:
    """The neurons of a layer by model."""
    if isinstance(layer, Recurrent):
        found, low, first = [], 0, 0
        for g in layer.groups():
            names = tuple(g.label(v) for v in passing(g.neuron))
            places = slice(low, low + g.size)
            found.append(Members(g.name, g.neuron, names, slice(first, first + g.columns), places))
            low, first = low + g.size, first + g.columns
        return tuple(found)
    assert isinstance(layer, Neurons)
    neuron = layer.bound()
    size = columns // len(neuron.inputs)
    return (Members("", neuron, passing(neuron), slice(0, columns), slice(0, size)),)


def passing(neuron: Neuron) -> tuple[str, ...]:
    """The state variables through which derivatives pass: not counters and the like.

    >>> from rheobase.neurons.lif import LIF
    >>> LIF(refractory=2.0).initial().keys(), passing(LIF(refractory=2.0))
    (dict_keys(['v', 'refractory']), ('v',))
    """
    tensors = [n for n in neuron.parameter_names() if isinstance(getattr(neuron, n), Tensor)]
    return _passing(neuron.bind(dict.fromkeys(tensors, 2.0)))


@functools.lru_cache(maxsize=128)
def _passing(neuron: Neuron) -> tuple[str, ...]:
    t = trace(neuron)
    stopped = {n for n in t.new_states.values() if t.tape.nodes[n].op == "stop_gradient"}
    return tuple(name for name, n in t.new_states.items() if n not in stopped)


def linear(neuron: Neuron) -> bool:
    """Whether a neuron's state moves linearly: all derivatives of its step are constant.

    >>> from rheobase.neurons.leaky_integrator import LeakyIntegrator
    >>> from rheobase.neurons.lif import LIF
    >>> linear(LeakyIntegrator()), linear(LIF(reset="none"))
    (True, False)
    """
    t = trace(neuron)
    reached = t.live(adjoint(t, emitted=True).roots())
    return not any(t.tape.nodes[n].op in ("state", "input") for n in reached)


def at_rest(layer: NeuronLayer, groups: Sequence[Members], x: Tensor) -> dict[str, Tensor]:
    """The state of a layer before anything happened, for an input `x` `[K, B, ...]` of whatever length K."""
    state: dict[str, Tensor] = {}
    for m in groups:
        shape = (x.shape[1], m.neurons.stop - m.neurons.start)
        for variable, value in m.neuron.initial().items():
            rest = torch.as_tensor(value, dtype=x.dtype, device=x.device).detach()
            state[f"{m.name}.{variable}" if m.name else variable] = rest.expand(shape).clone()
    if isinstance(layer, Recurrent):
        steps = None if layer.delays is None else layer.delays.taps(layer.weight)[1]
        depth = 1 if steps is None else int(steps.max())
        state[HISTORY] = x.new_zeros(depth, x.shape[1], layer.size)
    return state


@dataclass(frozen=True)
class Synapses:
    """Weights that lead to a layer's neurons, and what arrived at them in a window.

    Attributes:
        name: "input", "bias" or "recurrent".
        weight: `[taps, M, I]`, with its graph to the parameters behind it.
        delay: In steps, in the weights' shape; None for none.
        seen: What was there, `[D + K, B, I]`; the last K steps are the window.
    """

    name: str
    weight: Tensor
    delay: Tensor | None
    seen: Tensor

    def traced(self, by_current: Tensor, columns: slice) -> Tensor:
        """sum_t g(t) x(t - delay) of some of the layer's inputs, g `[K, B, m]`: `[taps, B, m, I]`."""
        steps, depth = len(by_current), len(self.seen) - len(by_current)
        by = by_current.permute(1, 2, 0)  # shape: [B, m, K]
        if self.delay is None:
            return (by @ self.seen[depth:].transpose(0, 1)).expand(len(self.weight), -1, -1, -1)
        delay = self.delay[:, columns]
        total: Tensor | None = None
        for d in torch.bincount(delay.flatten()).nonzero().flatten().tolist():
            part = by @ self.seen[depth - d : depth - d + steps].transpose(0, 1)
            part = torch.where((delay == d)[:, None], part, 0.0)
            total = part if total is None else total + part
        assert total is not None
        return total

    def pull(self, by_weight: Tensor) -> None:
        """Add what a derivative by the weights `[taps, M, I]` means to the parameters' `.grad`."""
        torch.autograd.backward(self.weight, by_weight)


def synapses(stage: Stage, x: Tensor, emitted: Tensor, before: NetworkState) -> list[Synapses]:
    """All trained weights that lead to the neurons of a stage, over a window.

    Args:
        stage: The stage.
        x: What came in, `[K, B, ...]`.
        emitted: What its neurons emitted, `[K, B, N]`.
        before: The network's state before the window.
    """
    connection, found = stage.connection, []
    x = x.detach().flatten(2)
    weight, bias = connection.weight, connection.bias
    assert isinstance(weight, Tensor)
    if isinstance(connection, Delayed):
        taps, delay = connection.delays.taps(weight)
        seen = torch.cat([before[stage.source][HISTORY], x])
        found.append(Synapses("input", _tapped(taps), _tapped(delay), seen))
    else:
        found.append(Synapses("input", weight[None], None, x))
    if isinstance(bias, Tensor):
        found.append(Synapses("bias", bias[None, :, None], None, x.new_ones(*x.shape[:2], 1)))
    layer = stage.neurons
    if isinstance(layer, Recurrent):
        between, steps = (layer.weight, None) if layer.delays is None else layer.delays.taps(layer.weight)
        if steps is None:
            steps = torch.ones_like(between, dtype=torch.int64)
        to, by = to_inputs(layer.groups(), between, steps)
        assert by is not None
        seen = torch.cat([before[stage.name][HISTORY].detach(), emitted.detach()])
        found.append(Synapses("recurrent", _tapped(to), _tapped(by), seen))
    return [s for s in found if s.weight.requires_grad]


def _tapped(x: Tensor) -> Tensor:
    return x if x.dim() == 3 else x[None]


class Filter(NamedTuple):
    """What the read-out makes of what comes in, within a window of K steps.

    Attributes:
        response: For each variable, its last value's derivative by the input at each step, `[K]`.
        carry: For each variable, its last value's derivative by each one's first value.
    """

    response: dict[str, Tensor]
    carry: dict[str, dict[str, Tensor]]


def filter_of(neuron: Neuron, like: Tensor) -> Filter:
    """The filter of a read-out (see `linear`) over as many steps as `like` `[K, ...]` has."""
    current = like.new_zeros(len(like), 1, 1).requires_grad_()
    start = {
        name: torch.as_tensor(value, dtype=like.dtype).detach().reshape(1, 1).clone().requires_grad_()
        for name, value in neuron.initial().items()
    }
    last = sequence(neuron, current, start).state
    response, carry = {}, {}
    for name in passing(neuron):
        by = torch.autograd.grad(last[name], [current, *start.values()], retain_graph=True, allow_unused=True)
        by_current, *by_start = (like.new_zeros(()) if g is None else g for g in by)
        response[name] = by_current.expand(current.shape).reshape(-1)
        carry[name] = dict(zip(start, by_start, strict=True))
    return Filter(response, carry)


def advance(
    window: Window,
    groups: Sequence[Members],
    kinds: list[Synapses],
    traces: Traces,
    filtered: Filter | None,
) -> dict[str, Tensor]:
    """The traces at the end of a window.

    Args:
        window: A stage over the window, before `learn`.
        groups: Its neurons by model.
        kinds: Its synapses.
        traces: The traces at its start; those that are missing are zero.
        filtered: What the read-out makes of what the neurons emit, if it does not come to an end here.
    """
    after: dict[str, Tensor] = {}
    ends = window.run.state
    for m in groups:
        for variable in m.states:
            by_current, by_start = window.follow(None, {variable: torch.ones_like(ends[variable])})
            _extend(after, variable, m, kinds, traces, by_current, by_start)
    if filtered is None:
        return after
    for variable, response in filtered.response.items():
        seeds = response.reshape(-1, 1, 1).expand_as(window.run.output)
        by_current, by_start = window.follow(seeds, {})
        for m in groups:
            label = f"{FILTER}{variable}.{m.name}"
            _extend(after, label, m, kinds, traces, by_current, by_start)
            for s in kinds:
                for other, factor in filtered.carry[variable].items():
                    before = traces.get(f"{s.name}.{FILTER}{other}.{m.name}")
                    if before is not None:
                        after[f"{s.name}.{label}"] = after[f"{s.name}.{label}"] + factor * before
    return after


def _extend(
    after: dict[str, Tensor],
    label: str,
    m: Members,
    kinds: list[Synapses],
    traces: Traces,
    by_current: Tensor,
    by_start: dict[str, Tensor],
) -> None:
    """One more trace: that of this window, and what became of those before."""
    for s in kinds:
        total = s.traced(by_current[:, :, m.columns], m.columns)
        for variable in m.states:
            before = traces.get(f"{s.name}.{variable}")
            if before is not None:
                total = total + m.to_inputs(by_start[variable])[None, :, :, None] * before
        after[f"{s.name}.{label}"] = total


def redeem(
    window: Window,
    groups: Sequence[Members],
    kinds: list[Synapses],
    traces: Traces,
    by_filtered: Mapping[str, Tensor],
) -> None:
    """Add what a window's errors mean for what weights did before it to the parameters' `.grad`.

    Args:
        window: A stage over the window, after `learn`.
        groups: Its neurons by model.
        kinds: Its synapses.
        traces: The traces at its start.
        by_filtered: Derivatives by each variable of the read-out's first state, as this stage's neurons get
            them back, `[B, N]`.
    """
    if not traces:
        return
    for s in kinds:
        total = torch.zeros_like(s.weight)
        for m in groups:
            pairs = [(v, window.start[v].grad) for v in m.states]
            pairs += [(f"{FILTER}{v}.{m.name}", by[:, m.neurons]) for v, by in by_filtered.items()]
            for label, by in pairs:
                before = traces.get(f"{s.name}.{label}")
                if by is not None and before is not None:
                    total[:, m.columns] += torch.einsum("bm,kbmi->kmi", m.to_inputs(by), before)
        s.pull(total)


def constant_free(x: Tensor | Constant) -> Tensor:
    """The input as a tensor over time."""
    return x.expand() if isinstance(x, Constant) else x
