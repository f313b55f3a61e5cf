"""Reward-modulated spike-timing-dependent plasticity, with a teacher for classification.

Pairs of spikes do not change a weight at once; they leave a mark, its eligibility, which a reward r turns
into a change while it lasts:

    pairs(t)  = a_plus z_i x_j - a_minus y_i s_j          x, y: traces of s and z (`rheobase.kernels.timing`)
    e(t)      = exp(-dt/tau_e) e(t-1) + pairs(t)          dw_ij = sum_t r_i(t) e_ij(t)

What rewards neuron i, at each layer:

    reward               1 / -1 for a sample that the network got right / wrong, less its running mean, for
                         all neurons alike, at the end of the sample
    random, symmetric    sum_k B_ki d_k(t), with d_k = wanted_k - z_k at the read-out, at each step; B drawn
                         once and kept, or the read-out's own weights (for the layer in front of it)
    teacher              (the read-out) 1 for a spike of the teacher, -1 for one of its own, at once: d takes
                         z's place in the pairs. The teacher fires at `teacher_rate` in the right class

A read-out that does not spike is taken to fire with the probabilities softmax(v), and its teacher at every
step. Where the output counts at some steps only (as at the end of a sequence), what it does at others has
neither teacher nor reward: what is wanted can then not be known yet. The directions are means over a batch.
Sums over time are made in one product per layer, with the rewards filtered backward in time in place of
eligibilities forward, which is the same sum.

With a teacher, `centre` takes off each trace x_j that share of its running mean (over batches, and steps that
count): with 1, errors go with what an input does beyond its mean, as in a covariance rule. Where all inputs
fire much, what they have in common is by far the largest change, and sets the learning rate for all others.

Izhikevich, "Solving the distal reward problem through linkage of STDP and dopamine signaling", Cerebral
Cortex 17 (2007); Florian, Neural Computation 19 (2007), the form of BindsNET's MSTDPET (there e is 1/tau_e
of this, and acts a step later); Ponulak & Kasinski, Neural Computation 22 (2010) for teacher's spikes
against own ones; Sejnowski, J. Mathematical Biology 4 (1977) for covariance. Not modelled: a concentration
of dopamine that outlasts the reward, bounds of weights (Dale's law is the layers'), weights' dependence on
themselves, biases, delayed and recurrent connections.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from rheobase.config import option
from rheobase.kernels.constant import Constant
from rheobase.kernels.timing import Timing, Window
from rheobase.layers.connection import trained_weight
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network, Record
from rheobase.rules.base import Kind, LearningRule, Lesson, Memory, Outcome
from rheobase.rules.pairing import pairs, run_trace
from rheobase.rules.plastic_stage import passed
from rheobase.rules.stages import Stage, stages

BASELINE, FEEDBACK = "baseline", "feedback/"
MEAN, SEEN = "mean", "seen"


class RSTDP(LearningRule):
    """Reward-modulated STDP.

    >>> RSTDP().kind, RSTDP(readout="reward", hidden="reward").descends
    ('local', False)
    """

    descends: ClassVar[bool] = False
    trains: ClassVar[str] = (
        "weights of dense connections, in networks of classifiers (of the read-out alone if hidden is fixed)"
    )
    cost: ClassVar[str] = (
        "a trace per neuron, and a sparse product of spikes and traces per layer; keeps all spikes"
    )

    readout: Literal["teacher", "reward"] = option(
        default="teacher", help="what the read-out learns from: a teacher's spikes, or right and wrong"
    )
    hidden: Literal["random", "symmetric", "reward", "fixed"] = option(
        default="random",
        help="what rewards hidden neurons: the read-out's errors, right and wrong, or nothing",
    )
    a_plus: float = option(default=1.0, help="mark of pre before post")
    a_minus: float = option(default=0.0, help="mark of post before pre")
    tau_plus: float = option(default=20.0, above=0, unit="ms", help="window of pre before post")
    tau_minus: float = option(default=20.0, above=0, unit="ms", help="window of post before pre")
    tau_e: float = option(default=25.0, above=0, unit="ms", help="time constant of eligibility")
    teacher_rate: float = option(
        default=200.0, above=0, unit="Hz", help="rate of the teacher of a read-out that spikes"
    )
    baseline: float = option(
        default=0.9,
        at_least=0,
        at_most=1,
        help="share of running means (of rewards, of traces) that a batch keeps",
    )
    centre: float = option(
        default=0.0,
        at_least=0,
        at_most=1,
        help="share of its running mean that is taken off each trace of the read-out's inputs (teacher)",
    )

    @property
    def kind(self) -> Kind:
        return "local"

    def validate(self) -> None:
        if self.centre > 0 and self.baseline == 1:
            raise ValueError(
                f"RSTDP.centre: got {self.centre:g} with a baseline of 1, which lets no batch into the "
                "running mean that it is a share of; set the baseline below 1"
            )

    def begin(self, network: Network, generator: torch.Generator) -> Memory:
        parts = self._parts(network)
        weight = _dense(parts[-1]).weight.detach()
        memory = {BASELINE: weight.new_zeros(())}
        if self._centred:
            memory |= {MEAN: weight.new_zeros(weight.shape[1]), SEEN: weight.new_zeros(())}
        if self.hidden == "symmetric" and len(parts) > 2:
            raise ValueError(
                f"rstdp.hidden: got 'symmetric' for {len(parts) - 1} hidden layers, of which only the last "
                "has connections to the read-out; use 'random'"
            )
        if self.hidden == "random":
            for part in parts[:-1]:
                shape = (len(weight), _dense(part).outputs)
                drawn = torch.randn(shape, generator=generator) / math.sqrt(len(weight))
                memory[f"{FEEDBACK}{part.source}"] = drawn.to(weight.dtype)
        return memory

    def trained(self, network: Network) -> tuple[str, ...]:
        found = [trained_weight(part.connection) for part in self._learning(self._parts(network))]
        return tuple(n for n in super().trained(network) if any(network.get_parameter(n) is p for p in found))

    def accumulate(self, network: Network, lesson: Lesson, memory: Memory) -> Outcome:
        parts = self._parts(network)
        labels = _labels(lesson)
        with torch.no_grad():
            record, arrived, emitted = _run(network, parts, lesson)
            loss = lesson.objective(record)
            counts = _counts(lesson, emitted[-1])
            errors = self._errors(parts[-1], emitted[-1], labels) * counts
            reward, baseline = self._reward(emitted[-1] * counts, labels, memory[BASELINE])
            after = {**memory, BASELINE: baseline}
            for part in self._learning(parts):
                place = parts.index(part)
                pre, post = arrived[place], emitted[place]
                if part.readout and self.readout == "teacher":
                    change, means = self._taught(part, pre, errors, counts, memory)
                    after |= means
                else:
                    change = self._change(part, parts[-1], pre, post, errors, reward, memory)
                weight = _dense(part).weight
                if weight.requires_grad:
                    torch.autograd.backward(_with_graph(part), -change / len(labels))
        return Outcome(loss, record, after)

    @property
    def _centred(self) -> bool:
        return self.readout == "teacher" and self.centre > 0

    def _timing(self, dt: float) -> Timing:
        return Timing(
            pre=Window.exponential(self.tau_plus, dt),
            post=Window.exponential(self.tau_minus, dt),
            plus=self.a_plus,
            minus=self.a_minus,
            same_step=True,
        )

    def _taught(
        self, readout: Stage, pre: Tensor, errors: Tensor, counts: Tensor, memory: Memory
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What the read-out's weights change by `[N, P]`, with a teacher; and the mean traces after it."""
        timing = self._timing(readout.neurons.dt)
        if not self._centred:
            up, down, _ = pairs(timing, pre, errors)
            return up - down, {}
        # One more neuron, which fires at each step that counts, has the sum of all traces in this product.
        always = counts.expand_as(errors[..., :1])
        up, down, _ = pairs(timing, pre, torch.cat([errors, always], 2))
        kept, mean = self.baseline, up[-1] / always.sum().clamp(min=1.0)
        after = {
            MEAN: kept * memory[MEAN] + (1.0 - kept) * mean,
            SEEN: kept * memory[SEEN] + (1.0 - kept),
        }
        common = self.centre * after[MEAN] / after[SEEN]
        return up[:-1] - down[:-1] - errors.sum((0, 1)).unsqueeze(1) * common, after

    def _change(
        self,
        part: Stage,
        readout: Stage,
        pre: Tensor,
        post: Tensor,
        errors: Tensor,
        reward: Tensor,
        memory: Memory,
    ) -> Tensor:
        """What a reward changes the weights of a stage by, summed over the batch, `[N, P]`."""
        timing = self._timing(part.neurons.dt)
        if part.readout or self.hidden == "reward":
            given = torch.zeros(len(post), len(reward), 1, dtype=post.dtype)
            given[-1] = reward.unsqueeze(1)
        elif self.hidden == "symmetric":
            given = errors @ _dense(readout).weight.detach()
        else:
            given = errors @ memory[f"{FEEDBACK}{part.source}"]
        later, _ = run_trace(given.flip(0), Window.exponential(self.tau_e, part.neurons.dt), False)
        up, down, _ = pairs(timing, pre, post, factor=given + later.flip(0))
        return up - down

    def _errors(self, readout: Stage, emitted: Tensor, labels: Tensor) -> Tensor:
        """Teacher's spikes less the read-out's own, at all steps, `[T, B, C]`."""
        rate = self.teacher_rate * readout.neurons.dt / 1000.0 if readout.neurons.spiking else 1.0
        wanted = rate * torch.nn.functional.one_hot(labels, emitted.shape[2]).to(emitted.dtype)
        return wanted - (emitted if readout.neurons.spiking else emitted.softmax(2))

    def _reward(self, emitted: Tensor, labels: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """1 or -1 for each sample, less their running mean; and that mean after the batch."""
        right = emitted.sum(0).argmax(1) == labels
        reward = 2.0 * right.to(before.dtype) - 1.0
        return reward - before, self.baseline * before + (1.0 - self.baseline) * reward.mean()

    def _learning(self, parts: tuple[Stage, ...]) -> tuple[Stage, ...]:
        return parts[-1:] if self.hidden == "fixed" else parts

    def _parts(self, network: Network) -> tuple[Stage, ...]:
        """The stages.

        Raises:
            ValueError: If a connection that learns is not dense, or hidden neurons do not spike.
        """
        # Layers that stay as they were drawn may have delays, or be convolutions.
        parts = stages(network, "rstdp", (nn.Module,) if self.hidden == "fixed" else (Dense,))
        if not isinstance(parts[-1].connection, Dense):
            raise ValueError(
                f"rstdp: cannot train '{parts[-1].source}': got a connection of the kind "
                f"{type(parts[-1].connection).__name__}, wanted Dense"
            )
        for part in parts[:-1]:
            if not part.neurons.spiking:
                raise ValueError(f"rstdp: got the layer '{part.name}', which does not spike, wanted spikes")
        if self.readout == "reward" and not parts[-1].neurons.spiking:
            raise ValueError(
                f"rstdp.readout: got 'reward' for '{parts[-1].name}', which does not spike; use 'teacher', "
                "or a read-out that spikes"
            )
        return parts


def _run(
    network: Network, parts: tuple[Stage, ...], lesson: Lesson
) -> tuple[Record, list[Tensor], list[Tensor]]:
    """What the network did; what arrived at each connection, `[T, B, P]`; what each layer emitted."""
    spikes = [f"{part.name}.spikes" for part in parts[:-1]]
    seen = network(lesson.inputs, record=tuple(dict.fromkeys((*lesson.record, *spikes))))
    x = lesson.inputs
    first = x.expand() if isinstance(x, Constant) else x
    emitted = [*(seen[name] for name in spikes), seen.output]
    arrived = [
        passed(part.before, given, {})[0].flatten(2)
        for part, given in zip(parts, [first, *emitted[:-1]], strict=True)
    ]
    kept = {name: signal for name, signal in seen.signals.items() if name in lesson.record}
    return Record(seen.output, kept, seen.state), arrived, emitted


def _dense(part: Stage) -> Dense:
    assert isinstance(part.connection, Dense)
    return part.connection


def _with_graph(part: Stage) -> Tensor:
    with torch.enable_grad():
        return _dense(part).weight


def _labels(lesson: Lesson) -> Tensor:
    targets = lesson.targets
    if targets is None or targets.is_floating_point() or targets.dim() != 1:
        got = "none" if targets is None else f"{targets.dtype} of shape {tuple(targets.shape)}"
        raise ValueError(f"rstdp: got targets of {got}, wanted one class per sample")
    return targets


def _counts(lesson: Lesson, emitted: Tensor) -> Tensor:
    """1 at the steps at which the output counts, `[T, B, 1]`; `[1, 1, 1]` if they all do."""
    if lesson.counts is None:
        return emitted.new_ones(1, 1, 1)
    return lesson.counts.to(emitted.dtype).unsqueeze(2)
