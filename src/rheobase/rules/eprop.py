"""Eligibility propagation (e-prop): what each weight did to its own neuron, times a learning signal.

    dE/dw_ji = sum_t L_j(t) e_ji(t),    e_ji(t) = dz_j(t)/dw_ji as far as it passes through neuron j alone

The eligibility e is exact for any neuron model, with its resets, refractoriness, adaptation and inputs, and
for delays and mixed populations (see `rheobase.rules.eligibility`). What is left out is the effect of a spike
on other neurons of its layer: derivatives are cut at recurrent connections. The learning signal is the error
at the input of the read-out, delta_k(t) = dE/dI_k(t), brought back by

    symmetric   L_j = sum_k W_kj delta_k     the read-out's own weights; with several hidden layers, the path
                                             through the layers between (whose derivatives are taken as above)
    random      L_j = sum_k B_kj delta_k     fixed B, to each hidden layer directly
    adaptive    the same, while B changes as W does, and decays:
                B <- (1 - d) (B + W - W_before)

delta is the exact adjoint of the read-out, so that for a leaky read-out, sum_t delta_k(t) e_ji(t) is the
error at each step times the eligibility filtered by the read-out, as in the paper. Regularisers and losses on
hidden signals act on their own layer, by their own derivative. With "symmetric" the direction is the gradient
of the network whose recurrent spikes are `detach`ed; without recurrence it is the gradient.

Whole sequences are learnt from at once, or in windows of K steps (the result is the same; K = 1 is the
online form). Short windows are learnt from step by step, in one fused pass forward in time
(`rheobase.rules.eligibility_steps`). `continuous` goes on across batches, which are then the consecutive
parts of long sequences, one per place in the batch: state and traces are kept, so that a sequence of any
length is learnt in the memory of a part. Parts are judged one at a time; weights may change in between, as
they do online.

Bellec, Scherr, Subramoney, Hajek, Salaj, Legenstein & Maass, "A solution to the learning dilemma for
recurrent networks of spiking neurons", Nature Communications 11, 3625 (2020). There, W decays as B does
("adaptive"): set the optimizer's weight decay for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from rheobase.config import option
from rheobase.kernels.groups import HISTORY
from rheobase.layers.delayed import Delayed
from rheobase.layers.delays import LearntDelays
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network, NetworkState, Record
from rheobase.layers.neurons import Neurons
from rheobase.layers.over_time import OverTime
from rheobase.rules.base import Kind, LearningRule, Lesson, Memory, Outcome
from rheobase.rules.continuation import check_batch, flat, nested
from rheobase.rules.eligibility import (
    Members,
    Traces,
    at_rest,
    constant_free,
    linear,
    members,
)
from rheobase.rules.eligibility_steps import Steps, are_stepwise, serves
from rheobase.rules.eligibility_windows import Windows
from rheobase.rules.feedback import FEEDBACK, columns, direct, draw_direct
from rheobase.rules.stages import Stage, stages
from rheobase.rules.windows import forward, judge, pulls_of, seen

MIRROR, STATE, TRACE = "mirror", "state.", "trace."
#: Windows of up to SHORT steps are learnt from step by step, CHUNK steps at a time: the adjoint of a window
#: costs milliseconds, however short it is; from some 32 steps on, its products of matrices are faster.
SHORT, CHUNK = 32, 32


class Eprop(LearningRule):
    """E-prop with symmetric, random or adaptive feedback.

    >>> Eprop().kind, Eprop(feedback="random", window=100).window
    ('local', 100)
    """

    trains: ClassVar[str] = (
        "weights, delays and biases of dense, delayed and recurrent connections of any neurons; over whole "
        "sequences also neuron parameters, and convolutions with symmetric feedback"
    )
    cost: ClassVar[str] = (
        "over whole sequences as backpropagation through time, without recurrent products backward; in "
        "windows of K steps one adjoint per state variable, step by step (K up to 32) a few operations per "
        "sample, connection and pair of state variables; memory: K steps of what is kept for learning, and a "
        "number per sample, connection and state variable; over batches (continuous) it does not grow with T"
    )

    feedback: Literal["symmetric", "random", "adaptive"] = option(
        default="symmetric",
        help="how errors come back: by the read-out's weights, by fixed or by learnt ones",
    )
    feedback_scale: float = option(
        default=1.0, above=0, help="factor on the random feedback weights (normal, 1/sqrt(neurons))"
    )
    feedback_decay: float = option(
        default=1e-4, at_least=0, at_most=1, help="share that adaptive feedback weights lose per batch"
    )
    window: int | None = option(
        default=None, at_least=1, unit="steps", help="learn in windows this long; whole sequences if none"
    )
    continuous: bool = option(
        default=False, help="whether a batch goes on where the one before ended: keep state and traces"
    )

    @property
    def kind(self) -> Kind:
        return "local"

    @property
    def divides(self) -> Literal["samples", "members", "nothing"]:
        return "nothing" if self.continuous else "samples"

    def begin(self, network: Network, generator: torch.Generator) -> Memory:
        parts = self._stages(network)
        if self.window is not None or self.continuous:
            _check_windows(parts, self.feedback)
        if self.feedback == "symmetric":
            return {}
        memory = draw_direct(parts, self.feedback_scale, generator, "eprop")
        if self.feedback == "adaptive":
            if len(parts) != 2 or not isinstance(parts[-1].connection, Dense):
                raise ValueError(
                    f"eprop: got adaptive feedback to the layers {', '.join(p.name for p in parts[:-1])}, "
                    "wanted one hidden layer and a Dense connection to the read-out, whose changes the "
                    "feedback follows; use random feedback"
                )
            memory[MIRROR] = _weight(parts[-1]).clone()
        return memory

    def accumulate(self, network: Network, lesson: Lesson, memory: Memory) -> Outcome:
        parts, steps = self._stages(network), lesson.inputs.shape[0]
        memory = self._follow(parts, memory)
        window = steps if self.window is None else min(self.window, steps)
        if window == steps and not self.continuous:
            return self._whole(parts, lesson, memory)
        state: NetworkState = nested(memory, STATE)
        traces: Mapping[str, Traces] = nested(memory, TRACE)
        check_batch("eprop", state, lesson.inputs)
        groups = {p.name: members(p.neurons, columns(p, "eprop")) for p in parts}
        inputs = constant_free(lesson.inputs)

        def back(error: Tensor, stage: Stage) -> Tensor:
            return self._back(parts[-1], error, stage, memory)

        way: Steps | Windows = Windows(parts, groups, back)
        if are_stepwise(traces) if traces else window <= SHORT and serves(parts, inputs):
            way, window = Steps(parts, groups, back), min(CHUNK, steps)
        record: Record | None = None
        loss: Tensor | None = None
        pulls: Mapping[str, Mapping[str, Tensor]] = {}
        if window < steps:
            with torch.no_grad():
                record = network(lesson.inputs, state=state, record=lesson.record)
            loss, pulls = judge(lesson, record)
        for low in range(0, steps, window):
            part = slice(low, min(low + window, steps))
            state = _started(parts, groups, inputs[part], state)
            ran: Any = way.run(inputs[part], state, lesson.record)
            if record is None:
                record = seen(ran, lesson.record)
                loss, pulls = judge(lesson, record)
            given = [pulls_of(one, pulls, part) for one in ran]
            traces = way.learn(ran, given, state, traces, self.continuous or part.stop < steps)
            state = seen(ran, ()).state
        assert record is not None
        assert loss is not None
        kept = {k: v for k, v in memory.items() if not k.startswith((STATE, TRACE))}
        if self.continuous:
            kept |= flat(STATE, state) | flat(TRACE, traces)
        record = Record(record.output, record.signals, {n: dict(s) for n, s in state.items()})
        return Outcome(loss, record, kept)

    def _stages(self, network: Network) -> tuple[Stage, ...]:
        return stages(network, "eprop", (Dense, Delayed, OverTime))

    def _whole(self, parts: Sequence[Stage], lesson: Lesson, memory: Memory) -> Outcome:
        """The whole sequence as one window: no trace is needed."""
        symmetric = self.feedback == "symmetric"
        windows = forward(parts, lesson.inputs, None, lesson.record, alone=True, pull=symmetric)
        record = seen(windows, lesson.record)
        loss, pulls = judge(lesson, record)
        readout = windows[-1]
        readout.learn(None, pulls_of(readout, pulls))
        for window, behind in zip(windows[-2::-1], windows[:0:-1], strict=True):
            if symmetric:
                assert isinstance(behind.x, Tensor)
                signal = behind.x.grad
            else:
                signal = direct(readout.error, window.stage, memory)
            window.learn(signal, pulls_of(window, pulls))
        return Outcome(loss, record, memory)

    def _back(self, readout: Stage, error: Tensor, stage: Stage, memory: Memory) -> Tensor:
        """An error at the read-out `[..., C]` as a learning signal `[..., N]` for a hidden layer."""
        if self.feedback == "symmetric":
            return error @ _weight(readout)
        return direct(error, stage, memory)

    def _follow(self, parts: Sequence[Stage], memory: Memory) -> Memory:
        """Adaptive feedback weights, after the read-out's weights have changed."""
        if self.feedback != "adaptive":
            return memory
        weight, name = _weight(parts[-1]), f"{FEEDBACK}{parts[0].name}"
        moved = memory[name] + (weight - memory[MIRROR]).to(memory[name])
        return {**memory, name: (1.0 - self.feedback_decay) * moved, MIRROR: weight.clone()}


def _weight(stage: Stage) -> Tensor:
    weight = stage.connection.weight
    assert isinstance(weight, Tensor)
    return weight.detach()


def _started(
    parts: Sequence[Stage], groups: Mapping[str, Sequence[Members]], x: Tensor, state: NetworkState
) -> NetworkState:
    """The state, and rest where there is none yet, whatever the length of the window."""
    full = {name: dict(values) for name, values in state.items()}
    for stage in parts:
        connection, batch = stage.connection, x.shape[1]
        if isinstance(connection, Delayed) and stage.source not in full:
            depth = connection.delays.longest
            full[stage.source] = {HISTORY: x.new_zeros(depth, batch, connection.inputs)}
        if stage.name not in full:
            full[stage.name] = at_rest(stage.neurons, groups[stage.name], x)
    return full


def _check_windows(parts: Sequence[Stage], feedback: str) -> None:
    """Refuse what has no traces that windows could carry."""
    readout = parts[-1]
    for stage in parts:
        plain = (Dense,) if stage.readout else (Dense, Delayed)
        if not isinstance(stage.connection, plain) or stage.before:
            name, module = (*stage.before, (stage.source, stage.connection))[0]
            wanted = " or ".join(kind.__name__ for kind in plain)
            _refuse(name, module, f"{wanted} in front of '{stage.name}'")
        for module in (stage.connection, stage.neurons):
            if any(isinstance(part, LearntDelays) for part in module.modules()):
                _refuse(stage.name, stage.neurons, "delays that stay as they are")
        own = [n for n, p in stage.neurons.named_parameters() if p.requires_grad and "weight" not in n]
        if own:
            _refuse(stage.name, stage.neurons, f"neurons whose own parameters ({', '.join(own)}) stay")
    layer = readout.neurons
    if not isinstance(layer, Neurons) or not linear(layer.neuron) or len(layer.neuron.inputs) > 1:
        _refuse(readout.name, layer, "a read-out that only integrates (leaky_integrator), without recurrence")
    assert isinstance(layer, Neurons)
    if any(value.dim() for value in layer.tensors().values()):
        _refuse(readout.name, layer, "a read-out whose parameters are the same for all its units")
    if feedback == "symmetric" and len(parts) > 2:
        _refuse(parts[0].name, parts[0].neurons, "one hidden layer, or random feedback to each")


def _refuse(name: str, module: nn.Module, wanted: str) -> None:
    raise ValueError(
        f"eprop: got the layer '{name}' ({type(module).__name__}) to be learnt in windows, wanted {wanted}; "
        "or learn from whole sequences (no window, not continuous)"
    )
