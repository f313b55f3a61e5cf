"""SuperSpike: three-factor learning with a surrogate for the spike, an eligibility trace and fed-back errors.

    dw_ij ~ sum_t e_i(t) lambda_ij(t),    lambda_ij = alpha * [sigma'(u_i) (eps * x_j)]

eps is the membrane's response to a spike (`rheobase.rules.membrane`), alpha a double-exponential filter, e
the error filtered with it: e = alpha * (target - spikes) of an output neuron, and of a hidden one the
outputs' errors, fed back with `feedback` weights (`rheobase.rules.superspike_factors`, with what delays do).

Two ways to get the error:

- Batches (the default). The error is minus the derivative of the loss by each output spike, -dL/dS(t). For
  the van Rossum loss, L = (scale) 1/2 sum_t e^2, that is alpha^T e, so sum_t e lambda = -sum_t dL/dS
  sigma' (eps * x): the same rule, and it holds for whatever loss. A loss that reads the read-out's membrane
  has its derivative by the membrane in place of dL/dS sigma', and eps^T of it is what is fed back. Each batch
  begins at rest, also its traces.
- `continuous`: batches are consecutive windows of one simulation (`rheobase.rules.superspike_windows`).

Hidden layers may have the paper's regulariser (`rheobase.rules.heterosynaptic`). A margin is not in the
paper: where all answers are right, no error says that some were so by little. With `readout_margin` or
`hidden_margin` m, thresholds of the read-out or of hidden layers are m lower one time and m higher the next
(`rheobase.rules.thresholds`): what came close to a wrong answer then gives one.

The online form's cost per step is that of all synapses; here it is that of all neurons, with the same
results (`rheobase.rules.backward_sums`). The per-parameter learning rate of the paper is the optimizer
`rmaxprop`; bounds on weights are `training.weight_bound`.

Zenke & Ganguli, "SuperSpike: supervised learning in multilayer spiking neural networks", Neural Computation
30 (2018). Not modelled: recurrent connections, membranes that are not linear below threshold, delays that
differ within a connection; the resets' effect on eps, as in the paper.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from rheobase.config import option
from rheobase.layers.network import Network, Record
from rheobase.rules.backward_sums import pulled_back, pulled_back_membrane
from rheobase.rules.base import Kind, LearningRule, Lesson, Memory, Outcome
from rheobase.rules.heterosynaptic import Heterosynaptic, pull
from rheobase.rules.membrane import membrane
from rheobase.rules.superspike_factors import Factors, Feedback, asked, backward, held, wanted
from rheobase.rules.superspike_windows import Windows
from rheobase.rules.synapses import Layer, layers, put
from rheobase.rules.thresholds import moved_thresholds

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
        memory = self._factors.drawn(found, generator)
        if self.heterosynaptic_updates is not None or self._margins:
            memory[UPDATES] = torch.tensor(0)
        return memory

    def accumulate(self, network: Network, lesson: Lesson, memory: Memory) -> Outcome:
        update = int(memory[UPDATES]) if UPDATES in memory else 0
        if self._margins:
            side = 1 if update % 2 else -1
            network = moved_thresholds(network, side * self.hidden_margin, side * self.readout_margin)
        learn = self._windows.learn if self.continuous else self._learn
        outcome = learn(network, lesson, memory, self._regulariser.strength(update))
        if UPDATES not in memory:
            return outcome
        return replace(outcome, memory={**outcome.memory, UPDATES: memory[UPDATES] + 1})

    @property
    def _margins(self) -> bool:
        return bool(self.readout_margin or self.hidden_margin)

    @property
    def _factors(self) -> Factors:
        return Factors(self.feedback, self.cutoff)

    @property
    def _regulariser(self) -> Heterosynaptic:
        return Heterosynaptic(self.heterosynaptic, self.tau_het, self.heterosynaptic_updates)

    @property
    def _windows(self) -> Windows:
        return Windows(self._factors, self._regulariser, self.tau_rise, self.tau_decay, self.burn_in)

    def _learn(self, network: Network, lesson: Lesson, memory: Memory, strength: float) -> Outcome:
        """Put the direction of a batch that begins at rest."""
        found, factors, regulariser = layers(network), self._factors, self._regulariser
        with torch.no_grad():
            seen = network(lesson.inputs, record=wanted(found, lesson))
        loss, slopes = _slopes(seen, lesson, found[-1])
        fed: Tensor | None = None  # by spikes of the layer, from those behind
        for layer, behind, late, x in backward(found, seen, lesson.inputs):
            by_spikes, by_membrane = slopes.get(f"{layer.name}.spikes"), slopes.get(f"{layer.name}.v")
            if behind is not None:
                assert fed is not None
                back = fed @ factors.weights(layer, behind, memory)
                by_spikes = back if by_spikes is None else by_spikes + back
            arrives = layer.delay + late
            parts, fed = [], None
            if by_spikes is not None:
                gate, _ = held(factors.gate(layer, seen, None), late)
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
            if strength and behind is not None:
                zeta, _ = regulariser.activity(layer, seen[f"{layer.name}.spikes"], None)
                pull(layer, gradient, zeta, strength)
            put(layer, gradient)
        return Outcome(loss, asked(seen, lesson), memory)


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
