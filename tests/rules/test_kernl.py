"""KeRNL: what its sensitivities must come to, which way its update goes, and that it resumes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from rheobase.kernels.constant import Constant
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network, Record
from rheobase.layers.neurons import Neurons
from rheobase.layers.recurrent import Recurrent
from rheobase.networks.base import Architecture
from rheobase.networks.feed_forward import FeedForward
from rheobase.networks.recurrent import Recurrent as RecurrentNetwork
from rheobase.neurons.conductance_lif import ConductanceLIF
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.rules.base import Lesson, Memory
from rheobase.rules.bptt import BPTT
from rheobase.rules.kernl import Kernl, perturbed
from rheobase.rules.sensitivity import Sensitivity, decayed, fitted
from rheobase.rules.stages import stages
from rheobase.surrogate import Arctan
from rheobase.training.alignment import cosine

FORGETS = LeakyIntegrator(tau_m=0.01)  # within a step: what it emits is what it gets


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def learn(rule: Kernl, net: Network, x: Any, objective: Any, memory: Memory) -> Memory:
    return rule.accumulate(net, Lesson(x, objective, ("readout.v",)), memory).memory


def squares(record: Record) -> Tensor:
    return (record["readout.v"] - 0.5).square().mean()


def test_the_filter_and_its_reverse_are_sums_of_exponentials() -> None:
    x, gamma = random(6, 2, 3), torch.tensor([0.1, 0.5, 2.0], dtype=torch.float64)
    lag = torch.arange(6)[:, None] - torch.arange(6)
    kernel = torch.where(lag[..., None] >= 0, torch.exp(-gamma * lag[..., None]), 0.0)  # shape: [t, t', N]
    torch.testing.assert_close(decayed(x, gamma), torch.einsum("tsn,sbn->tbn", kernel, x))
    beta, errors = random(4, 3, seed=1), random(6, 2, 4, seed=2)
    signal = Sensitivity.start(beta, gamma).signal(errors)
    torch.testing.assert_close(signal, torch.einsum("tsn,rn,tbr->sbn", kernel, beta, errors))


@pytest.mark.parametrize("explain", ["values", "increments"])
def test_a_linear_network_is_learnt_exactly(explain: Any) -> None:
    """z(t) = a z(t-1) + x(t), s = C z: ds_i(t)/dz_j(t') = C_ij a^(t - t')."""
    a, reads = 0.8, random(2, 3)
    net = Network(
        dense1=Dense(4, 3, bias=False),
        hidden1=Recurrent(FORGETS, 3, self_connections=True),
        dense2=Dense(3, 2, bias=False),
        readout=Neurons(FORGETS),
    ).double()
    with torch.no_grad():
        net.layers["hidden1"].weight.copy_(a * torch.eye(3))  # type: ignore[operator]
        net.layers["dense2"].weight.copy_(reads)  # type: ignore[operator]
    rule = Kernl(explain=explain)
    memory = rule.begin(net, torch.Generator().manual_seed(0))
    for step in range(250):
        less = 0.98 ** max(0, step - 62)
        rule = rule.replace(beta_rate=0.1 * less, gamma_rate=0.03 * less)
        memory = learn(rule, net, torch.zeros(15, 8, 4, dtype=torch.float64), squares, memory)
    decay = torch.exp(-memory["hidden1.gamma"])
    torch.testing.assert_close(decay, torch.full_like(decay, a), atol=2e-3, rtol=0)
    torch.testing.assert_close(memory["hidden1.beta"], reads, atol=5e-3, rtol=0)
    # With these the learning signal is the gradient, transposed and signed as it must be.
    x = random(15, 8, 4, seed=3)
    net.zero_grad()
    learn(rule, net, x, squares, memory)
    own = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    net.zero_grad()
    BPTT().accumulate(net, Lesson(x, squares, ("readout.v",)), {})
    exact = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    for name, gradient in exact.items():
        torch.testing.assert_close(own[name], gradient, rtol=0.02, atol=0.02 * float(gradient.abs().max()))


def spiking(architecture: Architecture, neuron: Any = None) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return architecture.build((5,), 2, neuron or LIF(surrogate=Arctan()), LeakyIntegrator(tau_m=50.0))


@pytest.mark.parametrize(
    "architecture",
    [
        RecurrentNetwork(hidden=(12,), gain=3.0, longest_delay=3.0, train_neurons=("tau_m",)),
        FeedForward(hidden=(12, 8), gain=4.0),
    ],
    ids=["recurrent", "two layers"],
)
def test_the_update_goes_downhill_on_average(architecture: Architecture) -> None:
    net = spiking(architecture)
    rule = Kernl(beta_rate=0.01, explain="increments")
    memory = rule.begin(net, torch.Generator().manual_seed(0))
    cosines: list[dict[str, float | None]] = []
    for step in range(80):
        x = 1.5 * random(20, 16, 5, seed=step).abs().float()
        net.zero_grad()
        memory = learn(rule, net, x, squares, memory)
        if step < 70:
            continue
        own = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
        net.zero_grad()
        BPTT().accumulate(net, Lesson(x, squares, ("readout.v",)), {})
        exact = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
        assert own.keys() == exact.keys()
        cosines.append({name: cosine(own, exact, name) for name in exact})
    for name in cosines[0]:
        assert sum(c[name] or 0.0 for c in cosines) / len(cosines) > 0.3, name


def test_noise_reaches_what_spikes_reach() -> None:
    """A whole spike of noise, where the neuron is silent, is that spike to all others."""
    net = spiking(RecurrentNetwork(hidden=(4,), longest_delay=3.0))
    for p in net.layers["dense1"].parameters():
        torch.nn.init.zeros_(p)
    noise = torch.zeros(8, 1, 4)
    noise[1, 0, 2] = 1.0
    parts = stages(net, "test")
    found = perturbed(parts, Constant(torch.zeros(1, 5), 8), {"hidden1": noise}, ["v"])["v"]
    history = torch.zeros(3, 1, 4)
    history[2, 0, 2] = 1.0  # the step before the first
    hidden: Any = net.layers["hidden1"]
    later = hidden(torch.zeros(6, 1, 4), {"v": torch.zeros(1, 4), "history": history}).output
    emitted = torch.cat([noise[:2], later])
    wanted = net.layers["readout"](net.layers["dense2"](emitted), None, ["v"]).traces["v"]
    torch.testing.assert_close(found, wanted)


def test_departures_that_are_explained_leave_nothing() -> None:
    one = Sensitivity.start(random(2, 3), torch.full((3,), 0.2, dtype=torch.float64))
    noise = random(9, 4, 3, seed=1)
    departure = decayed(noise, one.gamma) @ one.beta.t()
    for increments in (False, True):
        after, left = fitted(
            {"a": one}, {"a": noise}, departure, increments=increments, beta_rate=0.1, gamma_rate=0.1
        )
        assert left < 1e-12
        assert after["a"].steps == 1


def test_the_same_memory_gives_the_same_bits_and_another_batch_other_noise() -> None:
    net = spiking(RecurrentNetwork(hidden=(6,), gain=3.0))
    rule, x = Kernl(), random(10, 3, 5).abs().float()
    first = learn(rule, net, x, squares, rule.begin(net, torch.Generator().manual_seed(0)))
    again = learn(rule, net, x, squares, rule.begin(net, torch.Generator().manual_seed(0)))
    assert first.keys() == again.keys()
    assert all(torch.equal(first[key], again[key]) for key in first)
    other = learn(rule, net, x, squares, rule.begin(net, torch.Generator().manual_seed(1)))
    assert not torch.equal(first["hidden1.beta"], other["hidden1.beta"])
    second = learn(rule, net, x, squares, first)
    assert int(second["batches"]) == 2
    still = learn(rule, net, x, squares, {**first, "batches": torch.tensor(0)})
    assert not torch.equal(second["hidden1.beta"], still["hidden1.beta"])


def test_neurons_with_several_inputs_get_noise_by_sign() -> None:
    net = spiking(RecurrentNetwork(hidden=(6,), gain=3.0), ConductanceLIF())
    memory = learn(
        Kernl(), net, random(10, 3, 5).abs().float(), squares, Kernl().begin(net, torch.Generator())
    )
    assert memory["hidden1.beta"].shape == (2, 6)


def test_what_it_cannot_train_is_refused() -> None:
    single = Network(dense1=Dense(4, 2), readout=Neurons(LeakyIntegrator()))
    with pytest.raises(ValueError, match="without a hidden layer"):
        Kernl().begin(single, torch.Generator())
