"""The layer of neurons: state is explicit, parameters are trainable."""

from __future__ import annotations

import copy

import pytest
import torch

from rheobase.kernels.constant import Constant
from rheobase.kernels.sequence import sequence
from rheobase.layers.neurons import Neurons
from rheobase.layers.population import is_spiking
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.neurons.synaptic_integrator import SynapticIntegrator
from rheobase.neurons.synaptic_lif import SynapticLIF
from rheobase.registry import catalogue
from rheobase.surrogate import FastSigmoid, smoothed

X = 2 * torch.rand(10, 2, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("backend", ["auto", "numba", "torch"])
def test_equals_the_sequence(backend: str) -> None:
    run = Neurons(SynapticLIF(), backend=backend)(X, record=["v"])  # type: ignore[arg-type]
    expected = sequence(SynapticLIF(), X, record=["v"], backend="torch")
    assert torch.equal(run.output, expected.output)
    assert torch.equal(run.traces["v"], expected.traces["v"])
    assert {name: x.shape for name, x in run.state.items()} == {"v": (2, 3), "i": (2, 3)}


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_a_trained_parameter_can_be_used_twice_before_the_gradient(backend: str) -> None:
    layer = Neurons(LIF(), trainable=["resistance"], size=3, backend=backend)  # type: ignore[arg-type]
    x = torch.full((4, 1, 3), 0.1)
    first = layer(x, record=["v"])
    second = layer(x, first.state, record=["v"])
    (first.traces["v"].sum() + second.traces["v"].sum()).backward()
    whole = Neurons(LIF(), trainable=["resistance"], size=3, backend=backend)  # type: ignore[arg-type]
    whole(torch.cat([x, x]), record=["v"]).traces["v"].sum().backward()
    torch.testing.assert_close(layer.resistance.grad, whole.resistance.grad)


def test_keeps_no_state_between_calls() -> None:
    layer = Neurons(LIF())
    assert torch.equal(layer(X).output, layer(X).output)
    first = layer(X[:4])
    rest = layer(X[4:], first.state)
    assert torch.equal(torch.cat([first.output, rest.output]), layer(X).output)


def test_constant_input() -> None:
    layer = Neurons(LIF())
    assert torch.equal(layer(Constant(X[0], 6)).output, layer(X[:1].expand(6, 2, 3)).output)


def test_trainable_parameters_per_neuron_and_shared() -> None:
    per_neuron = Neurons(LIF(), trainable=["tau_m", "threshold"], size=3)
    assert {n: tuple(p.shape) for n, p in per_neuron.named_parameters()} == {"tau_m": (3,), "threshold": (3,)}
    shared = Neurons(LIF(), trainable=["threshold"])
    assert shared.threshold.shape == ()
    assert torch.equal(per_neuron(X).output, Neurons(LIF())(X).output)
    for layer in (per_neuron, shared):
        layer(X, record=["v"]).traces["v"].sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.parameters())


def test_a_parameter_is_used_as_it_is_now() -> None:
    layer = Neurons(LIF(), trainable=["threshold"])
    before = layer(X).output
    with torch.no_grad():
        layer.threshold.fill_(0.3)
    assert torch.equal(layer(X).output, sequence(LIF(threshold=torch.tensor(0.3)), X).output)
    assert layer(X).output.detach().sum() > before.detach().sum()


def test_fixed_values_per_neuron_are_buffers() -> None:
    layer = Neurons(LIF(threshold=[0.5, 1.0, 2.0]))
    assert list(dict(layer.named_buffers())) == ["threshold"]
    assert not list(layer.parameters())
    assert layer.bound().threshold is layer.threshold
    moved = layer.double()
    assert moved(X.double()).output.dtype is torch.float64


def test_a_copy_is_independent() -> None:
    layer = Neurons(LIF(), trainable=["threshold"])
    layer(X)
    other = copy.deepcopy(layer)
    with torch.no_grad():
        other.threshold.fill_(100.0)
    assert layer(X).output.detach().any()
    assert not other(X).output.detach().any()


@pytest.mark.parametrize("per_neuron", [False, True])
def test_checkpointing_changes_no_result(per_neuron: bool) -> None:
    outcomes = []
    for every in (None, 3):
        layer = Neurons(LIF(), trainable=["tau_m"], size=3 if per_neuron else None, checkpoint_every=every)
        x = X.clone().requires_grad_()
        run = layer(x, record=["v"])
        outcomes.append([run.output, *torch.autograd.grad(run.traces["v"].square().sum(), [x, layer.tau_m])])
    assert torch.equal(outcomes[0][0], outcomes[1][0])
    assert torch.equal(outcomes[0][1], outcomes[1][1])
    torch.testing.assert_close(outcomes[0][2], outcomes[1][2])


def test_what_spikes() -> None:
    from rheobase.neurons.base import Neuron

    for cls in catalogue(Neuron).values():
        assert is_spiking(cls()) == hasattr(cls(), "surrogate")
    assert not Neurons(LeakyIntegrator()).spiking
    assert not Neurons(SynapticIntegrator()).spiking


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"unknown parameter of LIF 'tau'.*did you mean 'tau_m'"):
        Neurons(LIF(), trainable=["tau"])
    with pytest.raises(ValueError, match=r"unknown state variable 'u'"):
        Neurons(LIF())(X, record=["u"])
    with pytest.raises(ValueError, match="checkpoint_every: got 0"):
        Neurons(LIF(), checkpoint_every=0)(X)
    with pytest.raises(ValueError, match="wanted one number or one per neuron"):
        Neurons(LIF(), trainable=["tau_m"], size=4)(X)


def test_smoothed_neurons_still_run() -> None:
    output = Neurons(LIF(surrogate=smoothed(FastSigmoid(slope=1.0)), detach=False))(X).output
    assert output.unique().numel() > 2
