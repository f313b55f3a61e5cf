"""The conductance-based neuron against its equations in NumPy, and laws of conductances."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from rheobase.kernels.groups import Group
from rheobase.kernels.recurrent import recurrent
from rheobase.kernels.sequence import Backend, sequence
from rheobase.neurons.ei_conductance_lif import EIConductanceLIF
from rheobase.neurons.lif import LIF

backends = pytest.mark.parametrize("backend", ["torch", "numba"])


def spike_input(steps: int, neurons: int, seed: int = 0) -> np.ndarray:
    """Poisson synaptic events: `[T, 1, 2 N]`, excitatory ones of 0.6 first, then inhibitory ones of 6.7."""
    rng = np.random.default_rng(seed)
    excitatory = 0.6 * rng.poisson(0.25, (steps, 1, neurons))
    inhibitory = 6.7 * rng.poisson(0.01, (steps, 1, neurons))
    return np.concatenate([excitatory, inhibitory], -1)


def numpy_run(
    x: np.ndarray, dt: float, scheme: str, synapse: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spikes, membrane and excitation, written down independently, neuron by neuron."""
    steps, _, width = x.shape
    n = width // 2
    spikes, membrane, excitation = (np.zeros((steps, n)) for _ in range(3))
    for k in range(n):
        v, ge, gi, silent_until = -60.0, 0.0, 0.0, -1
        for t in range(steps):
            old = (ge, gi)
            if scheme == "euler":
                ge += -ge * dt / 5.0 + x[t, 0, k]
                gi += -gi * dt / 10.0 + x[t, 0, n + k]
            else:
                ge = ge * math.exp(-dt / 5.0) + x[t, 0, k]
                gi = gi * math.exp(-dt / 10.0) + x[t, 0, n + k]
            e, i = (ge, gi) if synapse == "first" else old
            if t > silent_until:
                if scheme == "euler":
                    v += dt / 20.0 * ((-60.0 - v) + e * (0.0 - v) + i * (-80.0 - v))
                else:
                    goal = (-60.0 + e * 0.0 + i * -80.0) / (1 + e + i)
                    v = goal + (v - goal) * math.exp(-dt * (1 + e + i) / 20.0)
                if v > -50.0:
                    spikes[t, k], v, silent_until = 1.0, -60.0, t + round(5.0 / dt)
            membrane[t, k], excitation[t, k] = v, ge
    return spikes, membrane, excitation


@backends
@pytest.mark.parametrize("synapse", ["first", "last"])
@pytest.mark.parametrize(("scheme", "dt"), [("euler", 0.5), ("exponential", 0.5), ("exponential", 1.0)])
def test_against_numpy(scheme: str, dt: float, synapse: str, backend: Backend) -> None:
    x = spike_input(400, 5)
    spikes, membrane, excitation = numpy_run(x, dt, scheme, synapse)
    neuron = EIConductanceLIF(scheme=scheme, dt=dt, synapse=synapse)
    result = sequence(neuron, torch.from_numpy(x), record=["v", "g_e"], backend=backend)
    assert 0.005 < spikes.mean() < 0.2, "the trace tells nothing"
    assert np.array_equal(result.output[:, 0].numpy(), spikes)
    np.testing.assert_allclose(result.traces["v"][:, 0].numpy(), membrane, rtol=1e-10)
    np.testing.assert_allclose(result.traces["g_e"][:, 0].numpy(), excitation, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("scheme", "tolerance"), [("euler", 5e-3), ("exponential", 5e-3)])
def test_converges_to_the_differential_equation(scheme: str, tolerance: float) -> None:
    """Conductances that decay from 0.4 and 2 (no spikes), against scipy's integrator, at 30 ms."""

    def slope(_: float, y: np.ndarray) -> list[float]:
        v, ge, gi = y
        return [((-60 - v) + ge * (0 - v) + gi * (-80 - v)) / 20, -ge / 5, -gi / 10]

    exact = solve_ivp(slope, (0.0, 30.0), [-60.0, 0.4, 2.0], rtol=1e-10, atol=1e-10).y[0, -1]
    errors = []
    for dt in (0.1, 0.01):
        neuron = EIConductanceLIF(scheme=scheme, dt=dt, synapse="last")
        start = {
            name: torch.full((1, 1), value, dtype=torch.float64)
            for name, value in (("v", -60.0), ("g_e", 0.4), ("g_i", 2.0), ("refractory", 0.0))
        }
        x = torch.zeros(round(30.0 / dt), 1, 2, dtype=torch.float64)
        errors.append(abs(sequence(neuron, x, start, backend="torch").state["v"].item() - exact))
    assert errors[1] < tolerance
    assert errors[1] == pytest.approx(errors[0] / 10, rel=0.1)  # first order


def test_membrane_settles_between_the_reversal_potentials() -> None:
    """Constant conductances g: v_inf = (v_rest + g_e E_e + g_i E_i) / (1 + g_e + g_i)."""
    g_e, g_i = 2.0, 8.0
    neuron = EIConductanceLIF(threshold=10.0)
    x = torch.tensor([g_e * (1 - math.exp(-1 / 5.0)), g_i * (1 - math.exp(-1 / 10.0))], dtype=torch.float64)
    result = sequence(neuron, x.expand(400, 1, 2).contiguous(), record=["v", "g_e"], backend="torch")
    assert result.traces["g_e"][-1].item() == pytest.approx(g_e)
    assert result.traces["v"][-1].item() == pytest.approx((-60 + g_i * -80) / (1 + g_e + g_i))


@pytest.mark.parametrize("strength", [1.0, 1e3, 1e6])
def test_exponential_steps_are_stable_however_strong_the_input(strength: float) -> None:
    x = torch.full((100, 1, 2), strength, dtype=torch.float64)
    result = sequence(EIConductanceLIF(), x, record=["v"], backend="torch")
    assert bool(((result.traces["v"] >= -80.0) & (result.traces["v"] <= 0.0)).all())


@backends
def test_negative_input_counts_as_none(backend: Backend) -> None:
    x = torch.from_numpy(spike_input(100, 3))
    x[50:] = -1.0
    result = sequence(EIConductanceLIF(), x, record=["g_e", "g_i"], backend=backend)
    none = sequence(EIConductanceLIF(), x.clamp(min=0.0), record=["g_e", "g_i"], backend=backend)
    assert torch.equal(result.traces["g_e"], none.traces["g_e"])
    assert bool((result.traces["g_i"] >= 0).all())
    signed = sequence(EIConductanceLIF(rectify=False), x, record=["g_e"], backend=backend)
    assert bool((signed.traces["g_e"][-1] < 0).all())


def test_inhibition_shunts_it_does_not_subtract() -> None:
    """At E_i, an inhibitory synapse brings no current, but takes excitation its effect."""
    base = EIConductanceLIF(e_inhibitory=-60.0, refractory=0.0)
    quiet = torch.tensor([0.0, 5.0], dtype=torch.float64).expand(20, 1, 2)
    still = sequence(base, quiet, record=["v"], backend="torch").traces["v"]
    torch.testing.assert_close(still, torch.full_like(still, -60.0), rtol=1e-12, atol=0)
    ends = [
        sequence(
            base.replace(threshold=0.0),
            torch.tensor([0.2, g], dtype=torch.float64).expand(20, 1, 2),
            record=["v"],
            backend="torch",
        ).traces["v"][-1].item()
        for g in (0.0, 5.0)
    ]  # fmt: skip
    assert -60.0 < ends[1] < ends[0] - 10.0


@backends
def test_recurrent_weights_go_to_the_input_of_their_sign(backend: Backend) -> None:
    """Neuron 0 fires by itself; its weight to neuron 1 is +3, to neuron 2 it is -4."""
    neuron = EIConductanceLIF()
    weight = torch.zeros(3, 3, dtype=torch.float64)
    weight[1, 0], weight[2, 0] = 3.0, -4.0
    x = torch.zeros(3, 1, 6, dtype=torch.float64)
    x[0, 0, 0] = 20.0  # excitatory, neuron 0
    result = recurrent([Group("", neuron, 3)], x, weight, record=["g_e", "g_i"], backend=backend)
    assert result.output[0, 0].tolist() == [1, 0, 0]
    assert result.traces["g_e"][1, 0].tolist() == pytest.approx([20 * math.exp(-0.2), 3, 0])
    assert result.traces["g_i"][1, 0].tolist() == [0, 0, 4]


def test_a_threshold_below_rest_cannot_be_a_unit() -> None:
    with pytest.raises(ValueError, match=r"LIF\.threshold: got -50\.0, wanted more than v_rest"):
        LIF(threshold=-50.0, relative=True)
    assert LIF(threshold=-50.0, v_rest=-65.0, relative=True).relative


def test_reset_by_subtraction_takes_off_the_way_from_rest_to_threshold() -> None:
    neuron = LIF(threshold=-50.0, v_rest=-65.0, v_reset=-65.0, scaling="leak")
    result = sequence(neuron, torch.full((60, 1, 1), 20.0), record=["v"], backend="torch")
    v, spikes = result.traces["v"].flatten(), result.output.flatten()
    assert int(spikes.sum()) >= 2
    assert bool((v[spikes > 0] >= -65.0).all())
    assert bool((v[spikes > 0] < -64.0).all())
