"""KeRNL: errors go back in time by sensitivities that the network finds by perturbing a twin of itself.

    dE/dw_jk = sum_t' L_j(t') e_jk(t')
    L_j(t')  = sum_{t >= t'} exp(-gamma_j (t - t')) sum_i beta_ij dE/ds_i(t)

s are the signals of the read-out that the loss reads; e_jk = dz_j/dw_jk is the effect of a weight on its own
neuron, exact for any model (as in e-prop): for a neuron that forgets within a step, phi'(g_j) x_k, with the
surrogate derivative phi' and the presynaptic activity x_k. beta and gamma (`rheobase.rules.sensitivity`)
stand for all paths from a spike to the read-out: through connections, recurrence, membranes. They are learnt
from a twin of the network that gets the same input, and noise on top of all that hidden neurons emit:

    z_j(t) + psi_j(t),    psi ~ N(0, sigma^2)

The noise reaches other neurons and the read-out as spikes do. In spiking networks small noise moves few
spikes, each by a whole one, so that sigma should not be small: a tenth of a spike moves enough for a mean.
Nothing goes backwards through the network, and no derivative of it is asked for but each neuron's own. The
read-out's weights get their exact gradient. Noise is made from a seed and the number of the batch.

The algorithm is online, with one trace per synapse, neuron and kernel; written as above, its sums over t are
a filter in reversed time and matrix products over whole sequences, to the same values.

The run that this project started from had a KeRNL that did not learn: it descended along (Y - y), uphill; it
took the learnt map without transposing it; and its eligibility had the spike in place of phi'. The tests
hold each of these three: the sign of the update, the map, and the derivative.

Roth, Kanitscheider & Fiete, "Kernel RNN learning (KeRNL)", ICLR 2019. There, sensitivities are of hidden
states, and the read-out is instantaneous; here they are of the read-out's states, which may have memory.
Not modelled: images between layers (convolutions).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from rheobase.config import option
from rheobase.kernels.constant import Constant
from rheobase.kernels.recurrent import to_inputs
from rheobase.layers.delayed import Delayed
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.layers.recurrent import Recurrent
from rheobase.rules.base import Kind, LearningRule, Lesson, Memory, Outcome
from rheobase.rules.noise import Noise
from rheobase.rules.sensitivity import Sensitivity, fitted
from rheobase.rules.stages import Stage, stages
from rheobase.rules.windows import SPIKES, Window, forward, judge, pulls_of, seen

_TWIN, _FIRST = 0, 1  # members of the noise: what is added to spikes, and what sensitivities start from


class Kernl(LearningRule):
    """Kernel RNN learning: sensitivities learnt from a perturbed twin.

    >>> Kernl().kind, Kernl(sigma=0.05).sigma
    ('local', 0.05)
    """

    trains: ClassVar[str] = (
        "every parameter of dense, delayed and recurrent networks of any neurons, with a hidden layer or more"
    )
    cost: ClassVar[str] = (
        "as e-prop over whole sequences, a forward pass of the twin, and a regression on outputs x neurons; "
        "memory grows with T"
    )

    sigma: float = option(default=0.1, above=0, unit="spikes", help="standard deviation of the twin's noise")
    beta_rate: float = option(default=1e-3, above=0, help="step size of the sensitivities' RMSProp")
    gamma_rate: float = option(default=1e-3, above=0, help="step size of their decays' RMSProp, per step")
    explain: Literal["values", "increments"] = option(
        default="values",
        help="what of the twin's departure is explained: increments are better for read-outs that add up",
    )

    @property
    def kind(self) -> Kind:
        return "local"

    def begin(self, network: Network, generator: torch.Generator) -> Memory:
        parts = _stages(network)
        if len(parts) < 2:
            raise ValueError(
                "kernl: got a network without a hidden layer, wanted at least one, whose sensitivities "
                "can be learnt; use bptt"
            )
        seed = torch.randint(2**62, (), generator=generator)
        return {"seed": seed, "batches": torch.zeros((), dtype=torch.int64)}

    def accumulate(self, network: Network, lesson: Lesson, memory: Memory) -> Outcome:
        parts, random = _stages(network), torch.get_rng_state()
        windows = forward(parts, lesson.inputs, None, lesson.record, alone=True, pull=False)
        record = seen(windows, lesson.record)
        loss, pulls = judge(lesson, record)
        readout, hidden = windows[-1], windows[:-1]
        errors = pulls_of(readout, pulls)
        readout.learn(None, errors)
        if errors:
            memory = self._regress(parts, windows, tuple(errors), lesson, memory, random)
        joined = torch.cat([errors[name] for name in sorted(errors)], -1) if errors else None
        for window in hidden:
            signal = None if joined is None else _recall(memory, window.stage.name).signal(joined)
            window.learn(signal, pulls_of(window, pulls))
        batches = memory["batches"] + 1
        return Outcome(loss, record, {**memory, "batches": batches})

    def _regress(
        self,
        parts: Sequence[Stage],
        windows: Sequence[Window],
        names: tuple[str, ...],
        lesson: Lesson,
        memory: Memory,
        random: Tensor,
    ) -> Memory:
        """The memory with sensitivities that a twin of this batch made better."""
        source, batch = Noise(int(memory["seed"])), int(memory["batches"])
        noise = {
            w.stage.name: self.sigma * source.normal(batch, _TWIN, i, w.run.output.shape).to(w.run.output)
            for i, w in enumerate(windows[:-1])
        }
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(random)  # dropout and the like as the network had it
            twin = perturbed(parts, lesson.inputs, noise, names)
        own = windows[-1]
        departure = torch.cat([twin[n] - own.signal(n).detach() for n in sorted(names)], -1)
        layers = {
            w.stage.name: _recall(memory, w.stage.name)
            if f"{w.stage.name}.beta" in memory
            else _first(source, i, departure, w.run.output)
            for i, w in enumerate(windows[:-1])
        }
        after, _ = fitted(
            layers,
            noise,
            departure,
            increments=self.explain == "increments",
            beta_rate=self.beta_rate,
            gamma_rate=self.gamma_rate,
        )
        kept = {f"{name}.{key}": x for name, one in after.items() for key, x in one.tensors().items()}
        return {**memory, **kept}


@torch.no_grad()
def perturbed(
    parts: Sequence[Stage], x: Tensor | Constant, noise: dict[str, Tensor], names: Sequence[str]
) -> dict[str, Tensor]:
    """Signals of the read-out, by name, of a network with noise added to what its hidden neurons emit.

    Args:
        parts: The stages of the network.
        x: The input, `[T, B, ...]`.
        noise: By hidden layer, `[T, B, N]`.
        names: The signals: "spikes" or a state variable.
    """
    for stage in parts[:-1]:
        added = noise[stage.name]
        current, _ = stage.current(x)
        current = current.expand() if isinstance(current, Constant) else current
        if isinstance(stage.neurons, Recurrent):
            current = current + _within(stage.neurons, added)
        x = stage.neurons(current).output + added
    last = parts[-1]
    current, _ = last.current(x)
    run = last.neurons(current, None, [n for n in last.neurons.states if n in names])
    return {name: run.output if name == SPIKES else run.traces[name] for name in names}


def _within(layer: Recurrent, added: Tensor) -> Tensor:
    """What noise on a layer's output brings to its own neurons' inputs, `[T, B, columns]`."""
    weight, steps = (layer.weight, None) if layer.delays is None else layer.delays.taps(layer.weight)
    if steps is None:
        steps = torch.ones_like(weight, dtype=torch.int64)
    to, by = to_inputs(layer.groups(), weight, steps)
    assert by is not None
    total = added.new_zeros(*added.shape[:2], to.shape[-2])
    for d in torch.bincount(by.flatten()).nonzero().flatten().tolist():
        part = torch.where(by == d, to, 0.0)
        part = part.sum(0) if part.dim() == 3 else part
        total[d:] += added[: len(added) - d] @ part.t()
    return total


def _first(source: Noise, number: int, departure: Tensor, emitted: Tensor) -> Sensitivity:
    """Before anything is known: beta normal as by Glorot, gamma uniform up to the inverse of the duration."""
    rows, size = departure.shape[-1], emitted.shape[-1]
    beta = source.normal(0, _FIRST, 2 * number, (rows, size)) * (2.0 / (rows + size)) ** 0.5
    share = (source.uniform(0, _FIRST, 2 * number + 1, (size,)) + 1.0) / 2.0
    return Sensitivity.start(beta.to(emitted), (share / len(emitted)).to(emitted))


def _recall(memory: Memory, layer: str) -> Sensitivity:
    names = ("beta", "gamma", "beta_square", "gamma_square", "steps")
    return Sensitivity(**{name: memory[f"{layer}.{name}"] for name in names})


def _stages(network: Network) -> tuple[Stage, ...]:
    return stages(network, "kernl", (Dense, Delayed))
