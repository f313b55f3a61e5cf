"""Delayed reset to a value, with a refractory period in which the membrane is held."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rheobase.kernels.sequence import sequence
from rheobase.neurons.base import Neuron
from rheobase.neurons.integrate_and_fire import IntegrateAndFire
from rheobase.neurons.lif import LIF
from rheobase.neurons.spiking import SpikingNeuron
from rheobase.registry import catalogue

SPIKING = [cls for cls in catalogue(Neuron).values() if issubclass(cls, SpikingNeuron)]


def trace(neuron: Neuron, inputs: list[float], *names: str) -> list[list[float]]:
    """Spikes, and the state variables asked for, of one neuron."""
    current = torch.tensor(inputs, dtype=torch.float64).reshape(-1, 1, 1).repeat(1, 1, len(neuron.inputs))
    run = sequence(neuron, current, record=names, backend="torch")
    return [run.output.flatten().tolist(), *(run.traces[name].flatten().tolist() for name in names)]


@pytest.mark.parametrize(
    ("n", "membrane", "counter"),
    [
        # Input .5 at each step: .5, 1, 1.5 (a spike); then at -.25 for n steps, then on from there.
        (1, [0.5, 1.0, 1.5, -0.25, 0.25, 0.75, 1.25, -0.25], [0, 0, 0, 1, 0, 0, 0, 1]),
        (2, [0.5, 1.0, 1.5, -0.25, -0.25, 0.25, 0.75, 1.25], [0, 0, 0, 2, 1, 0, 0, 0]),
        (4, [0.5, 1.0, 1.5, -0.25, -0.25, -0.25, -0.25, 0.25], [0, 0, 0, 4, 3, 2, 1, 0]),
    ],
)
def test_by_hand(n: int, membrane: list[float], counter: list[float]) -> None:
    neuron = IntegrateAndFire(timing="delayed", reset="value", v_reset=-0.25, refractory=float(n))
    spikes, v, left = trace(neuron, [0.5] * 8, "v", "refractory")
    assert v == membrane
    assert left == counter
    assert spikes == [float(x > 1.0) for x in membrane]


def test_without_a_refractory_period_it_integrates_from_the_reset_value_at_once() -> None:
    neuron = IntegrateAndFire(timing="delayed", reset="value", v_reset=-0.25)
    _, v = trace(neuron, [0.5] * 5, "v")
    assert v == [0.5, 1.0, 1.5, 0.25, 0.75]


@settings(deadline=None, max_examples=80)
@given(
    cls=st.sampled_from(SPIKING),
    n=st.integers(1, 5),
    v_reset=st.sampled_from([-0.5, 0.0, 0.25]),
    detach=st.booleans(),
    dt=st.sampled_from([1.0, 0.5]),
    inputs=st.lists(st.floats(-1.0, 60.0), min_size=4, max_size=24),
)
def test_held_at_the_reset_value_for_exactly_n_steps(
    cls: type[SpikingNeuron], n: int, v_reset: float, detach: bool, dt: float, inputs: list[float]
) -> None:
    neuron = cls(timing="delayed", reset="value", v_reset=v_reset, refractory=n * dt, dt=dt, detach=detach)
    inputs = [60.0, *inputs]
    spikes, v, left = trace(neuron, inputs, "v", "refractory")
    times = [t for t, z in enumerate(spikes) if z]
    assert times, "the case tells nothing"
    for t in times:
        assert v[t] > neuron.threshold  # the crossing shows
        assert v[t + 1 : t + 1 + n] == [v_reset] * len(v[t + 1 : t + 1 + n])
        assert left[t + 1 : t + 1 + n] == [float(n - i) for i in range(len(left[t + 1 : t + 1 + n]))]
    assert all(b - a > n for a, b in itertools.pairwise(times))


@pytest.mark.parametrize("n", [1, 3])
def test_then_it_moves_on_from_there(n: int) -> None:
    """One step after the period, the membrane is one ordinary step away from the reset value."""
    neuron = LIF(tau_m=10.0, timing="delayed", reset="value", v_reset=-0.5, refractory=float(n))
    _, v = trace(neuron, [1.5, *[9.0] * n, 0.75], "v")
    free = LIF(tau_m=10.0, v_rest=0.0, reset="none")
    start = {"v": torch.full((1, 1), -0.5, dtype=torch.float64)}
    after = sequence(
        free, torch.full((1, 1, 1), 0.75, dtype=torch.float64), start, record=["v"], backend="torch"
    )
    assert v[1 : 1 + n] == [-0.5] * n
    assert v[1 + n] == after.traces["v"].item()


def test_input_in_the_period_has_no_influence() -> None:
    current = torch.tensor([1.5, 0.3, 0.7, 0.2, 0.1], dtype=torch.float64).reshape(5, 1, 1).requires_grad_()
    neuron = LIF(timing="delayed", reset="value", refractory=2.0, detach=False)
    run = sequence(neuron, current, record=["v"], backend="torch")
    (gradient,) = torch.autograd.grad(run.traces["v"][-1].sum(), current)
    assert run.output.flatten().tolist() == [1, 0, 0, 0, 0]
    assert gradient.flatten()[1:3].tolist() == [0.0, 0.0]
    assert float(gradient[3]) > 0
