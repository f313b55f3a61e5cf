"""E-prop on every spiking neuron model, against plain autograd of the equations step by step.

A pairwise cover of neurons x resets x timings x refractoriness x delays x mixed populations. The step-by-step
back-end is used, which is held to the kernels elsewhere, but for one case.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pytest
import torch
from neuron_cases import spiking_neurons
from pairwise import Case, pairwise
from torch import Tensor

from rheobase.kernels.groups import Group
from rheobase.kernels.recurrent import to_inputs
from rheobase.kernels.recurrent_reference import by_delay
from rheobase.layers.delayed import Delayed
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network, Record
from rheobase.layers.neurons import Neurons
from rheobase.layers.recurrent import Recurrent
from rheobase.neurons.base import Neuron, State
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.neurons.spiking import SpikingNeuron
from rheobase.registry import find, name_of
from rheobase.rules.base import Lesson
from rheobase.rules.eprop import Eprop
from rheobase.rules.stages import stages
from rheobase.rules.windows import forward
from rheobase.surrogate import FastSigmoid

STEPS, BATCH, INPUTS, SIZE, BESIDE, OUTPUTS = 11, 2, 4, 6, 3, 2
SIGNALS = ("hidden.spikes", "readout.v")
FACTORS: dict[str, list[Hashable]] = {
    "neuron": [name_of(cls) for cls in spiking_neurons()],
    "reset": ["subtract", "value", "none"],
    "timing": ["immediate", "delayed", "old", "late"],
    "refractory": [0.0, 2.0],
    "mode": ["hold", "mute"],
    "detach": [False, True],
    "delays": ["none", "recurrent", "both"],
    "population": ["alone", "beside LIF"],
}
COVER = pairwise([FACTORS])
each = pytest.mark.parametrize("case", COVER, ids=lambda case: "-".join(str(v) for v in case.values()))


def model(case: Case) -> SpikingNeuron:
    cls = find(Neuron, str(case["neuron"]))
    options: dict[str, Any] = {
        "reset": case["reset"],
        "timing": case["timing"],
        "refractory": case["refractory"],
        "refractory_mode": case["mode"],
        "detach": case["detach"],
        "surrogate": FastSigmoid(slope=2.0),
    }
    neuron = cls(**options)
    assert isinstance(neuron, SpikingNeuron)
    return neuron


def network(case: Case, backend: Any = "torch") -> Network:
    neuron = model(case)
    plain = LIF(surrogate=FastSigmoid(slope=2.0))
    groups: Any = {"own": (neuron, SIZE), "plain": (plain, BESIDE)}
    mixed = case["population"] == "beside LIF"
    delays = None if case["delays"] == "none" else (1.0, 3.0)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        hidden = Recurrent(
            groups if mixed else neuron, None if mixed else SIZE, delays=delays, backend=backend
        )
        into = (INPUTS, hidden.columns)
        first = Delayed(*into, delays=(0.0, 2.0)) if case["delays"] == "both" else Dense(*into)
        out = Dense(hidden.size, OUTPUTS)
        net = Network(
            input=first, hidden=hidden, output=out, readout=Neurons(LeakyIntegrator(tau_m=4.0))
        ).double()
        # Currents are measured by the distance from rest to threshold.
        units = [(g.size, g.columns, _unit(g)) for g in hidden.groups()]
        first.weight.data.uniform_(-0.5, 1.5)
        first.weight.data *= torch.cat([torch.full((c, 1), u).double() for _, c, u in units])
        hidden.weight.data *= torch.cat([torch.full((n, 1), 2.0 * u).double() for n, _, u in units])
    return net


def _unit(g: Group) -> float:
    neuron: Any = g.neuron
    return float(neuron.threshold - neuron.v_rest)


def inputs() -> Tensor:
    return torch.rand(STEPS, BATCH, INPUTS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def objective(record: Record) -> Tensor:
    target = torch.linspace(-1.0, 1.0, STEPS, dtype=torch.float64)[:, None, None]
    price = record["hidden.spikes"].mean((0, 1)).square().sum()
    return (record["readout.v"] - target).square().sum() + 0.3 * price


def plainly(net: Network, x: Tensor, *, cut: bool) -> tuple[Tensor, list[Tensor]]:
    """The loss, and what was emitted at each step, by the equations; recurrent spikes `detach`ed if `cut`."""
    first, hidden, out, readout = net.layers.values()
    assert isinstance(hidden, Recurrent)
    assert isinstance(readout, Neurons)
    weight, steps = first.weight, None
    if isinstance(first, Delayed):
        weight, steps = first.delays.taps(weight)
    forwards = by_delay(weight, torch.zeros_like(weight, dtype=torch.int64) if steps is None else steps)
    groups = hidden.groups()
    between, lags = (hidden.weight, None) if hidden.delays is None else hidden.delays.taps(hidden.weight)
    recurrent = by_delay(*to_inputs(groups, between, lags))
    now = [
        State({k: torch.full((BATCH, g.size), float(v)).double() for k, v in g.neuron.initial().items()})
        for g in groups
    ]
    mem = State(v=x.new_zeros(BATCH, OUTPUTS))
    emitted: list[Tensor] = []
    values: list[Tensor] = []
    for t in range(STEPS):
        current = first.bias
        for d, w in forwards.items():
            current = current + (x[t - d] @ w.t() if t >= d else 0.0)
        for d, w in recurrent.items():
            if t >= d:
                current = current + (emitted[t - d].detach() if cut else emitted[t - d]) @ w.t()
        spikes = []
        for i, (g, part) in enumerate(
            zip(groups, current.expand(BATCH, -1).split([g.columns for g in groups], -1), strict=True)
        ):
            now[i], z = g.neuron.step(now[i], g.neuron.gather(part.chunk(len(g.neuron.inputs), -1)))
            spikes.append(z)
        emitted.append(torch.cat(spikes, -1) * 1.0)  # apart from the z that resets
        mem, v = readout.neuron.step(mem, out(emitted[-1][None])[0])
        values.append(v)
    record = Record(
        torch.stack(values), {"hidden.spikes": torch.stack(emitted), "readout.v": torch.stack(values)}
    )
    return objective(record), emitted


def learnt(net: Network, rule: Eprop) -> dict[str, Tensor]:
    net.zero_grad()
    rule.accumulate(net, Lesson(inputs(), objective, SIGNALS), rule.begin(net, torch.Generator()))
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


def same(got: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert set(got) == set(wanted)
    for name, value in wanted.items():
        error = float((got[name] - value).abs().max()) / max(1e-3, float(value.abs().max()))
        assert error < 1e-10, f"{name}: relative error {error:.1e}"


@each
def test_symmetric_is_autograd_with_recurrent_spikes_cut_in_windows_of_any_length(case: Case) -> None:
    net = network(case)
    names, values = zip(*net.named_parameters(), strict=True)
    loss, emitted = plainly(net, inputs(), cut=True)
    rate = float(torch.stack(emitted).detach().mean())
    assert 0.01 < rate < 0.99, "the case tells nothing"
    wanted = dict(zip(names, torch.autograd.grad(loss, values), strict=True))
    assert all(g.abs().sum() > 0 for g in wanted.values())
    same(learnt(net, Eprop()), wanted)
    for window in (1, 3, STEPS):
        same(learnt(net, Eprop(window=window, continuous=window == STEPS)), wanted)


@each
def test_with_the_total_derivative_as_learning_signal_it_is_bptt(case: Case) -> None:
    net = network(case)
    loss, emitted = plainly(net, inputs(), cut=False)
    own = {n: p for n, p in net.named_parameters() if n.startswith(("layers.input", "layers.hidden"))}
    # With spikes from the old membrane, the first do not depend on anything.
    moved = [z for z in emitted if z.requires_grad]
    found = torch.autograd.grad(loss, moved, retain_graph=True)
    total = [torch.zeros_like(z) for z in emitted[: STEPS - len(moved)]] + list(found)
    wanted = dict(zip(own, torch.autograd.grad(loss, list(own.values())), strict=True))
    hidden, _ = forward(stages(net, "test"), inputs(), None, (), alone=True, pull=False)
    hidden.learn(torch.stack(total), {})
    same({name: p.grad for name, p in own.items() if p.grad is not None}, wanted)


#: Models of one, of two and of three variables, the last with two inputs: each one's last case in the cover.
KERNELS = [
    [case for case in COVER if case["neuron"] == name][-1]
    for name in ("lif", "adaptive_lif", "ei_conductance_lif")
]


@pytest.mark.parametrize("case", KERNELS, ids=[str(case["neuron"]) for case in KERNELS])
def test_the_kernels_come_to_the_same_step_by_step(case: Case) -> None:
    wanted = learnt(network(case), Eprop())
    for window in (1, STEPS):  # not longer than `SHORT`: by kernels that follow each step
        same(learnt(network(case, "numba"), Eprop(window=window, continuous=window == STEPS)), wanted)


def test_the_kernels_come_to_the_same_over_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rheobase.rules.eprop.SHORT", 0)
    case: Case = {name: levels[-1] for name, levels in FACTORS.items()} | {"neuron": "adaptive_lif"}
    for rule in (Eprop(), Eprop(window=4)):
        same(learnt(network(case, "numba"), rule), learnt(network(case), rule))
