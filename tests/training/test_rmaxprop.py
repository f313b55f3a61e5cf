"""RMaxProp: steps by hand, against the formula, with exact state; bounds on weights."""

from __future__ import annotations

import math

import pytest
import torch

from rheobase.networks.feed_forward import FeedForward
from rheobase.neurons.lif import LIF
from rheobase.training.experiment import Training
from rheobase.training.optimizers import (
    bounded_weights,
    keep_within,
    make_optimizer,
    optimizer_tensors,
    optimizer_values,
    restore_optimizer,
)
from rheobase.training.rmaxprop import GAMMA, RMaxProp


def weight(*values: float) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.tensor(values, dtype=torch.float64))


def test_the_first_step_with_a_gradient_is_r0_in_its_direction() -> None:
    w = weight(0.0, 0.0, 0.0)
    optimizer = RMaxProp([w], lr=0.25)
    w.grad = torch.tensor([0.0, 0.0, 0.0], dtype=torch.float64)
    optimizer.step()
    assert not w.any()
    w.grad = torch.tensor([3e-6, -200.0, 0.0], dtype=torch.float64)
    optimizer.step()
    assert w.tolist() == pytest.approx([-0.25, 0.25, 0.0], rel=1e-6)


def test_steps_are_those_of_the_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    w = weight(*([0.3] * 6))
    truth, v = w.detach().clone(), torch.zeros(6, dtype=torch.float64)
    optimizer = RMaxProp([w], lr=0.01)
    for _ in range(50):
        g = torch.randn(6, generator=generator, dtype=torch.float64)
        v = torch.maximum(g**2, GAMMA * v)
        truth -= 0.01 * g / (v.sqrt() + 1e-12)
        w.grad = g.clone()
        before = w.detach().clone()
        optimizer.step()
        assert (w - before).abs().max() <= 0.01 + 1e-15
    torch.testing.assert_close(w.detach(), truth, rtol=1e-12, atol=0)
    assert math.isclose(GAMMA, 0.98347, abs_tol=1e-5)


def test_small_gradients_do_not_underflow() -> None:
    w = torch.nn.Parameter(torch.zeros(1))
    optimizer = RMaxProp([w], lr=1.0, eps=0.0)
    for _ in range(3):
        w.grad = torch.tensor([1e-30])  # its square is 0 in single precision
        optimizer.step()
    assert w.item() == -3.0


def test_goes_on_to_the_same_bits() -> None:
    training = Training(optimizer="rmaxprop", learning_rate=0.1, smoothing=0.9)

    def steps(w: torch.nn.Parameter, optimizer: torch.optim.Optimizer, seeds: range) -> None:
        for seed in seeds:
            w.grad = torch.randn(4, generator=torch.Generator().manual_seed(seed))
            optimizer.step()

    whole = torch.nn.Parameter(torch.zeros(4))
    steps(whole, make_optimizer(training, [whole]), range(6))
    cut = torch.nn.Parameter(torch.zeros(4))
    first = make_optimizer(training, [cut])
    steps(cut, first, range(3))
    second = make_optimizer(training, [cut])
    restore_optimizer(second, optimizer_tensors(first), optimizer_values(first))
    assert second.param_groups[0]["decay"] == 0.9
    steps(cut, second, range(3, 6))
    assert torch.equal(cut, whole)


def test_what_it_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="wanted 0 for both, which it does not know"):
        make_optimizer(Training(optimizer="rmaxprop", momentum=0.5), [weight(1.0)])
    with pytest.raises(ValueError, match=r"RMaxProp.decay: got 1.5, wanted 0 to 1"):
        RMaxProp([weight(1.0)], decay=1.5)


def test_bounds_are_those_of_weights_alone() -> None:
    network = FeedForward(hidden=(3,), excitatory=0.5).build((2,), 2, LIF(), LIF())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(5.0)
    keep_within(bounded_weights(0.2, network), 0.2)
    for name, parameter in network.named_parameters():
        assert parameter.max().item() == pytest.approx(5.0 if name.endswith("bias") else 0.2), name
    assert bounded_weights(None, network) == []
