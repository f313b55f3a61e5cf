"""SuperSpike on one simulation that goes on, window by window, as in the authors' code.

    e = alpha * (target - spikes)  of an output neuron,    direction = -(1/T) sum_t e lambda

whichever the loss. The network, all traces and filters go on in the rule's memory where they were; targets
are spike trains. One layer of few neurons takes one kernel (`rheobase.rules.single_layer`), others the sums
of `rheobase.rules.backward_sums`, with the same results.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rheobase.coding.filters import DoubleExponential
from rheobase.kernels.constant import Constant
from rheobase.kernels.linear import LinearSystem, respond
from rheobase.layers.network import Network, NetworkState
from rheobase.rules.backward_sums import Traces, carried, no_traces
from rheobase.rules.base import Lesson, Memory, Outcome
from rheobase.rules.heterosynaptic import Heterosynaptic, pull
from rheobase.rules.membrane import membrane
from rheobase.rules.single_layer import in_one_kernel, run_single
from rheobase.rules.superspike_factors import Factors, asked, backward, held, wanted
from rheobase.rules.synapses import Layer, layers, put


@dataclass(frozen=True)
class Windows:
    """Attributes:
    factors: See there.
    regulariser: That of hidden layers.
    tau_rise, tau_decay: Time constants of the error's filter alpha, in ms.
    burn_in: Time without learning at the start, in ms.
    """

    factors: Factors
    regulariser: Heterosynaptic
    tau_rise: float
    tau_decay: float
    burn_in: float

    def learn(self, network: Network, lesson: Lesson, memory: Memory, strength: float) -> Outcome:
        """Put the direction of one window; the memory is that at its end.

        Args:
            network: The network.
            lesson: The window.
            memory: The rule's.
            strength: The regulariser's.
        """
        found = layers(network)
        if len(found) == 1 and in_one_kernel(found[0], lesson):
            return self._single(found[0], lesson, memory)
        state = _network_state(memory)
        with torch.no_grad():
            seen = network(lesson.inputs, state, record=wanted(found, lesson))
            loss = lesson.objective(seen).detach()
        spikes = seen[f"{found[-1].name}.spikes"]
        targets = _checked(lesson.targets, tuple(spikes.shape))
        alpha = _alpha(self.tau_rise, self.tau_decay, found[-1].neuron.dt)
        after: dict[str, Tensor] = {k: v for k, v in memory.items() if k.endswith(".feedback")}
        after |= {f"network.{n}.{v}": x for n, s in seen.state.items() for v, x in s.items()}
        error, after["error"] = respond(alpha, targets - spikes, memory.get("error"))
        learns, after["elapsed"] = self._clock(memory, len(spikes), found[-1].neuron.dt)
        for layer, behind, late, sent in backward(found, seen, lesson.inputs):
            if behind is not None:
                error = error @ self.factors.weights(layer, behind, memory)
            name = layer.name
            x, after[f"{name}.inputs"] = held(
                _expanded(sent), layer.delay + late, memory.get(f"{name}.inputs")
            )
            x = layer.with_bias(x)
            gate, after[f"{name}.gates"] = held(
                self.factors.gate(layer, seen, state.get(name)), late, memory.get(f"{name}.gates")
            )
            response = membrane(layer.neuron)
            before = _traces(memory, name) or no_traces(response, alpha, gate, x)
            total, traces = carried(response, alpha, gate, error, x, before)
            after |= {f"{name}.presynaptic": traces.presynaptic, f"{name}.eligibility": traces.eligibility}
            gradient = -total / len(spikes)
            if self.regulariser.rho and behind is not None:
                zeta, after[f"{name}.activity"] = self.regulariser.activity(
                    layer, seen[f"{name}.spikes"], memory.get(f"{name}.activity")
                )
                pull(layer, gradient, zeta, strength)
            put(layer, gradient if learns else torch.zeros_like(gradient))
        return Outcome(loss, asked(seen, lesson), after)

    def _single(self, layer: Layer, lesson: Lesson, memory: Memory) -> Outcome:
        """`learn` for one layer of few neurons of the paper's model, in one kernel."""
        sent, dt, name = _expanded(layer.sent(lesson.inputs)), layer.neuron.dt, layer.name
        targets = _checked(lesson.targets, (*sent.shape[:2], layer.outputs))
        alpha = _alpha(self.tau_rise, self.tau_decay, dt)
        x, coming = held(sent, layer.delay, memory.get(f"{name}.inputs"))
        outcome, after = run_single(layer, x, targets, lesson, memory, alpha, self.factors.cutoff)
        after[f"{name}.inputs"] = coming
        learns, after["elapsed"] = self._clock(memory, len(sent), dt)
        put(layer, outcome.gradient if learns else torch.zeros_like(outcome.gradient))
        return Outcome(outcome.loss, outcome.record, after)

    def _clock(self, memory: Memory, steps: int, dt: float) -> tuple[bool, Tensor]:
        """Whether a window of so many steps is learnt from, and the steps until its end."""
        elapsed = int(memory["elapsed"]) if "elapsed" in memory else 0
        return elapsed * dt >= self.burn_in, torch.tensor(elapsed + steps)


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


def _expanded(x: Tensor | Constant) -> Tensor:
    return x.expand() if isinstance(x, Constant) else x


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
