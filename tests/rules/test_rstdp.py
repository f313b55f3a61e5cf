"""Reward-modulated STDP against its equations, step by step; what it refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from rheobase.layers.delayed import Delayed
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.layers.neurons import Neurons
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.rules.base import Lesson, Memory, Outcome
from rheobase.rules.rstdp import RSTDP

LABELS = torch.tensor([0, 2, 1, 1])


def network(readout: Any = None) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Network(
            dense1=Dense(5, 6, gain=3.0),
            hidden1=Neurons(LIF(), backend="torch"),
            dense2=Dense(6, 3, gain=3.0),
            readout=Neurons(readout or LIF(), backend="torch"),
        )
    return net.double()


def inputs() -> Tensor:
    return (torch.rand(30, 4, 5, generator=torch.Generator().manual_seed(1)) < 0.3).double()


def learn(rule: RSTDP, net: Network, memory: Memory | None = None) -> Outcome:
    memory = rule.begin(net, torch.Generator().manual_seed(2)) if memory is None else memory
    return rule.accumulate(net, Lesson(inputs(), lambda r: r.output.sum(), (), LABELS), memory)


def step_by_step(rule: RSTDP, pre: Tensor, post: Tensor, reward: Tensor) -> Tensor:
    """The module's equations: eligibilities of every synapse, forward in time; rewards `[T, B, N]`."""
    x, y = torch.zeros_like(pre[0]), torch.zeros_like(post[0])
    eligible = torch.zeros(len(x), post.shape[2], pre.shape[2], dtype=pre.dtype)
    total = torch.zeros_like(eligible)
    for s, z, r in zip(pre, post, reward.expand_as(post), strict=True):
        x = x + s
        marks = rule.a_plus * z[:, :, None] * x[:, None] - rule.a_minus * y[:, :, None] * s[:, None]
        eligible = math.exp(-1.0 / rule.tau_e) * eligible + marks
        total += r[:, :, None] * eligible
        x, y = math.exp(-1.0 / rule.tau_plus) * x, math.exp(-1.0 / rule.tau_minus) * (y + z)
    return total.sum(0) / len(x)


def gradient(net: Network, layer: str) -> Tensor:
    weight: Tensor = net.layers[layer].weight  # type: ignore[assignment,union-attr]
    assert weight.grad is not None
    return weight.grad


@pytest.mark.parametrize("hidden", ["random", "symmetric", "reward"])
def test_hidden_layers_follow_the_equations(hidden: Any) -> None:
    rule, net = RSTDP(hidden=hidden, a_plus=0.7, a_minus=0.4, tau_e=9.0, tau_minus=13.0), network()
    memory = rule.begin(net, torch.Generator().manual_seed(2))
    outcome = learn(rule, net, memory)
    seen = net(inputs(), record=["hidden1.spikes"])
    errors = 0.2 * torch.nn.functional.one_hot(LABELS, 3).double() - seen.output
    right = seen.output.sum(0).argmax(1) == LABELS
    given = torch.zeros(30, 4, 1, dtype=torch.float64)
    given[-1, :, 0] = 2.0 * right - 1.0
    if hidden == "random":
        given = errors @ memory["feedback/dense1"]
    elif hidden == "symmetric":
        given = errors @ net.layers["dense2"].weight.detach()  # type: ignore[operator,union-attr]
    wanted = step_by_step(rule, inputs(), seen["hidden1.spikes"], given)
    assert wanted.abs().max() > 1e-3
    torch.testing.assert_close(gradient(net, "dense1"), -wanted, rtol=0, atol=1e-12)
    assert outcome.memory["baseline"].item() == pytest.approx(0.1 * (2.0 * right.double().mean() - 1.0))


@pytest.mark.parametrize("readout", [LIF(), LeakyIntegrator()])
def test_a_teacher_adds_its_spikes_and_takes_off_the_own_ones(readout: Any) -> None:
    rule, net = RSTDP(teacher_rate=300.0), network(readout)
    learn(rule, net)
    seen = net(inputs(), record=["hidden1.spikes"])
    spiking = isinstance(readout, LIF)
    own = seen.output if spiking else seen.output.softmax(2)
    errors = (0.3 if spiking else 1.0) * torch.nn.functional.one_hot(LABELS, 3).double() - own
    at_once = RSTDP(tau_e=1e-3)  # eligibility of the step alone
    wanted = step_by_step(at_once, seen["hidden1.spikes"], errors.detach(), torch.ones(30, 4, 1))
    torch.testing.assert_close(gradient(net, "dense2"), -wanted, rtol=0, atol=1e-12)


def test_rewards_are_measured_from_their_mean() -> None:
    rule, net = RSTDP(readout="reward", hidden="fixed", baseline=0.5), network()
    assert rule.trained(net) == ("layers.dense2.weight",)
    first = learn(rule, net)
    small = gradient(net, "dense2").clone()
    net.zero_grad()
    second = learn(rule, net, first.memory)
    reward = first.memory["baseline"] * 2
    assert reward.abs() > 0
    assert second.memory["baseline"].item() == pytest.approx(0.75 * reward.item())
    assert (gradient(net, "dense2") - small).abs().max() > 1e-6
    assert net.layers["dense1"].weight.grad is None  # type: ignore[union-attr]


def test_hidden_layers_that_do_not_learn_may_have_delays() -> None:
    def change(first: Any, given: Tensor) -> Tensor:
        net, rule = network(), RSTDP(hidden="fixed")
        with torch.no_grad():
            first.weight.copy_(net.layers["dense1"].weight)
            first.bias.zero_()
        net.layers["dense1"] = first
        lesson = Lesson(given, lambda record: record.output.sum(), targets=LABELS)
        rule.accumulate(net, lesson, rule.begin(net, torch.Generator()))
        return gradient(net, "dense2")

    later = torch.cat([torch.zeros(2, 4, 5).double(), inputs()[:-2]])
    wanted = change(Dense(5, 6).double(), later)
    assert wanted.abs().max() > 0
    torch.testing.assert_close(change(Delayed(5, 6, delays=2.0).double(), inputs()), wanted)


def test_what_cannot_be_trained_is_refused() -> None:
    def begin(net: Network, **options: Any) -> Memory:
        return RSTDP(**options).begin(net, torch.Generator())

    with pytest.raises(ValueError, match=r"rstdp: got the layer 'a' \(Delayed\), wanted Dense"):
        begin(Network(a=Delayed(2, 3, delays=1.0), out=Neurons(LIF())))
    with pytest.raises(ValueError, match="cannot train 'a': got a connection of the kind Delayed"):
        begin(Network(a=Delayed(2, 3, delays=1.0), out=Neurons(LIF())), hidden="fixed")
    with pytest.raises(ValueError, match="'readout', which does not spike; use 'teacher'"):
        begin(network(LeakyIntegrator()), readout="reward")
    deep = [Dense(2, 2), Neurons(LIF()), Dense(2, 2), Neurons(LIF()), Dense(2, 2), Neurons(LIF())]
    with pytest.raises(ValueError, match="got 'symmetric' for 2 hidden layers"):
        begin(Network(**{f"l{i}": layer for i, layer in enumerate(deep)}), hidden="symmetric")
    with pytest.raises(ValueError, match="got targets of none, wanted one class per sample"):
        RSTDP().accumulate(network(), Lesson(inputs(), lambda r: r.output.sum()), begin(network()))
