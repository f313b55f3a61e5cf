"""What rules of spike timing share: which layers learn, bounds, homeostasis, a read-out that names clusters.

A rule says what spikes do to weights (`timing`); the rest is here. For each layer that learns, and each
batch:

    w <- w + changes by spikes                            within w_min ... w_max (`rheobase.kernels.timing`)
    w <- w S / sum_j w[i, j]                              if `normalise`; S: the sum at the start
    threshold[i] += homeostasis (n[i] - rate T dt)        n: spikes of neuron i; or n[i] - mean(n)

Changes are summed over the samples of a batch, as if they came one after the other.

`.grad` holds minus the whole change, so that SGD with a learning rate of 1 makes it; a smaller rate makes a
part of it, and stays within the bounds too. Optimizers that rescale (Adam) or remember (momentum) do not.

The input of a layer is taken for spikes; other values count as so many spikes. None of this follows the
gradient of the loss: the loss is told, and not read. Not trained: biases, recurrent weights, parameters of
neurons other than their thresholds, delayed connections and convolutions.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from rheobase.config import option
from rheobase.kernels.constant import Constant
from rheobase.kernels.timing import Timing
from rheobase.layers.connection import trained_weight
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network, Record
from rheobase.layers.recurrent import Recurrent
from rheobase.layers.stateful import NeuronLayer
from rheobase.registry import name_of, unknown
from rheobase.rules.base import Kind, LearningRule, Lesson, Memory, Outcome
from rheobase.rules.plastic_stage import PlasticStage, States, passed, why_not_online
from rheobase.rules.stages import Stage, signal_of, stages
from rheobase.rules.votes import Naming, count, votes

SUM, COUNTS, SAMPLES, STATE, TRACE = "sum/", "votes/counts", "votes/samples", "state/", "trace/"


class SpikeTiming(LearningRule):
    """A rule by which the timing of spikes changes the weights of dense connections."""

    descends: ClassVar[bool] = False
    trains: ClassVar[str] = (
        "weights of dense connections to layers that spike, their thresholds (with homeostasis), and a "
        "read-out of votes"
    )

    layers: tuple[str, ...] = option(
        default=(), help="connections to train (if none, all that lead to hidden layers that spike)"
    )
    readout: Literal["votes", "rule", "fixed"] = option(
        default="votes",
        help="the read-out's weights: votes of named neurons, trained as the others, or fixed",
    )
    naming: Naming = option(
        default="shares", help="votes: each neuron for one class, or for each by its share of the spikes"
    )
    naming_memory: float = option(
        default=4000.0, above=0, unit="samples", help="after which what a neuron did counts 1/e for its name"
    )
    w_min: float = option(default=0.0, help="lowest weight")
    w_max: float = option(default=1.0, help="highest weight")
    normalise: bool = option(default=False, help="keep the sum of each neuron's weights as at the start")
    homeostasis: float = option(
        default=0.0, at_least=0, help="how much a spike above the target raises a neuron's threshold"
    )
    rate: float | None = option(
        default=None, above=0, unit="Hz", help="target of homeostasis (the layer's mean if none)"
    )
    online: bool = option(
        default=False, help="weights change at every spike and act on what follows, not at the end of a batch"
    )
    continuous: bool = option(
        default=False, help="a batch goes on where the last one ended: states and traces are kept"
    )
    window: int = option(default=256, at_least=1, unit="steps", help="steps that are worked on at a time")

    def validate(self) -> None:
        if not self.w_min < self.w_max:
            raise ValueError(
                f"{type(self).__name__}.w_max: got {self.w_max:g}, wanted more than w_min, {self.w_min:g}"
            )

    @abstractmethod
    def timing(self, dt: float) -> Timing:
        """What spikes do to weights, at time steps of `dt` ms."""

    @property
    def divides(self) -> Literal["samples", "members", "nothing"]:
        return "nothing" if self.continuous else "samples"

    @property
    def kind(self) -> Kind:
        return "local"

    def begin(self, network: Network, generator: torch.Generator) -> Memory:
        parts = stages(network, self._name, (nn.Module,))
        learning = self._learning(parts)
        if self.homeostasis and not any(_threshold(part.neurons) is not None for part in learning):
            raise ValueError(
                f"{self._name}: got homeostasis of {self.homeostasis:g} in a network whose thresholds are "
                "not trained; set the network's option train_neurons to threshold"
            )
        memory: dict[str, Tensor] = {}
        if self.normalise:
            memory |= {f"{SUM}{part.source}": _weight(part).detach().sum(1) for part in learning}
        if self._votes(parts):
            weight = _weight(parts[-1]).detach()
            memory |= {COUNTS: torch.zeros_like(weight), SAMPLES: weight.new_zeros(len(weight))}
        return memory

    def trained(self, network: Network) -> tuple[str, ...]:
        parts = stages(network, self._name, (nn.Module,))
        learning = self._learning(parts)
        reached = [part.connection for part in learning] + (
            [parts[-1].connection] if self._votes(parts) else []
        )
        found: list[Tensor | None] = [trained_weight(connection) for connection in reached]
        found += [_threshold(part.neurons) for part in learning] if self.homeostasis else []
        return tuple(n for n in super().trained(network) if any(network.get_parameter(n) is p for p in found))

    def accumulate(self, network: Network, lesson: Lesson, memory: Memory) -> Outcome:
        parts = stages(network, self._name, (nn.Module,))
        learning = {part.source: self._plastic(part, memory) for part in self._learning(parts)}
        with torch.no_grad():
            record, arrived, state = self._run(parts, learning, lesson, memory)
            loss = lesson.objective(record)
        after = {name: value for name, value in memory.items() if not name.startswith((STATE, TRACE))}
        for source, plastic in learning.items():
            goal = self._normalised(plastic.learnt(), memory.get(f"{SUM}{source}"))
            _move(_weight(plastic.stage), goal)
            self._settle(plastic, record.output.shape[0])
        if self._votes(parts):
            labels = self._labels(lesson)
            after[COUNTS], after[SAMPLES] = count(
                arrived, labels, memory[COUNTS], memory[SAMPLES], self.naming_memory
            )
            _move(_weight(parts[-1]), votes(after[COUNTS], after[SAMPLES], self.naming))
        if self.continuous:
            after |= {f"{STATE}{layer}/{n}": v for layer, values in state.items() for n, v in values.items()}
            after |= {f"{TRACE}{s}/{n}": v for s, p in learning.items() for n, v in p.memory.items()}
        return Outcome(loss, record, after)

    @property
    def _name(self) -> str:
        return name_of(type(self))

    # ---- what learns

    def _learning(self, parts: tuple[Stage, ...]) -> tuple[Stage, ...]:
        """The stages whose weights spikes change.

        Raises:
            ValueError: If there is none, or one that was asked for cannot be trained.
        """
        known = [part.source for part in parts]
        for name in self.layers:
            if name not in known:
                raise ValueError(f"{self._name}.layers: {unknown('connection', name, known)}")
        found = []
        for part in parts:
            wanted = part.source in self.layers or (part.readout and self.readout == "rule")
            if part.readout and self.readout == "votes" and part.source in self.layers:
                raise ValueError(
                    f"{self._name}.layers: got '{part.source}', which leads to the read-out and holds "
                    "votes; set readout to 'rule' or leave it out"
                )
            why = self._why_not(part)
            if wanted and why:
                raise ValueError(f"{self._name}: cannot train '{part.source}': got {why}")
            if wanted or (not self.layers and not part.readout and not why):
                found.append(part)
        if not found:
            reasons = "; ".join(f"'{part.source}': {self._why_not(part) or 'not chosen'}" for part in parts)
            raise ValueError(
                f"{self._name}: got a network without a layer that it can train ({reasons}), wanted a dense "
                "connection to neurons that spike, in front of the read-out or with readout 'rule'"
            )
        return tuple(found)

    def _why_not(self, part: Stage) -> str:
        if not isinstance(part.connection, Dense):
            return f"a connection of the kind {type(part.connection).__name__}, wanted Dense"
        if not part.neurons.spiking:
            return f"neurons '{part.name}' that do not spike"
        if self.online:
            why = why_not_online(part)
            return f"{why}, wanted plain ones for weights that change online" if why else ""
        return ""

    def _votes(self, parts: tuple[Stage, ...]) -> bool:
        return self.readout == "votes" and isinstance(parts[-1].connection, Dense)

    def _plastic(self, part: Stage, memory: Memory) -> PlasticStage:
        prefix = f"{TRACE}{part.source}/"
        traces = {n.removeprefix(prefix): v for n, v in memory.items() if n.startswith(prefix)}
        return PlasticStage(part, self.timing(part.neurons.dt), self.online, traces)

    # ---- one batch

    def _run(
        self,
        parts: tuple[Stage, ...],
        learning: Mapping[str, PlasticStage],
        lesson: Lesson,
        memory: Memory,
    ) -> tuple[Record, Tensor, States]:
        """All windows: the record, what arrived at the read-out in each sample `[B, P]`, the last state."""
        state = _state(memory)
        signals: dict[str, list[Tensor]] = {name: [] for name in lesson.record}
        outputs: list[Tensor] = []
        arrived: Tensor | None = None
        steps = lesson.inputs.shape[0]
        for start in range(0, steps, self.window):
            x = _cut(lesson.inputs, start, min(start + self.window, steps))
            for part in parts:
                wanted = [v for layer, v in map(signal_of, lesson.record) if layer == part.name]
                record = [v for v in part.neurons.states if v in wanted]
                if part.source in learning:
                    pre, states, run = learning[part.source].run(x, state, record)
                else:
                    pre = passed(part.before, x, state)[0] if part.readout else x
                    current, states = part.current(x, state)
                    run = part.neurons(current, state.get(part.name), record)
                    states[part.name] = run.state
                if part.readout:
                    total = pre.flatten(2).sum(0)
                    arrived = total if arrived is None else arrived + total
                state |= states
                for name in wanted:
                    signals[f"{part.name}.{name}"].append(
                        run.output if name == "spikes" else run.traces[name]
                    )
                x = run.output
            outputs.append(x)
        assert arrived is not None
        record_ = Record(torch.cat(outputs), {n: torch.cat(v) for n, v in signals.items()}, state)
        return record_, arrived, state

    def _normalised(self, weight: Tensor, total: Tensor | None) -> Tensor:
        if total is None:
            return weight
        scale = total / weight.sum(1)
        scaled = weight * torch.where(scale.isfinite(), scale, 1.0).unsqueeze(1)
        return scaled.clamp(self.w_min, self.w_max)

    def _settle(self, plastic: PlasticStage, steps: int) -> None:
        """Thresholds, by how often each neuron fired."""
        threshold = _threshold(plastic.stage.neurons)
        if not self.homeostasis or threshold is None or not threshold.requires_grad:
            return
        assert plastic.fired is not None
        fired, duration = plastic.fired.sum(0), len(plastic.fired) * steps * plastic.stage.neurons.dt
        target = fired.mean() if self.rate is None else self.rate * duration / 1000.0
        _add_gradient(threshold, -self.homeostasis * (fired - target))

    def _labels(self, lesson: Lesson) -> Tensor:
        targets = lesson.targets
        if targets is None or targets.is_floating_point() or targets.dim() != 1:
            got = "none" if targets is None else f"{targets.dtype} of shape {tuple(targets.shape)}"
            raise ValueError(
                f"{self._name}: got targets of {got}, wanted one class per sample to name neurons by; set "
                "readout to 'fixed' or 'rule'"
            )
        return targets


def _weight(part: Stage) -> Tensor:
    weight: Tensor = part.connection.weight  # type: ignore[assignment]
    return weight


def _move(weight: Tensor, goal: Tensor) -> None:
    """Put what leads from `weight` to `goal` into the gradients of the parameters behind it."""
    if weight.requires_grad:
        torch.autograd.backward(weight, weight.detach() - goal)


def _add_gradient(parameter: Tensor, value: Tensor) -> None:
    gradient = value.to(parameter.dtype).reshape(parameter.shape)
    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def _threshold(neurons: NeuronLayer) -> nn.Parameter | None:
    """The thresholds of a layer, one per neuron, if they are trained."""
    populations = list(neurons.populations.values()) if isinstance(neurons, Recurrent) else [neurons]
    if len(populations) != 1:
        return None
    threshold = getattr(populations[0], "threshold", None)
    return threshold if isinstance(threshold, nn.Parameter) and threshold.dim() == 1 else None


def _state(memory: Memory) -> States:
    state: States = {}
    for name, value in memory.items():
        if name.startswith(STATE):
            layer, variable = name.removeprefix(STATE).split("/")
            state.setdefault(layer, {})[variable] = value
    return state


def _cut(inputs: Tensor | Constant, start: int, end: int) -> Tensor:
    """Some of the steps."""
    return (inputs.expand() if isinstance(inputs, Constant) else inputs)[start:end]
