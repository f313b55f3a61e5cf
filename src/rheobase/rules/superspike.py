"""SuperSpike: three-factor learning with a surrogate for the spike, an eligibility trace and fed-back errors.

    dw_ij ~ sum_t e_i(t) lambda_ij(t),    lambda_ij = alpha * [sigma'(u_i) (eps * x_j)]

eps is the membrane's response to a spike (`rheobase.rules.membrane`), alpha a double-exponential filter, e
the error filtered with it: e = alpha * (target - spikes) of an output neuron, and of a hidden one the
outputs' errors, fed back with their weights ("symmetric"), with fixed random ones ~ N(0, 1) ("random"), or
with ones ("uniform"). Between several hidden layers errors pass from one to the next.

Two ways to get the error:

- Batches (the default). The error is minus the derivative of the loss by each output spike, -dL/dS(t). For
  the van Rossum loss, L = (scale) 1/2 sum_t e^2, that is alpha^T e, so sum_t e lambda = -sum_t dL/dS
  sigma' (eps * x): the same rule, and it holds for whatever loss. A loss that reads the read-out's membrane
  has its derivative by the membrane in place of dL/dS sigma', and eps^T of it is what is fed back. Each batch
  begins at rest, also its traces.
- `continuous`: batches are consecutive windows of one simulation, as in the authors' code. The network, all
  traces and filters go on in the rule's memory where they were; targets are spike trains. The direction is
  -(1/T) sum_t e lambda, whichever the loss.

Delays: x is what arrives at the synapse. An error of an output neuron is that of spikes which left a hidden
neuron one delay earlier, so the hidden layer's sigma' and x are delayed by that much.

The heterosynaptic regulariser of hidden layers adds rho w_ij zeta_i(t) at each step, zeta = z^4, z a trace
of the neuron's own spikes (+1 for each, decaying with tau_het), and keeps it from firing without end. Where
errors become rare, it goes on to pull until there are some again; `heterosynaptic_updates` N lets it fade
out, rho (1 - n/N) at update n, and is not in the paper.

Nor is a margin: where all answers are right, no error says that some were so by little. With
`readout_margin` or `hidden_margin` m, thresholds of the read-out or of hidden layers are m lower one time
and m higher the next (`rheobase.rules.thresholds`): what came close to a wrong answer then gives one.

The online form's cost per step is that of all synapses; here it is that of all neurons, with the same
results (`rheobase.rules.backward_sums`). The per-parameter learning rate of the paper is the optimizer
`rmaxprop`; bounds on weights are `training.weight_bound`.

Zenke & Ganguli, "SuperSpike: supervised learning in multilayer spiking neural networks", Neural Computation
30 (2018). Not modelled: recurrent connections, membranes that are not linear below threshold, delays that
differ within a connection; the resets' effect on eps, as in the paper.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor

from rheobase.coding.filters import DoubleExponential
from rheobase.config import option
from rheobase.kernels.constant import Constant
from rheobase.kernels.linear import LinearSystem, respond
from rheobase.layers.network import Network, NetworkState, Record
from rheobase.rules.backward_sums import Traces, carried, no_traces, pulled_back, pulled_back_membrane
from rheobase.rules.base import Kind, LearningRule, Lesson, Memory, Outcome
from rheobase.rules.membrane import membrane, sensitivity, variables
from rheobase.rules.single_layer import in_one_kernel, run_single
from rheobase.rules.synapses import Layer, layers, put
from rheobase.rules.thresholds import moved_thresholds

Feedback = Literal["symmetric", "random", "uniform"]
UPDATES = "updates"  # memory: how many there were


class Superspike(LearningRule):
    """SuperSpike, on batches from rest or on one continuous simulation.

    >>> Superspike(feedback="random").kind
    'local'
    """

    trains: ClassVar[str] = "weights and biases of dense or delayed feed-forward connections"
    cost: ClassVar[str] = (
        "a few operations per neuron and step, one per synapse and presynaptic spike; keeps spikes and "
        "membranes of every step of a batch (or a window, if continuous)"
    )

    feedback: Feedback = option(default="symmetric", help="weights with which errors reach hidden layers")
    continuous: bool = option(
        default=False, help="batches are consecutive windows of one simulation (one sample each)"
    )
    burn_in: float = option(
        default=0.0, unit="ms", at_least=0, help="time without learning at the start (continuous)"
    )
    tau_rise: float = option(
        default=5.0, unit="ms", above=0, help="rise of the error's filter alpha (continuous)"
    )
    tau_decay: float = option(
        default=10.0, unit="ms", above=0, help="decay of the error's filter alpha (continuous)"
    )
    heterosynaptic: float = option(
        default=0.0, at_least=0, help="strength of the hidden layers' regulariser (rho)"
    )
    heterosynaptic_updates: int | None = option(
        default=None,
        at_least=1,
        unit="updates",
        help="after how many the regulariser has faded out, linearly; it stays as it is if none",
    )
    tau_het: float = option(default=100.0, unit="ms", above=0, help="time constant of its trace of spikes")
    readout_margin: float = option(
        default=0.0, at_least=0, help="how much lower and higher, in turn, the read-out's threshold is"
    )
    hidden_margin: float = option(
        default=0.0, at_least=0, help="how much lower and higher, in turn, hidden thresholds are"
    )
    cutoff: float | None = option(
        default=None, above=0, help="distance below the threshold beyond which sigma' is 0; nowhere if none"
    )

    def validate(self) -> None:
        if self.burn_in and not self.continuous:
            raise ValueError(
                f"Superspike.burn_in: got {self.burn_in:g} ms for batches that begin at rest, wanted 0; "
                "ask for continuous=True"
            )

    @property
    def kind(self) -> Kind:
        return "local"

    @property
    def divides(self) -> Literal["samples", "members", "nothing"]:
        return "nothing" if self.continuous else "samples"

    def begin(self, network: Network, generator: torch.Generator) -> Memory:
        found = layers(network)
        if self.continuous and not found[-1].spiking:
            raise ValueError(
                f"superspike: got the read-out '{found[-1].name}', which does not spike, wanted one that "
                "does: continuous=True compares spike trains"
            )
        memory = {}
        if self.heterosynaptic_updates is not None or self._margins:
            memory[UPDATES] = torch.tensor(0)
        if self.feedback == "random":
            for layer, behind in pairwise(found):
                drawn = torch.randn(behind.outputs, layer.outputs, generator=generator)
                memory[f"{layer.name}.feedback"] = drawn
        return memory

    def accumulate(self, network: Network, lesson: Lesson, memory: Memory) -> Outcome:
        learn = self._continue if self.continuous else self._batch
        if self._margins:
            side = 1 if int(memory[UPDATES]) % 2 else -1
            network = moved_thresholds(network, side * self.hidden_margin, side * self.readout_margin)
        outcome = learn(network, lesson, memory)
        if UPDATES not in memory:
            return outcome
        return replace(outcome, memory={**outcome.memory, UPDATES: memory[UPDATES] + 1})

    @property
    def _margins(self) -> bool:
        return bool(self.readout_margin or self.hidden_margin)

    # ---- batches from rest

    def _batch(self, network: Network, lesson: Lesson, memory: Memory) -> Outcome:
        found = layers(network)
        with torch.no_grad():
            seen = network(lesson.inputs, record=_wanted(found, lesson))
        loss, slopes = _slopes(seen, lesson, found[-1])
        fed: Tensor | None = None  # by spikes of the layer, from those behind
        late = 0  # steps from its spikes to the outputs' that they cause
        for layer, behind in zip(reversed(found), (None, *reversed(found[1:])), strict=True):
            by_spikes, by_membrane = slopes.get(f"{layer.name}.spikes"), slopes.get(f"{layer.name}.v")
            x = layer.sent(lesson.inputs if layer is found[0] else seen[f"{_before(found, layer)}.spikes"])
            if behind is not None:
                assert fed is not None
                back = fed @ self._weights(layer, behind, memory)
                by_spikes = back if by_spikes is None else by_spikes + back
                late += behind.delay
            arrives = layer.delay + late
            parts, fed = [], None
            if by_spikes is not None:
                gate = _delayed(self._gate(layer, seen, None), late)
                part, _ = pulled_back(
                    membrane(layer.neuron), gate, by_spikes, x, arrives, layer.bias is not None
                )
                parts.append(part)
                fed = by_spikes
            if by_membrane is not None:
                part, p = pulled_back_membrane(
                    membrane(layer.neuron, "v"), by_membrane, x, arrives, layer.bias is not None
                )
                parts.append(part)
                fed = p if fed is None else fed + p
            if not parts:
                raise ValueError(
                    "superspike: got a loss that reads neither spikes nor membrane of the read-out "
                    f"'{layer.name}', wanted one that does"
                )
            gradient = sum(parts[1:], parts[0])
            strength = self._strength(memory)
            if strength and behind is not None:
                gradient = self._regularised(layer, gradient, self._activity(layer, seen, None)[0], strength)
            put(layer, gradient)
        return Outcome(loss, _asked(seen, lesson), memory)

    # ---- one simulation, window by window

    def _continue(self, network: Network, lesson: Lesson, memory: Memory) -> Outcome:
        found, targets = layers(network), lesson.targets
        if len(found) == 1 and in_one_kernel(found[0], lesson):
            return self._single(found[0], lesson, memory)
        state = _network_state(memory)
        with torch.no_grad():
            seen = network(lesson.inputs, state, record=_wanted(found, lesson))
            loss = lesson.objective(seen).detach()
        spikes = seen[f"{found[-1].name}.spikes"]
        targets = _checked(targets, tuple(spikes.shape))
        alpha = self._alpha(found[-1].neuron.dt)
        after: dict[str, Tensor] = {k: v for k, v in memory.items() if k.endswith(".feedback")}
        after |= {f"network.{n}.{v}": x for n, s in seen.state.items() for v, x in s.items()}
        error, after["error"] = respond(alpha, targets - spikes, memory.get("error"))
        elapsed = int(memory["elapsed"]) if "elapsed" in memory else 0
        after["elapsed"] = torch.tensor(elapsed + len(spikes))
        learns = elapsed * found[-1].neuron.dt >= self.burn_in
        late = 0
        for layer, behind in zip(reversed(found), (None, *reversed(found[1:])), strict=True):
            if behind is not None:
                error = error @ self._weights(layer, behind, memory)
                late += behind.delay
            name = layer.name
            sent = layer.sent(lesson.inputs if layer is found[0] else seen[f"{_before(found, layer)}.spikes"])
            sent = sent.expand() if isinstance(sent, Constant) else sent
            x, after[f"{name}.inputs"] = _held(sent, layer.delay + late, memory.get(f"{name}.inputs"))
            x = layer.with_bias(x)
            gate, after[f"{name}.gates"] = _held(
                self._gate(layer, seen, state.get(name)), late, memory.get(f"{name}.gates")
            )
            response = membrane(layer.neuron)
            before = _traces(memory, name) or no_traces(response, alpha, gate, x)
            total, traces = carried(response, alpha, gate, error, x, before)
            after |= {f"{name}.presynaptic": traces.presynaptic, f"{name}.eligibility": traces.eligibility}
            gradient = -total / len(spikes)
            if self.heterosynaptic and behind is not None:
                zeta, after[f"{name}.activity"] = self._activity(layer, seen, memory.get(f"{name}.activity"))
                gradient = self._regularised(layer, gradient, zeta, self._strength(memory))
            put(layer, gradient if learns else torch.zeros_like(gradient))
        return Outcome(loss, _asked(seen, lesson), after)

    def _single(self, layer: Layer, lesson: Lesson, memory: Memory) -> Outcome:
        """`_continue` for one layer of few neurons of the paper's model, in one kernel."""
        sent = layer.sent(lesson.inputs)
        sent = sent.expand() if isinstance(sent, Constant) else sent
        targets = _checked(lesson.targets, (*sent.shape[:2], layer.outputs))
        alpha, name = self._alpha(layer.neuron.dt), layer.name
        x, coming = _held(sent, layer.delay, memory.get(f"{name}.inputs"))
        outcome, after = run_single(layer, x, targets, lesson, memory, alpha, self.cutoff)
        elapsed = int(memory["elapsed"]) if "elapsed" in memory else 0
        after |= {f"{name}.inputs": coming, "elapsed": torch.tensor(elapsed + len(sent))}
        learns = elapsed * layer.neuron.dt >= self.burn_in
        put(layer, outcome.gradient if learns else torch.zeros_like(outcome.gradient))
        return Outcome(outcome.loss, outcome.record, after)

    # ---- parts

    def _alpha(self, dt: float) -> LinearSystem:
        return _alpha(self.tau_rise, self.tau_decay, dt)

    def _weights(self, layer: Layer, behind: Layer, memory: Memory) -> Tensor:
        """What errors of the layer behind are multiplied with on their way to this one, `[K, I]`."""
        if self.feedback == "symmetric":
            return behind.weight.detach()
        if self.feedback == "random":
            return memory[f"{layer.name}.feedback"].to(behind.weight)
        return torch.ones_like(behind.weight)

    def _gate(self, layer: Layer, seen: Record, start: Mapping[str, Tensor] | None) -> Tensor:
        signals = {name: seen[f"{layer.name}.{name}"] for name in variables(layer.neuron)}
        return sensitivity(layer.neuron, signals, start, self.cutoff)

    def _activity(self, layer: Layer, seen: Record, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """The mean of zeta over time and samples, `[I]`, and the state of its trace."""
        decay = float(torch.exp(torch.tensor(-layer.neuron.dt / self.tau_het, dtype=torch.float64)))
        trace, after = respond(LinearSystem(((decay,),), (1.0,), (1.0,)), seen[f"{layer.name}.spikes"], state)
        return trace.square().square().mean((0, 1)), after

    def _strength(self, memory: Memory) -> float:
        """The regulariser's, at this update."""
        if self.heterosynaptic_updates is None:
            return self.heterosynaptic
        return self.heterosynaptic * max(0.0, 1.0 - int(memory[UPDATES]) / self.heterosynaptic_updates)

    def _regularised(self, layer: Layer, gradient: Tensor, zeta: Tensor, strength: float) -> Tensor:
        pull = strength * layer.weight.detach() * zeta.unsqueeze(1)
        gradient[:, : layer.inputs] += pull
        return gradient


@functools.lru_cache(maxsize=16)
def _alpha(rise: float, decay: float, dt: float) -> LinearSystem:
    scheme: Literal["euler"] = "euler"
    return DoubleExponential(tau_rise=rise, tau_decay=decay, scheme=scheme).system(dt)


def _checked(targets: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    """The target trains, if they are as output spikes of this shape, of one sample."""
    if targets is None or tuple(targets.shape) != shape or shape[1] != 1:
        got = "none" if targets is None else f"shape {tuple(targets.shape)}"
        raise ValueError(
            f"superspike: got targets of {got} for output spikes of shape {shape}, wanted spike trains "
            "of the same shape [T, 1, N]: with continuous=True a batch is one window of one simulation; set "
            "training.batch_size to 1, and choose a task with target spike trains"
        )
    return targets


def _before(found: tuple[Layer, ...], layer: Layer) -> str:
    return found[found.index(layer) - 1].name


def _wanted(found: tuple[Layer, ...], lesson: Lesson) -> tuple[str, ...]:
    """The signals that the rule and the lesson read."""
    own = [
        f"{layer.name}.{v}" for layer in found if layer.spiking for v in ("spikes", *variables(layer.neuron))
    ]
    return tuple(dict.fromkeys((*own, *lesson.record)))


def _asked(seen: Record, lesson: Lesson) -> Record:
    return Record(seen.output, {name: seen[name] for name in lesson.record}, seen.state)


def _slopes(seen: Record, lesson: Lesson, last: Layer) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss, and its derivatives by the signals that it reads; the output counts as the read-out."""
    leaves = {name: seen[name].detach().requires_grad_() for name in lesson.record}
    output = seen.output.detach().requires_grad_()
    loss = lesson.objective(Record(output, leaves, seen.state))
    torch.autograd.backward(loss)
    slopes = {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
    for name in slopes:
        if name.split(".", 1)[1] not in ("spikes", "v"):
            raise ValueError(
                f"superspike: got a loss that reads '{name}', wanted one of spikes or membranes ('v')"
            )
    if output.grad is not None:
        name = f"{last.name}.{'spikes' if last.spiking else 'v'}"
        slopes[name] = output.grad + slopes[name] if name in slopes else output.grad
    return loss.detach(), slopes


def _delayed(x: Tensor, steps: int) -> Tensor:
    """`x` `[T, ...]` that many steps later, zeros before."""
    return _held(x, steps, None)[0]


def _held(x: Tensor, steps: int, before: Tensor | None) -> tuple[Tensor, Tensor]:
    """`x` `[T, ...]` that many steps later, and what is still to come."""
    if not steps:
        return x, x[:0]
    whole = torch.cat([x.new_zeros(steps, *x.shape[1:]) if before is None else before, x])
    return whole[: len(x)], whole[len(x) :]


def _network_state(memory: Memory) -> NetworkState:
    state: dict[str, dict[str, Tensor]] = {}
    for key, value in memory.items():
        if key.startswith("network."):
            _, layer, variable = key.split(".", 2)
            state.setdefault(layer, {})[variable] = value
    return state


def _traces(memory: Memory, name: str) -> Traces | None:
    if f"{name}.eligibility" not in memory:
        return None
    return Traces(memory[f"{name}.presynaptic"], memory[f"{name}.eligibility"])
