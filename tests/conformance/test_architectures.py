"""Every registered architecture: it builds, runs, and a gradient reaches each of its parameters."""

from __future__ import annotations

import pytest
import torch

from rheobase.kernels.constant import Constant
from rheobase.layers.network import Network
from rheobase.networks.base import Architecture
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.registry import build, catalogue, name_of
from rheobase.surrogate import Arctan

each = pytest.mark.parametrize("cls", list(catalogue(Architecture).values()))


def make(cls: type[Architecture], **options: object) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        neuron = LIF(surrogate=Arctan())  # no surrogate derivative is exactly 0
        return cls(**options).build((1, 8, 8), 3, neuron, LeakyIntegrator())


def inputs() -> Constant:
    return Constant(0.5 + torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)), 10)


@each
def test_builds_and_emits_one_value_per_output(cls: type[Architecture]) -> None:
    net = make(cls)
    assert net.last == "readout"
    record = net(inputs(), record=net.signals())
    assert record.output.shape == (10, 4, 3)
    for layer in net.spiking:
        spikes = record[f"{layer}.spikes"]
        assert set(spikes.unique().tolist()) <= {0.0, 1.0}
        assert spikes.detach().any(), f"{layer} is silent"


@each
@pytest.mark.parametrize("train_neurons", [(), ("tau_m", "threshold")])
def test_a_gradient_reaches_every_parameter(cls: type[Architecture], train_neurons: tuple[str, ...]) -> None:
    net = make(cls, train_neurons=train_neurons)
    net(inputs()).output.square().sum().backward()
    names = dict(net.named_parameters())
    assert names
    assert any(name.endswith("tau_m") for name in names) == bool(train_neurons)
    for name, parameter in names.items():
        if not parameter.requires_grad:  # fixed by the architecture
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@each
def test_same_seed_same_network(cls: type[Architecture]) -> None:
    a, b = make(cls).state_dict(), make(cls).state_dict()
    assert list(a) == list(b)
    assert all(torch.equal(a[name], b[name]) for name in a)


@each
def test_backends_and_recomputation_agree(cls: type[Architecture]) -> None:
    outcomes = []
    for options in ({"backend": "torch"}, {"backend": "numba"}, {"checkpoint_every": 4}):
        net = make(cls, **options)
        record = net(inputs())
        record.output.sum().backward()
        outcomes.append((record.output, [p.grad for p in net.parameters()]))
    for output, gradients in outcomes[1:]:
        torch.testing.assert_close(output, outcomes[0][0])
        for got, want in zip(gradients, outcomes[0][1], strict=True):
            torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4)


@each
def test_survives_a_file(cls: type[Architecture]) -> None:
    table = cls().to_dict()
    assert table["name"] == name_of(cls)
    assert build(Architecture, table) == cls()
