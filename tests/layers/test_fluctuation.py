"""Fluctuation-driven weights: membranes move as the closed formulas say, in a simulation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rheobase.kernels.constant import Constant
from rheobase.layers.dense import Dense
from rheobase.layers.fluctuation import Input, Regime, Weighting, draw, fluctuate, fluctuating, response
from rheobase.layers.network import Network
from rheobase.layers.neurons import Neurons
from rheobase.layers.over_time import OverTime
from rheobase.layers.recurrent import Recurrent
from rheobase.networks.feed_forward import FeedForward
from rheobase.networks.recurrent import Recurrent as RecurrentNetwork
from rheobase.neurons.adaptive_lif import AdaptiveLIF
from rheobase.neurons.base import State
from rheobase.neurons.conductance_lif import ConductanceLIF
from rheobase.neurons.integrate_and_fire import IntegrateAndFire
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.neurons.spiking import SpikingNeuron
from rheobase.neurons.synaptic_lif import SynapticLIF
from rheobase.operators import Value
from rheobase.training.experiment import Experiment
from rheobase.training.setup import initial_network

A, B = math.exp(-1 / 10), math.exp(-1 / 5)
FREE = {"reset": "none"}  # the membrane as it were without spikes


class Quadratic(LIF):
    """A membrane whose leak grows with its distance from rest."""

    def integrate(self, state: State, current: Value) -> State:
        return State(v=0.9 * state.v - 0.01 * state.v * state.v + current)


def spikes(rate: float, dt: float, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < rate * dt / 1000).float()


def moments(neuron: SpikingNeuron, current: Tensor) -> tuple[float, float]:
    """Mean of the membrane, and its standard deviation over time, after a start of 200 steps."""
    v = Neurons(neuron, backend="torch")(current, record=["v"]).traces["v"][200:]
    return float(v.mean()), float(v.var(0, unbiased=False).mean().sqrt())


@pytest.mark.parametrize(
    ("neuron", "e1", "e2"),
    [
        (LIF(tau_m=10.0), 1 / (1 - A), 1 / (1 - A * A)),
        (LIF(tau_m=10.0, scaling="leak", resistance=3.0), 3.0, 9.0 * (1 - A) / (1 + A)),
        (LIF(tau_m=10.0, v_rest=-60.0, threshold=-50.0), 1 / (1 - A), 1 / (1 - A * A)),
        (
            SynapticLIF(tau_m=10.0, tau_s=5.0),
            1 / ((1 - A) * (1 - B)),
            (1 + A * B) / ((1 - A * A) * (1 - B * B) * (1 - A * B)),
        ),
        (
            SynapticLIF(tau_m=10.0, tau_s=5.0, synapse="last"),
            1 / ((1 - A) * (1 - B)),
            (1 + A * B) / ((1 - A * A) * (1 - B * B) * (1 - A * B)),
        ),
        (AdaptiveLIF(tau_m=10.0), 1 / (1 - A), 1 / (1 - A * A)),
    ],
)
def test_sums_of_the_response_in_closed_form(neuron: SpikingNeuron, e1: float, e2: float) -> None:
    assert response(neuron) == pytest.approx((e1, e2), rel=1e-9)


def test_the_integrals_of_the_paper_are_the_limit_of_small_steps() -> None:
    # Membrane kernels exp(-t/tau_m), and (exp(-t/tau_m) - exp(-t/tau_s)) tau_s / (tau_m - tau_s).
    dt = 0.01
    e1, e2 = response(LIF(tau_m=10.0, dt=dt))
    assert (e1 * dt, e2 * dt) == pytest.approx((10.0, 5.0), rel=0.01)
    scale = dt / 10.0  # one spike's charge, spread over tau_m
    e1, e2 = response(SynapticLIF(tau_m=10.0, tau_s=5.0, dt=dt))
    assert (e1 * dt * scale, e2 * dt * scale**2) == pytest.approx((5.0, 25.0 / 30.0), rel=0.01)


@pytest.mark.parametrize("mean", [0.0, 0.3])
@pytest.mark.parametrize("xi", [1.0, 3.0])
@pytest.mark.parametrize("dt", [1.0, 0.5])
@pytest.mark.parametrize("model", [LIF, SynapticLIF])
def test_membranes_move_as_wanted(model: type[SpikingNeuron], dt: float, xi: float, mean: float) -> None:
    neuron = model(dt=dt, **FREE)
    number, rate = 200, 40.0
    weighting = fluctuating(neuron, Input.spikes(number, rate, dt), xi=xi, mean=mean)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weight = draw(weighting, None, (4000, number))
    got, sigma = moments(neuron, spikes(rate, dt, (1500, 1, number)) @ weight.t())
    wanted = (1.0 - mean) / xi
    assert got == pytest.approx(mean, abs=0.05 * wanted)
    assert sigma == pytest.approx(wanted, rel=0.05)


def test_connections_share_mean_and_variance() -> None:
    neuron = SynapticLIF(**FREE)
    current = torch.zeros(1500, 1, 4000)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for seed, (number, rate, share) in enumerate([(300, 20.0, 0.7), (80, 60.0, 0.3)]):
            weighting = fluctuating(neuron, Input.spikes(number, rate, 1.0), xi=2.0, mean=0.2, share=share)
            weight = draw(weighting, None, (4000, number))
            current = current + spikes(rate, 1.0, (1500, 1, number), seed) @ weight.t()
    assert moments(neuron, current) == pytest.approx((0.2, 0.4), abs=0.02)


@pytest.mark.parametrize("mean", [0.0, 0.2, -0.2])
@pytest.mark.parametrize("excitatory", [0.8, 0.5])
def test_signs_balance(excitatory: float, mean: float) -> None:
    neuron = LIF(**FREE)
    weighting = fluctuating(neuron, Input.spikes(300, 40.0, 1.0), xi=2.0, mean=mean)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        signs = torch.where(torch.randperm(300) < 300 * excitatory, 1.0, -1.0)
        weight = draw(weighting, signs, (4000, 300))
    assert bool((weight * signs >= 0).all())
    assert float(weight.mean()) == pytest.approx(weighting.mean, abs=0.05 * weighting.std)
    assert float(weight.std()) == pytest.approx(weighting.std, rel=0.05)
    got, sigma = moments(neuron, spikes(40.0, 1.0, (1500, 1, 300)) @ weight.t())
    assert got == pytest.approx(mean, abs=0.05)
    assert sigma == pytest.approx((1.0 - mean) / 2.0, rel=0.07)


def build(**options: object) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        architecture = RecurrentNetwork(hidden=(150,), adaptive=50, **options)  # type: ignore[arg-type]
        return architecture.build((80,), 5, LIF(), LeakyIntegrator())


@pytest.mark.parametrize("options", [{}, {"excitatory": 0.7}, {"density": 0.3}, {"longest_delay": 5.0}])
def test_recurrent_networks_fire_now_and_then(options: dict[str, object]) -> None:
    net = build(**options)
    weight = net.layers["hidden1"].weight.detach().clone()
    x = spikes(50.0, 1.0, (500, 8, 80))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        fluctuate(net, x, Regime(xi=2.0, recurrent_share=0.2))
    seen = net(x, record=["hidden1.spikes", "hidden1.regular.v"])
    rates = seen["hidden1.spikes"].detach().mean((0, 1)) * 1000.0
    assert 5.0 < float(rates.mean()) < 60.0
    assert float((rates > 0).float().mean()) > 0.7
    after = net.layers["hidden1"].weight.detach()
    assert torch.equal(after == 0, weight == 0)
    assert bool((net.layers["dense1"].bias == 0).all())
    if "excitatory" in options:
        assert bool((after * weight >= 0).all())


def test_only_what_leads_to_spikes_is_drawn() -> None:
    net = build()
    before = {n: x.clone() for n, x in net.state_dict().items()}
    drawn = torch.get_rng_state()
    with torch.random.fork_rng():
        fluctuate(net, spikes(50.0, 1.0, (100, 4, 80)), Regime())
    assert torch.equal(torch.get_rng_state(), drawn)
    changed = {n for n, x in net.state_dict().items() if not torch.equal(x, before[n])}
    assert changed == {
        "layers.dense1.weight",
        "layers.dense1.bias",
        "layers.hidden1.parametrizations.weight.original",
    }
    assert net.training


def test_an_experiments_first_network() -> None:
    tables = {
        "encoder": {"name": "poisson_rate", "steps": 100, "max_rate": 200.0},
        "network": {"hidden": [100], "initial_xi": 2.0},
    }
    experiment = Experiment.from_recipe("digits", overrides=tables)
    train = experiment.task.splits().train
    net, again = initial_network(experiment, train), initial_network(experiment, train)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))
    seen = experiment.encoder.encode(train.batch(torch.arange(64)).inputs, torch.Generator().manual_seed(5))
    spiking = net(seen, record=["hidden1.spikes"])["hidden1.spikes"].detach().mean() * 1000.0
    assert 5.0 < float(spiking) < 80.0


def test_errors() -> None:
    x = spikes(50.0, 1.0, (50, 2, 8))
    with pytest.raises(ValueError, match="IntegrateAndFire does not return to rest"):
        response(IntegrateAndFire())
    with pytest.raises(ValueError, match="Quadratic does not answer twice the input with twice"):
        response(Quadratic())
    with pytest.raises(ValueError, match="inputs current, synaptic, wanted a model with one"):
        response(ConductanceLIF())
    with pytest.raises(ValueError, match="got a tau_m per neuron"):
        response(LIF(tau_m=torch.ones(3)))
    with pytest.raises(ValueError, match=r"mean: got 1\.2, wanted a membrane below the threshold, 1"):
        fluctuating(LIF(), Input.spikes(10, 10.0, 1.0), mean=1.2)
    with pytest.raises(ValueError, match=r"mean: got 0\.9, which alone makes the membrane vary more"):
        fluctuating(LIF(), Input.spikes(2, 10.0, 1.0), mean=0.9, xi=10.0)
    net = Network(fc=Dense(8, 4), hidden=Neurons(LIF()), out=Neurons(LIF()))
    with pytest.raises(ValueError, match="inputs that vary in time"):
        fluctuate(net, Constant(x[0], 20), Regime())
    net = Network(conv=OverTime(torch.nn.Linear(8, 4)), hidden=Neurons(LIF()), out=Neurons(LIF()))
    with pytest.raises(ValueError, match="no dense connection in front of 'hidden'"):
        fluctuate(net, x, Regime())
    net = Network(fc=Dense(8, 4), hidden=Recurrent(LIF(), 4, signs=1.0), out=Neurons(LIF()))
    with pytest.raises(ValueError, match=r"got 100% positive signs, wanted such as can balance"):
        fluctuate(net, x, Regime())
    with pytest.raises(ValueError, match="got 12% positive signs"):
        draw(Weighting(0.5, 0.5), torch.tensor([-1.0] * 7 + [1.0]), (2, 8))
    with pytest.raises(ValueError, match="both initial_xi and initial_rate"):
        FeedForward(initial_xi=2.0, initial_rate=10.0)
