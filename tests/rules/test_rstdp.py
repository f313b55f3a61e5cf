"""Reward-modulated STDP against its equations, step by step; what it refuses."""

from __future__ import annotations

import dataclasses
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


def test_a_teacher_acts_where_the_output_counts() -> None:
    counts = torch.arange(30).unsqueeze(1) >= torch.tensor([0, 20, 25, 29])  # for each sample another window
    rule, net = RSTDP(), network(LeakyIntegrator())
    lesson = Lesson(inputs(), lambda r: r.output.sum(), (), LABELS, counts=counts)
    rule.accumulate(net, lesson, memory := rule.begin(net, torch.Generator()))
    seen = net(inputs(), record=["hidden1.spikes"])
    errors = counts.unsqueeze(2) * (torch.nn.functional.one_hot(LABELS, 3).double() - seen.output.softmax(2))
    at_once = RSTDP(tau_e=1e-3)
    wanted = step_by_step(at_once, seen["hidden1.spikes"], errors.detach(), torch.ones(30, 4, 1))
    assert wanted.abs().max() > 1e-3
    torch.testing.assert_close(gradient(net, "dense2"), -wanted, rtol=0, atol=1e-12)
    given = errors.detach() @ memory["feedback/dense1"]  # hidden neurons hear of these errors, and no others
    wanted = step_by_step(rule, inputs(), seen["hidden1.spikes"], given)
    torch.testing.assert_close(gradient(net, "dense1"), -wanted, rtol=0, atol=1e-12)


def test_whether_a_sample_came_out_right_is_read_where_the_output_counts() -> None:
    rule, net = RSTDP(readout="reward", hidden="fixed"), network()
    with torch.no_grad():
        weight = net.layers["dense2"].weight.zero_()  # type: ignore[operator,union-attr]
        weight[0, 1] = weight[1, 4] = 4.0  # of the hidden neurons that fire, the first more
    output = net(inputs()).output
    everything = torch.ones(30, 4, dtype=torch.bool)
    found = []
    for counts in (everything, output[..., 1] > output[..., 0]):  # all, or where the second fires alone
        lesson = Lesson(inputs(), lambda r: r.output.sum(), (), LABELS, counts=counts)
        memory = rule.accumulate(net, lesson, rule.begin(net, torch.Generator())).memory
        found.append((output * counts.unsqueeze(2)).sum(0).argmax(1) == LABELS)
        assert memory["baseline"].item() == pytest.approx(0.1 * (2.0 * found[-1].double().mean() - 1.0))
    assert found[0].sum() != found[1].sum()


def test_traces_are_measured_from_a_share_of_their_mean() -> None:
    counts = torch.arange(30).unsqueeze(1) >= torch.tensor([0, 20, 25, 29])
    rule, net = (
        RSTDP(hidden="fixed", centre=0.7, a_plus=0.6, a_minus=0.2, baseline=0.5),
        network(LeakyIntegrator()),
    )
    plain = dataclasses.replace(rule, centre=0.0)

    def change(rule: RSTDP, given: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        net.zero_grad()
        lesson = Lesson(given, lambda r: r.output.sum(), (), LABELS, counts=counts)
        after = rule.accumulate(net, lesson, memory).memory
        return -gradient(net, "dense2").clone(), after

    memory, running, weight = rule.begin(net, torch.Generator()), torch.zeros(6).double(), 0.0
    for given in (inputs(), inputs().flip(0)):
        seen = net(given, record=["hidden1.spikes"])
        errors = counts.unsqueeze(2) * (
            torch.nn.functional.one_hot(LABELS, 3).double() - seen.output.softmax(2)
        )
        traces = [torch.zeros(4, 6).double()]
        for spikes in seen["hidden1.spikes"]:
            traces.append(math.exp(-1 / 20) * traces[-1] + spikes)
        running = 0.5 * running + 0.5 * torch.stack(traces[1:])[counts].mean(0)
        weight = 0.5 * weight + 0.5
        found, memory = change(rule, given, memory)
        without, _ = change(plain, given, plain.begin(net, torch.Generator()))
        common = 0.7 * 0.6 * errors.detach().sum((0, 1))[:, None] * running / weight / 4
        assert common.abs().max() > 1e-3
        torch.testing.assert_close(found, without - common, rtol=0, atol=1e-12)


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
    with pytest.raises(ValueError, match="baseline of 1, which lets no batch into the running mean"):
        RSTDP(centre=0.5, baseline=1.0)
    with pytest.raises(ValueError, match="got targets of none, wanted one class per sample"):
        RSTDP().accumulate(network(), Lesson(inputs(), lambda r: r.output.sum()), begin(network()))
