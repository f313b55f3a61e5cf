"""The forward gradient against backpropagation: the same derivative, along any direction."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rheobase.kernels.constant import Constant
from rheobase.layers.network import Network, Record
from rheobase.networks.base import Architecture
from rheobase.networks.convolutional import Convolutional
from rheobase.networks.feed_forward import FeedForward
from rheobase.networks.recurrent import Recurrent
from rheobase.neurons.adaptive_lif import AdaptiveLIF
from rheobase.neurons.base import Neuron
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.rules.base import Lesson
from rheobase.rules.bptt import BPTT
from rheobase.rules.forward_gradient import ForwardGradient, derivative
from rheobase.surrogate import Arctan

HIDDEN = LIF(surrogate=Arctan())


def objective(record: Record) -> Tensor:
    loss = torch.nn.functional.cross_entropy(record["readout.v"].amax(0), torch.tensor([0, 1, 2, 0]))
    spikes = next(signal for name, signal in record.signals.items() if name.endswith(".spikes"))
    return loss + 0.01 * spikes.sum(0).square().mean()


def lesson(net: Network, inputs: Tensor | Constant) -> Lesson:
    return Lesson(inputs, objective, ("readout.v", f"{net.spiking[0]}.spikes"))


def some(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def built(architecture: Architecture, shape: tuple[int, ...], neuron: Neuron) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return architecture.build(shape, 3, neuron, LeakyIntegrator())


CASES: dict[str, tuple[Network, Tensor | Constant]] = {
    "time constants": (
        built(FeedForward(hidden=(8, 6), gain=3.0, train_neurons=("tau_m",)), (5,), HIDDEN),
        some(10, 4, 5),
    ),
    "constant input": (built(FeedForward(hidden=(8,), gain=3.0), (5,), HIDDEN), Constant(some(4, 5), 10)),
    "adaptive": (
        built(FeedForward(hidden=(8,), gain=3.0), (5,), AdaptiveLIF(surrogate=Arctan())),
        some(10, 4, 5),
    ),
    "delays": (built(FeedForward(hidden=(8,), gain=3.0, forward_delay=3.0), (5,), HIDDEN), some(10, 4, 5)),
    "recurrent": (built(Recurrent(hidden=(8,), gain=3.0), (5,), HIDDEN), some(10, 4, 5)),
    "convolutional": (
        built(Convolutional(channels=(2,), kernel=3, hidden=()), (1, 8, 8), HIDDEN),
        some(10, 4, 1, 8, 8),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_the_derivative_that_backpropagation_finds(case: str) -> None:
    net, inputs = CASES[case]
    net.zero_grad()
    exact = BPTT().accumulate(net, lesson(net, inputs), {})
    noise = torch.Generator().manual_seed(2)
    direction = {name: torch.randn(p.shape, generator=noise) for name, p in net.named_parameters()}
    before = [layer.backend for layer in net.neurons().values()]
    seen, loss, slope = derivative(net, lesson(net, inputs), direction)
    assert [layer.backend for layer in net.neurons().values()] == before
    wanted = torch.zeros(())
    for name, p in net.named_parameters():
        assert p.grad is not None
        wanted = wanted + (p.grad * direction[name]).sum()
    assert wanted.abs() > 0.01
    torch.testing.assert_close(slope, wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(loss, exact.loss)
    for name, signal in seen.signals.items():
        torch.testing.assert_close(signal, exact.record[name])


def test_its_mean_is_the_gradient() -> None:
    net, inputs = CASES["constant input"]
    net.zero_grad()
    BPTT().accumulate(net, lesson(net, inputs), {})
    exact = _direction(net)
    net.zero_grad()
    rule = ForwardGradient(directions=200)
    rule.accumulate(net, lesson(net, inputs), rule.begin(net, torch.Generator().manual_seed(0)))
    found = _direction(net)
    # Each entry has a variance of (|g|^2 + g_i^2) / 200: the error of all of them is known.
    error = (found - exact).square().sum()
    expected = (len(exact) + 1) * exact.square().sum() / 200
    assert 0.6 * expected < error < 1.6 * expected
    assert torch.dot(found, exact) == pytest.approx(float(exact.square().sum()), rel=0.3)


def test_directions_come_from_the_memory_alone() -> None:
    net, inputs = CASES["constant input"]
    rule = ForwardGradient(directions=2)
    memory = rule.begin(net, torch.Generator().manual_seed(0))
    found = []
    for _ in "ab":
        net.zero_grad()
        outcome = rule.accumulate(net, lesson(net, inputs), memory)
        found.append(_direction(net))
    assert torch.equal(*found)
    net.zero_grad()
    rule.accumulate(net, lesson(net, inputs), outcome.memory)
    assert not torch.equal(_direction(net), found[0])


def _direction(net: Network) -> Tensor:
    return torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
