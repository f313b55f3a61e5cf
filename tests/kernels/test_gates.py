"""Gates of the derivative by what is emitted: which neurons and surrogates have them."""

from __future__ import annotations

import pytest

from rheobase.kernels.adjoint import adjoint
from rheobase.kernels.gates import gates
from rheobase.kernels.trace import trace
from rheobase.neurons.adaptive_lif import AdaptiveLIF
from rheobase.neurons.base import Neuron
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.surrogate import Boxcar, FastSigmoid, Sigmoid, Surrogate, Triangular


def gates_of(neuron: Neuron) -> list[str]:
    t = trace(neuron)
    found = gates(t, adjoint(t, emitted=True))
    return [t.tape.nodes[n].op for n in found]


@pytest.mark.parametrize("surrogate", [Triangular(), Boxcar(), Boxcar(width=2.0)])
@pytest.mark.parametrize("timing", ["immediate", "delayed"])
def test_a_surrogate_with_a_window_is_a_gate(surrogate: Surrogate, timing: str) -> None:
    assert len(gates_of(LIF(surrogate=surrogate, timing=timing))) == 1
    assert len(gates_of(AdaptiveLIF(surrogate=surrogate))) == 1


def test_a_triangle_is_told_by_its_condition() -> None:
    assert gates_of(LIF(surrogate=Triangular(width=2.0))) == ["ge"]
    assert gates_of(LIF(surrogate=Boxcar())) == ["where"]


@pytest.mark.parametrize("surrogate", [FastSigmoid(), Sigmoid()])
def test_one_that_is_nowhere_zero_is_none(surrogate: Surrogate) -> None:
    assert gates_of(LIF(surrogate=surrogate)) == []


def test_what_is_emitted_without_a_spike_has_none() -> None:
    assert gates_of(LeakyIntegrator()) == []
