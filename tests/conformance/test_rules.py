"""Every registered learning rule: fills `.grad` of what can be trained, and does nothing else."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor

from rheobase.config import fields_of
from rheobase.kernels.constant import Constant
from rheobase.layers.network import Network, Record
from rheobase.networks.feed_forward import FeedForward
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.registry import build, catalogue, name_of
from rheobase.rules.base import Kind, LearningRule, Lesson, Outcome
from rheobase.surrogate import Arctan

each = pytest.mark.parametrize("cls", list(catalogue(LearningRule).values()))
SIGNALS = ("readout.v", "hidden1.spikes")


def network(rule: LearningRule) -> Network:
    """With trained time constants, unless the rule says that it cannot train such a network."""

    def build(trained: tuple[str, ...]) -> Network:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            architecture = FeedForward(hidden=(8,), gain=3.0, train_neurons=trained)
            return architecture.build((5,), 3, LIF(surrogate=Arctan()), LeakyIntegrator())

    try:
        rule.begin(build(("tau_m",)), torch.Generator().manual_seed(0))
    except ValueError:
        return build(())
    return build(("tau_m",))


def inputs() -> Constant:
    return Constant(torch.rand(4, 5, generator=torch.Generator().manual_seed(0)), 10)


def objective(record: Record) -> Tensor:
    scores = record["readout.v"].amax(0)
    loss = torch.nn.functional.cross_entropy(scores, torch.tensor([0, 1, 2, 0]))
    return loss + 0.01 * record["hidden1.spikes"].sum(0).square().mean()


def learn(rule: LearningRule, net: Network) -> Outcome:
    memory = rule.begin(net, torch.Generator().manual_seed(0))
    return rule.accumulate(net, Lesson(inputs(), objective, SIGNALS, torch.tensor([0, 1, 2, 0])), memory)


@each
def test_fills_every_gradient_and_steps_nothing(cls: type[LearningRule]) -> None:
    net = network(cls())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    outcome = learn(cls(), net)
    trained = cls().trained(net)
    assert "layers.dense1.weight" in trained
    for name, parameter in net.named_parameters():
        if name not in trained:
            assert parameter.grad is None, name
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.shape == parameter.shape
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name
    after = net.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    with torch.no_grad():
        expected = objective(net(inputs(), record=SIGNALS))
    torch.testing.assert_close(outcome.loss, expected)
    assert not outcome.loss.requires_grad
    assert set(outcome.record.signals) == set(SIGNALS)
    assert not outcome.record.output.requires_grad
    assert not any(x.requires_grad for x in outcome.record.signals.values())
    assert not any(x.requires_grad for s in outcome.record.state.values() for x in s.values())


@each
def test_frozen_parameters_stay_without_gradient(cls: type[LearningRule]) -> None:
    net = network(cls())
    frozen = net.layers["dense1"].weight
    frozen.requires_grad_(False)
    learn(cls(), net)
    assert frozen.grad is None
    assert net.layers["dense2"].weight.grad is not None


@each
def test_gradients_accumulate(cls: type[LearningRule]) -> None:
    net = network(cls())
    learn(cls(), net)
    once = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    learn(cls(), net)
    assert once
    for name, gradient in once.items():
        torch.testing.assert_close(net.get_parameter(name).grad, 2 * gradient)


@each
def test_declares_its_kind_and_survives_a_file(cls: type[LearningRule]) -> None:
    assert cls().kind in get_args(Kind)
    assert cls().to_dict()["name"] == name_of(cls)
    assert build(LearningRule, cls().to_dict()) == cls()


@each
def test_says_what_it_trains_and_what_it_costs(cls: type[LearningRule]) -> None:
    assert cls.trains
    assert cls.cost


@each
def test_what_is_kept_of_each_sample_is_not_divided(cls: type[LearningRule]) -> None:
    """Processes that divide a batch may not each keep state of their own samples: it has no average."""
    if "continuous" in {f.name for f in fields_of(cls)}:
        assert cls(continuous=True).divides == "nothing"  # type: ignore[call-arg]
        assert cls(continuous=False).divides == "samples"  # type: ignore[call-arg]
    else:
        assert cls().divides in {"samples", "members"}
