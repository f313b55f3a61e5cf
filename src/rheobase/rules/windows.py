"""One stage of a network over a window of time, for rules that carry errors from stage to stage themselves.

    x (cut loose) -> connection -> current (cut loose) -> neurons -> signals

Autograd works within each piece; what passes from one to the next is up to the rule. `learn` adds the
derivatives of a stage's parameters to their `.grad`, given the derivatives by what its neurons emitted and by
its recorded signals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from rheobase.kernels.constant import Constant
from rheobase.kernels.sequence import Run
from rheobase.layers.network import NetworkState, Record
from rheobase.rules.base import Lesson
from rheobase.rules.stages import Stage, by_layer

SPIKES = "spikes"


class Ran(Protocol):
    """A stage, and what it did over some time steps.

    Attributes:
        stage: The stage.
        run: What its neurons did.
        states: The final states of all its modules.
    """

    @property
    def stage(self) -> Stage: ...

    @property
    def run(self) -> Run: ...

    @property
    def states(self) -> dict[str, dict[str, Tensor]]: ...


@dataclass
class Window:
    """A stage and what it did over some time steps.

    Attributes:
        stage: The stage.
        x: What came in, a leaf: after `learn` its `.grad` is there if it wants one.
        current: What the connection made of it, with its graph.
        leaf: The same, cut loose: after `learn`, its `.grad` is the error at the neurons' input.
        start: The neurons' state before the window, leaves; empty if it was rest.
        run: What the neurons did, with its graph from `leaf` and `start` on.
        states: The final states of all modules of the stage.
    """

    stage: Stage
    x: Tensor | Constant
    current: Tensor | Constant
    leaf: Tensor | Constant
    start: dict[str, Tensor]
    run: Run
    states: dict[str, dict[str, Tensor]]

    def signal(self, variable: str) -> Tensor:
        """What the neurons emitted ("spikes"), or a recorded state variable, `[T, B, ...]`."""
        return self.run.output if variable == SPIKES else self.run.traces[variable]

    def follow(self, output: Tensor | None, state: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Derivatives by the current `[T, B, M]` and by each variable of the state before.

        Args:
            output: Derivative by what was emitted, `[T, B, N]`.
            state: Derivatives by variables of the final state, `[B, N]`.
        """
        assert isinstance(self.leaf, Tensor)
        pulled = [(self.run.output, output)] if output is not None else []
        pulled += [(self.run.state[name], seed) for name, seed in state.items()]
        ends = [(end, seed) for end, seed in pulled if end.requires_grad]
        leaves = [self.leaf, *self.start.values()]
        found = torch.autograd.grad(
            [end for end, _ in ends], leaves, [seed for _, seed in ends], retain_graph=True, allow_unused=True
        )
        by = [torch.zeros_like(x) if g is None else g for g, x in zip(found, leaves, strict=True)]
        return by[0], dict(zip(self.start, by[1:], strict=True))

    def learn(self, output: Tensor | None, signals: Mapping[str, Tensor]) -> None:
        """Add the derivatives of the stage's parameters to their `.grad`.

        Args:
            output: Derivative by what the neurons emitted, as the stages behind see it.
            signals: Derivatives by the signals, as the objective sees them.
        """
        pulled = [(self.signal(name), pull) for name, pull in signals.items()]
        pulled += [(self.run.output, output)] if output is not None else []
        _backward(pulled)
        error, end = _tensor(self.leaf).grad, _tensor(self.current)
        if error is not None:
            _backward([(end, error)])

    @property
    def error(self) -> Tensor:
        """After `learn`: the derivative by the current, `[T, B, M]` (if constant its sum, `[B, M]`)."""
        leaf = _tensor(self.leaf)
        return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


def forward(
    parts: Sequence[Stage],
    x: Tensor | Constant,
    state: NetworkState | None,
    record: Sequence[str],
    *,
    alone: bool,
    pull: bool,
) -> list[Window]:
    """Run all stages, each cut loose from the one before.

    Args:
        parts: The stages.
        x: The input, `[T, B, ...]`.
        state: The state before; the neurons' is then among the leaves. None for rest.
        record: Names of signals.
        alone: Whether derivatives between the neurons of a layer are cut too.
        pull: Whether `x` of each stage but the first shall get a `.grad` (the connection's transpose).
    """
    wanted: dict[str, list[str]] = {}
    for name in record:
        layer, variable = name.split(".", 1)
        wanted.setdefault(layer, []).append(variable)
    done: list[Window] = []
    for i, stage in enumerate(parts):
        x = _loose(x, wants=pull and i > 0)
        current, states = stage.current(x, state)
        leaf = _loose(current, wants=True)
        start: dict[str, Tensor] | None = None
        if state is not None and stage.name in state:
            start = {name: value.detach() for name, value in state[stage.name].items()}
            start = {n: v.requires_grad_() if v.is_floating_point() else v for n, v in start.items()}
        traced = [v for v in stage.neurons.states if v in wanted.get(stage.name, ())]
        run = (stage.neurons.alone if alone else stage.neurons)(leaf, start, traced)
        states[stage.name] = run.state
        done.append(Window(stage, x, current, leaf, start or {}, run, states))
        x = run.output
    return done


def seen(windows: Sequence[Ran], record: Sequence[str]) -> Record:
    """What the network did, as a `Network` says it, detached."""
    by_name = {w.stage.name: w for w in windows}
    signals = {}
    for name in record:
        layer, variable = name.split(".", 1)
        run = by_name[layer].run
        signals[name] = (run.output if variable == SPIKES else run.traces[variable]).detach()
    states = {
        name: {n: x.detach() for n, x in state.items()} for w in windows for name, state in w.states.items()
    }
    return Record(windows[-1].run.output.detach(), signals, states)


def judge(lesson: Lesson, record: Record) -> tuple[Tensor, dict[str, dict[str, Tensor]]]:
    """The loss, and its derivatives by the signals (as "layer": "variable") and the output ("": "spikes")."""
    leaves = {name: signal.detach().requires_grad_() for name, signal in record.signals.items()}
    output = record.output.detach().requires_grad_()
    loss = lesson.objective(replace(record, output=output, signals=leaves))
    torch.autograd.backward(loss)
    pulls = by_layer({name: x.grad for name, x in leaves.items() if x.grad is not None})
    if output.grad is not None:
        pulls[""] = {SPIKES: output.grad}
    return loss.detach(), pulls


def pulls_of(
    window: Ran, pulls: Mapping[str, Mapping[str, Tensor]], steps: slice = slice(None)
) -> dict[str, Tensor]:
    """The derivatives by the signals of one stage, over some of the steps."""
    own = {name: pull[steps] for name, pull in pulls.get(window.stage.name, {}).items()}
    if window.stage.readout and "" in pulls:
        output = pulls[""][SPIKES][steps]
        own[SPIKES] = own[SPIKES] + output if SPIKES in own else output
    return own


def _backward(pulled: Sequence[tuple[Tensor, Tensor]]) -> None:
    ends = [(end, pull) for end, pull in pulled if end.requires_grad]
    if ends:
        torch.autograd.backward([end for end, _ in ends], [pull for _, pull in ends])


def _tensor(x: Tensor | Constant) -> Tensor:
    return x.value if isinstance(x, Constant) else x


def _loose(x: Tensor | Constant, *, wants: bool) -> Tensor | Constant:
    """The same values without a graph behind them; a leaf that wants its derivative or not."""
    loose = _tensor(x).detach().requires_grad_(wants)
    return Constant(loose, x.steps) if isinstance(x, Constant) else loose
