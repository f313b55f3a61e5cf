"""Threshold, reset, refractoriness and their order, by hand-computed values and laws."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rheobase.kernels.sequence import sequence
from rheobase.neurons.base import Neuron, State, time_constant
from rheobase.neurons.integrate_and_fire import IntegrateAndFire
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.neurons.spiking import SpikingNeuron
from rheobase.registry import catalogue

SPIKING = [cls for cls in catalogue(Neuron).values() if issubclass(cls, SpikingNeuron)]
TIMINGS = ["immediate", "delayed", "old", "late"]


def trace(neuron: Neuron, *inputs: float) -> tuple[list[float], list[float]]:
    """Spikes and membrane of one neuron."""
    current = torch.tensor(inputs, dtype=torch.float64).reshape(-1, 1, 1).repeat(1, 1, len(neuron.inputs))
    run = sequence(neuron, current, record=["v"], backend="torch")
    return run.output.flatten().tolist(), run.traces["v"].flatten().tolist()


@pytest.mark.parametrize(
    ("timing", "reset", "spikes", "membrane"),
    [
        # An integrate-and-fire neuron, threshold 1, with input .75, .75, .5, 0:
        # it is at .75, then crosses at 1.5.
        ("immediate", "subtract", [0, 1, 0, 0], [0.75, 0.5, 1.0, 1.0]),
        ("delayed", "subtract", [0, 1, 0, 0], [0.75, 1.5, 1.0, 1.0]),
        ("old", "subtract", [0, 0, 1, 0], [0.75, 1.5, 1.0, 1.0]),
        ("immediate", "value", [0, 1, 0, 0], [0.75, -0.25, 0.25, 0.25]),
        ("old", "value", [0, 0, 1, 0], [0.75, 1.5, -0.25, -0.25]),
        ("immediate", "none", [0, 1, 1, 1], [0.75, 1.5, 2.0, 2.0]),
        ("delayed", "none", [0, 1, 1, 1], [0.75, 1.5, 2.0, 2.0]),
        ("old", "none", [0, 0, 1, 1], [0.75, 1.5, 2.0, 2.0]),
        # One crossing fires twice, as it is reset two steps after it; and the reset comes twice.
        ("late", "subtract", [0, 0, 1, 1], [0.75, 1.5, 2.0, 1.0]),
        ("late", "value", [0, 0, 1, 1], [0.75, 1.5, 2.0, -0.25]),
        ("late", "none", [0, 0, 1, 1], [0.75, 1.5, 2.0, 2.0]),
    ],
)
def test_the_four_orders(timing: str, reset: str, spikes: list[float], membrane: list[float]) -> None:
    neuron = IntegrateAndFire(timing=timing, reset=reset, v_reset=-0.25)
    assert trace(neuron, 0.75, 0.75, 0.5, 0.0) == (spikes, membrane)


@pytest.mark.parametrize("timing", TIMINGS)
def test_strict_threshold_at_equality(timing: str) -> None:
    late = 1 if timing in ("old", "late") else 0
    strict, _ = trace(IntegrateAndFire(timing=timing, strict=True), 0.5, 0.5, 0.0, 0.0)
    assert strict == [0, 0, 0, 0]
    loose, _ = trace(IntegrateAndFire(timing=timing, strict=False), 0.5, 0.5, 0.0, 0.0)
    assert loose.index(1.0) == 1 + late
    assert sum(loose) == (2 if timing == "late" else 1)


def test_distance_in_units_of_the_threshold_changes_the_gradient_only() -> None:
    x = torch.full((1, 1, 1), 0.25, dtype=torch.float64)
    gradients = []
    for relative in (False, True):
        current = x.clone().requires_grad_()
        neuron = IntegrateAndFire(threshold=0.5, relative=relative, surrogate="triangular")
        run = sequence(neuron, current, backend="torch")
        run.output.sum().backward()
        assert run.output.item() == 0.0
        assert current.grad is not None
        gradients.append(current.grad.item())
    assert gradients == pytest.approx([0.3 * (1 - 0.25), 0.3 * (1 - 0.5) / 0.5])


@settings(deadline=None, max_examples=60)
@given(
    data=st.data(),
    cls=st.sampled_from(SPIKING),
    timing=st.sampled_from(TIMINGS),
    mode=st.sampled_from(["hold", "mute"]),
    reset=st.sampled_from(["subtract", "value", "none"]),
    silent=st.integers(0, 5),
    dt=st.sampled_from([1.0, 0.5, 0.1]),
)
def test_at_least_n_silent_steps_after_a_spike(
    data: st.DataObject,
    cls: type[SpikingNeuron],
    timing: str,
    mode: str,
    reset: str,
    silent: int,
    dt: float,
) -> None:
    neuron = cls(timing=timing, refractory=silent * dt, refractory_mode=mode, reset=reset, dt=dt)
    values = data.draw(st.lists(st.floats(-1.0, 60.0), min_size=8, max_size=24))
    spikes, _ = trace(neuron, *values)
    times = [t for t, z in enumerate(spikes) if z]
    assert all(later - earlier > silent for earlier, later in itertools.pairwise(times))


@pytest.mark.parametrize("silent", [0, 1, 2, 4])
@pytest.mark.parametrize("mode", ["hold", "mute"])
@pytest.mark.parametrize("timing", TIMINGS)
def test_exactly_n_silent_steps_under_strong_drive(timing: str, mode: str, silent: int) -> None:
    neuron = IntegrateAndFire(timing=timing, refractory=float(silent), refractory_mode=mode)
    spikes, _ = trace(neuron, *[100.0] * 21)
    first = 1 if timing in ("old", "late") else 0
    assert [t for t, z in enumerate(spikes) if z] == list(range(first, 21, silent + 1))


@pytest.mark.parametrize(
    ("mode", "membrane"),
    [("hold", [0.25, 0.25, 0.25, 0.75]), ("mute", [0.25, 0.75, 1.25, 0.75])],
)
def test_membrane_while_refractory(mode: str, membrane: list[float]) -> None:
    neuron = IntegrateAndFire(refractory=2.0, refractory_mode=mode)
    spikes, v = trace(neuron, 1.25, 0.5, 0.5, 0.5)
    assert v == membrane
    assert spikes == [1, 0, 0, 0 if mode == "hold" else 1]


@pytest.mark.parametrize("mode", ["hold", "mute"])
def test_no_gradient_through_a_spike_while_refractory(mode: str) -> None:
    current = torch.tensor([1.5, 0.4, 0.4], dtype=torch.float64).reshape(3, 1, 1).requires_grad_()
    run = sequence(IntegrateAndFire(refractory=2.0, refractory_mode=mode), current, backend="torch")
    (gradient,) = torch.autograd.grad(run.output[1:].sum(), current)
    assert gradient.abs().sum() == 0


@settings(deadline=None, max_examples=40)
@given(
    cls=st.sampled_from(list(catalogue(Neuron).values())),
    timing=st.sampled_from(TIMINGS),
    refractory=st.sampled_from([0.0, 2.0]),
    cut=st.integers(1, 11),
    seed=st.integers(0, 1000),
)
def test_going_on_from_a_state_equals_never_stopping(
    cls: type[Neuron], timing: str, refractory: float, cut: int, seed: int
) -> None:
    options = {"timing": timing, "refractory": refractory} if issubclass(cls, SpikingNeuron) else {}
    neuron = cls(**options)
    width = 3 * len(neuron.inputs)
    current = 2.0 * torch.rand(12, 2, width, generator=torch.Generator().manual_seed(seed))
    record = tuple(neuron.initial())
    whole = sequence(neuron, current, record=record, backend="torch")
    first = sequence(neuron, current[:cut], record=record, backend="torch")
    second = sequence(neuron, current[cut:], first.state, record=record, backend="torch")
    assert torch.equal(torch.cat([first.output, second.output]), whole.output)
    for name in record:
        assert torch.equal(torch.cat([first.traces[name], second.traces[name]]), whole.traces[name])
        assert torch.equal(second.state[name], whole.state[name])
        assert torch.equal(whole.state[name], whole.traces[name][-1])


@settings(deadline=None, max_examples=40)
@given(
    tau=st.floats(1.5, 200.0),
    dt=st.sampled_from([0.1, 1.0]),
    current=st.floats(-3.0, 3.0),
    resistance=st.floats(0.1, 4.0),
    rest=st.floats(-70.0, 1.0),
)
def test_charging_follows_the_exponential(
    tau: float, dt: float, current: float, resistance: float, rest: float
) -> None:
    """v(t) = v_rest + R I (1 - exp(-t/tau)), for any step, with the exponential scheme."""
    neuron = LIF(
        tau_m=tau, dt=dt, resistance=resistance, v_rest=rest, scaling="leak", reset="none", threshold=100.0
    )
    _, v = trace(neuron, *[current] * 50)
    expected = [rest + resistance * current * (1 - math.exp(-(step + 1) * dt / tau)) for step in range(50)]
    assert v == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("scheme", ["exponential", "euler"])
@pytest.mark.parametrize("cls", [LIF, LeakyIntegrator])
def test_membrane_settles_at_resistance_times_current(cls: type[Neuron], scheme: str) -> None:
    extra = {"threshold": 10.0} if cls is LIF else {}
    neuron = cls(tau_m=5.0, resistance=3.0, scaling="leak", scheme=scheme, **extra)
    _, v = trace(neuron, *[0.5] * 400)
    assert v[-1] == pytest.approx(1.5, rel=1e-12)


def test_leaky_integrator_sums_decayed_input() -> None:
    """v_t = sum over s of a^(t-s) I_s with scaling "unit"."""
    inputs = [1.0, 0.0, -2.0, 0.5, 0.0]
    decay = math.exp(-1.0 / 10.0)
    _, v = trace(LeakyIntegrator(tau_m=10.0), *inputs)
    expected = [sum(decay ** (t - s) * inputs[s] for s in range(t + 1)) for t in range(5)]
    assert v == pytest.approx(expected, rel=1e-12)


def test_euler_and_exponential_meet_for_small_steps() -> None:
    ends = []
    for scheme in ("exponential", "euler"):
        neuron = LeakyIntegrator(tau_m=10.0, dt=0.001, scaling="leak", scheme=scheme)
        ends.append(trace(neuron, *[1.0] * 2000)[1][-1])
    assert ends[0] == pytest.approx(1 - math.exp(-0.2), rel=1e-9)
    assert ends[1] == pytest.approx(ends[0], rel=1e-4)


@given(decay=st.floats(0.01, 0.999), dt=st.floats(0.01, 10.0))
def test_time_constant_inverts_the_decay(decay: float, dt: float) -> None:
    assert math.exp(-dt / time_constant(decay, dt)) == pytest.approx(decay, rel=1e-12)


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.5, 2.0])
def test_a_decay_must_be_a_fraction(decay: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        time_constant(decay)


def test_refractory_must_be_whole_steps() -> None:
    with pytest.raises(ValueError, match=r"LIF\.refractory: got 1\.3 ms.*whole number .* 0\.5 ms"):
        LIF(dt=0.5, refractory=1.3)
    assert LIF(dt=0.1, refractory=0.3).refractory_steps == 3


@pytest.mark.parametrize("cls", list(catalogue(Neuron).values()))
def test_the_state_at_rest_stays_at_rest(cls: type[Neuron]) -> None:
    neuron = cls()
    state = State({k: torch.full((1, 1), float(v)) for k, v in neuron.initial().items()})
    after, emitted = neuron.step(state, neuron.gather([torch.zeros(1, 1)] * len(neuron.inputs)))
    assert float(emitted) == 0.0
    assert all(torch.equal(after[name], state[name]) for name in state)


def test_a_missing_state_variable_is_named() -> None:
    with pytest.raises(AttributeError, match="no state variable 'w'; this state has v, i"):
        _ = State(v=0.0, i=0.0).w


def test_parameters_may_differ_per_neuron() -> None:
    thresholds: Tensor = torch.tensor([0.5, 1.5, 2.5])
    run = sequence(IntegrateAndFire(threshold=thresholds), torch.ones(3, 1, 3), backend="torch")
    assert run.output[:, 0].T.tolist() == [[1, 1, 1], [0, 1, 0], [0, 0, 1]]
