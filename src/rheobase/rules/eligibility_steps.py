"""E-prop's eligibility traces one step at a time, by kernels that are made from the neuron's equations.

The same sums as those of `rheobase.rules.eligibility` over windows of one step, without an adjoint and
without autograd: all stages are run forward with the derivatives of each step, then
`rheobase.kernels.eligibility` takes the traces along. What a neuron of the read-out did with its weights is
the same sum, with its membrane in place of spikes. Memory is that of the steps that are given, and of the
traces: one number per sample, connection and state variable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rheobase.kernels.derivatives import Derivatives, Linearised, linearise
from rheobase.kernels.eligibility import Arrived, LinearFilter, follow
from rheobase.kernels.groups import Group
from rheobase.kernels.jacobian import EMITTED, FILTERED, INPUT
from rheobase.kernels.sequence import Run, uses_kernel
from rheobase.layers.network import NetworkState
from rheobase.layers.neurons import Neurons
from rheobase.layers.recurrent import Recurrent
from rheobase.layers.stateful import NeuronLayer
from rheobase.rules.eligibility import Back, Members, Synapses, Traces, synapses
from rheobase.rules.stages import Stage, signal_of
from rheobase.rules.windows import SPIKES

WHOLE = "whole."  # what traces of all synapses of a group of neurons together are called


@dataclass(frozen=True, eq=False)
class Passage:
    """A stage and what it did over some time steps.

    Attributes:
        stage: The stage.
        run: What its neurons did.
        states: The final states of all its modules.
        derivatives: Of its neurons at each step, model by model.
        kinds: Its synapses, and what arrived at them.
    """

    stage: Stage
    run: Run
    states: dict[str, dict[str, Tensor]]
    derivatives: tuple[Derivatives, ...]
    kinds: list[Synapses]


def serves(parts: Sequence[Stage], x: Tensor) -> bool:
    """Whether the kernels can run these stages on such an input."""
    layers = [part.neurons for part in parts]
    return all(isinstance(layer, (Neurons, Recurrent)) and uses_kernel(layer.backend, x) for layer in layers)


def are_stepwise(traces: Mapping[str, Traces]) -> bool:
    """Whether these are traces of `Steps`, and not of another way."""
    return any(name.startswith(WHOLE) for own in traces.values() for name in own)


@dataclass(frozen=True, eq=False)
class Steps:
    """E-prop step by step.

    Attributes:
        parts: The stages of the network.
        groups: The neurons of each by model.
        back: Brings errors at the read-out to hidden neurons.
    """

    parts: Sequence[Stage]
    groups: Mapping[str, Sequence[Members]]
    back: Back

    def run(self, x: Tensor, state: NetworkState, record: Sequence[str]) -> list[Passage]:
        """All stages over some steps, from a state that has all of them."""
        done = []
        for stage in self.parts:
            with torch.no_grad():
                current, states = stage.current(x, state)
            assert isinstance(current, Tensor)
            names = [variable for layer, variable in map(signal_of, record) if layer == stage.name]
            traced = [v for v in stage.neurons.states if v in names]
            run, derivatives = _linearised(stage.neurons, current, state[stage.name], traced)
            states[stage.name] = run.state
            kinds = synapses(stage, x, run.output, state)
            done.append(Passage(stage, run, states, derivatives, kinds))
            x = run.output
        return done

    def learn(
        self,
        passages: Sequence[Passage],
        pulls: Sequence[Mapping[str, Tensor]],
        state: NetworkState,
        traces: Mapping[str, Traces],
        goes_on: bool,
    ) -> dict[str, dict[str, Tensor]]:
        """Add what some steps mean to the parameters' `.grad`; the traces after them.

        Args:
            passages: All stages over these steps.
            pulls: For each, the loss's derivatives by its signals.
            state: The network's state before.
            traces: The traces before; nothing happened yet if there are none.
            goes_on: Whether what comes after will want the traces.
        """
        readout = passages[-1]
        (derivatives,) = readout.derivatives
        filtered, emits = _filter(derivatives)
        errors: dict[str, Tensor] = {}
        for name, pull in pulls[-1].items():
            into = emits if name == SPIKES else name
            errors[into] = errors[into] + pull if into in errors else pull
        after: dict[str, dict[str, Tensor]] = {}
        for passage, own in zip(passages, pulls, strict=True):
            name, hidden = passage.stage.name, passage is not readout
            signals = {EMITTED if v == SPIKES else v: pull for v, pull in own.items()}
            if hidden:
                signals |= {f"{FILTERED}{v}": self.back(by, passage.stage) for v, by in errors.items()}
            behind = filtered if hidden else LinearFilter()
            after[name] = _follow(passage, self.groups[name], behind, signals, traces.get(name, {}))
        return after


def _linearised(
    layer: NeuronLayer, current: Tensor, before: Mapping[str, Tensor], record: Sequence[str]
) -> Linearised:
    """A layer of neurons over some steps."""
    if isinstance(layer, Neurons):
        neuron = layer.bound()
        group = Group("", neuron, current.shape[2] // len(neuron.inputs))
        return linearise([group], current, before, record=record)
    assert isinstance(layer, Recurrent)
    weight, delay = (layer.weight, None) if layer.delays is None else layer.delays.taps(layer.weight)
    return linearise(layer.groups(), current, before, weight=weight, delay=delay, record=record)


def _follow(
    passage: Passage,
    groups: Sequence[Members],
    filtered: LinearFilter,
    signals: Mapping[str, Tensor],
    traces: Traces,
) -> dict[str, Tensor]:
    """One stage: the traces of each of its models."""
    kinds, after = passage.kinds, {}
    if not kinds:
        return {}
    steps, totals = len(passage.run.output), [torch.empty_like(s.weight) for s in kinds]
    for m, derivatives in zip(groups, passage.derivatives, strict=True):
        name, size = f"{WHOLE}{m.name}", m.neurons.stop - m.neurons.start
        total, after[name] = follow(
            derivatives,
            (steps, size),
            _arrived(kinds, m.columns, steps),
            filtered,
            _signals_of(m, signals),
            traces.get(name),
        )
        widths = [len(s.weight) * s.weight.shape[2] for s in kinds]
        for part, into in zip(torch.split(total, widths, 1), totals, strict=True):
            into[:, m.columns] = part.reshape(len(part), len(into), -1).transpose(0, 1)
    for s, total in zip(kinds, totals, strict=True):
        s.pull(total)
    return after


def _signals_of(m: Members, signals: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of a layer's signals that are about neurons of one model, by that model's names."""
    of_all = {n: x[..., m.neurons] for n, x in signals.items() if n == EMITTED or n.startswith(FILTERED)}
    labels = {f"{m.name}.{v}" if m.name else v: v for v in m.neuron.initial()}
    return of_all | {labels[n]: x for n, x in signals.items() if n in labels}


def _arrived(kinds: Sequence[Synapses], columns: slice, steps: int) -> Arrived:
    """What arrived at all synapses of some of a layer's inputs, side by side, tap by tap."""
    delays = [None if s.delay is None else s.delay[:, columns] for s in kinds]
    if all(d is None or bool((d == d.flatten()[0]).all()) for d in delays):
        found = []
        for s, d in zip(kinds, delays, strict=True):
            start = len(s.seen) - steps - (0 if d is None else int(d.flatten()[0]))
            found += [s.seen[start : start + steps]] * len(s.weight)
        return Arrived(found[0] if len(found) == 1 else torch.cat(found, 2))
    depth = max(len(s.seen) for s in kinds)
    found, steps_back = [], []
    for s, d in zip(kinds, delays, strict=True):
        missing = s.seen.new_zeros(depth - len(s.seen), *s.seen.shape[1:])
        found += [torch.cat([missing, s.seen])] * len(s.weight)
        none = torch.zeros_like(s.weight[:, columns], dtype=torch.int64)
        steps_back += list(none if d is None else d)
    return Arrived(torch.cat(found, 2), torch.cat(steps_back, 1))


def _filter(readout: Derivatives) -> tuple[LinearFilter, str]:
    """What the read-out makes of what comes in, and the variable that it emits."""
    (port,) = readout.inputs
    rows: dict[str, dict[str, float]] = {name: {} for name in (*readout.states, EMITTED)}
    for (result, cause), value in readout.by.items():
        assert isinstance(value, float)  # it is linear, and alike for all its neurons
        rows[result][cause] = value
    emits = next((name for name in readout.states if rows[name] == rows[EMITTED]), EMITTED)
    if emits != EMITTED:
        del rows[EMITTED]
    gain = {name: row.pop(f"{INPUT}{port}") for name, row in rows.items() if f"{INPUT}{port}" in row}
    by = {(name, cause): value for name, row in rows.items() for cause, value in row.items()}
    return LinearFilter(tuple(rows), by, gain), emits
