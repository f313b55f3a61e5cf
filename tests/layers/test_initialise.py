"""Weights scaled to a firing rate: the rate is reached, and nothing but weights is changed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rheobase.kernels.constant import Constant
from rheobase.layers.connection import plain_name
from rheobase.layers.dense import Dense
from rheobase.layers.initialise import LOW, match_rates
from rheobase.layers.network import Network
from rheobase.layers.neurons import Neurons
from rheobase.layers.over_time import OverTime
from rheobase.networks.convolutional import Convolutional
from rheobase.networks.feed_forward import FeedForward
from rheobase.networks.recurrent import Recurrent
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.training.experiment import Experiment
from rheobase.training.setup import initial_network

X = torch.rand(20, 16, 30, generator=torch.Generator().manual_seed(0))


def network(readout: LIF | LeakyIntegrator | None = None) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return FeedForward(hidden=(100, 60), backend="torch").build(
            (30,), 5, LIF(), readout or LeakyIntegrator()
        )


def rates(net: Network, x: Tensor | Constant) -> dict[str, float]:
    with torch.no_grad():
        found = net(x, record=[f"{name}.spikes" for name in net.spiking])
    return {name.split(".")[0]: float(spikes.mean()) for name, spikes in found.signals.items()}


def copies(net: Network) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("rate", [0.05, 0.1, 0.3])
def test_each_hidden_layer_reaches_the_rate(rate: float, constant: bool) -> None:
    net = network()
    x: Tensor | Constant = Constant(X[0], 20) if constant else X
    reached = match_rates(net, x, rate)
    assert list(reached) == ["hidden1", "hidden2"]
    assert reached == pytest.approx({"hidden1": rate, "hidden2": rate}, rel=0.03)
    assert rates(net, x) == pytest.approx(reached, abs=1e-7)


def test_a_rate_below_what_the_biases_bring_about_is_not_reached() -> None:
    net = network()
    weight = net.state_dict()["layers.dense1.weight"]
    before = weight.clone()
    reached = match_rates(net, X, 0.005)
    torch.testing.assert_close(weight, LOW * before, rtol=1e-4, atol=0.0)
    with torch.no_grad():
        weight.zero_()
    assert 0.005 < rates(net, X)["hidden1"] == pytest.approx(reached["hidden1"], rel=0.05)


def test_one_factor_per_connection_and_no_more() -> None:
    net = network()
    before = copies(net)
    match_rates(net, X, 0.1)
    for name, value in net.state_dict().items():
        if name in ("layers.dense1.weight", "layers.dense2.weight"):
            factors = value / before[name]
            assert float(factors.min()) > 0
            assert not torch.equal(value, before[name])
            torch.testing.assert_close(factors, factors.mean().expand_as(factors), rtol=1e-5, atol=0.0)
        else:  # biases, and the read-out's weights
            assert torch.equal(value, before[name]), name


def test_the_readout_is_scaled_if_asked_for() -> None:
    plain, scaled = network(LIF()), network(LIF())
    before = copies(plain)["layers.dense3.weight"]
    reached = match_rates(plain, X, 0.2)
    assert torch.equal(plain.layers["dense3"].weight, before)  # type: ignore[arg-type]
    assert list(reached) == ["hidden1", "hidden2", "readout"]
    assert match_rates(scaled, X, 0.2, last=True)["readout"] == pytest.approx(0.2, rel=0.05)


@pytest.mark.parametrize("training", [False, True])
def test_the_mode_is_restored(training: bool) -> None:
    net = network().train(training)
    match_rates(net, X, 0.1)
    assert all(module.training is training for module in net.modules())


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_impossible_rates(rate: float) -> None:
    net = network()
    before = copies(net)
    with pytest.raises(
        ValueError, match=f"rate: got {rate}, wanted a mean number of spikes per step between"
    ):
        match_rates(net, X, rate)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def convolutional(norm: bool) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = Convolutional(channels=(6,), kernel=3, hidden=(20,), norm=norm, dropout=0.5, backend="torch")
        return built.build((1, 8, 8), 3, LIF(), LeakyIntegrator())


IMAGES = Constant(torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(1)), 15)


def test_convolutions_and_dropout() -> None:
    net = convolutional(norm=False)
    before = copies(net)
    drawn = torch.get_rng_state()
    reached = match_rates(net, IMAGES, 0.1)
    assert torch.equal(torch.get_rng_state(), drawn)  # dropout drew nothing
    assert reached == pytest.approx({"neurons1": 0.1, "hidden1": 0.1}, rel=0.05)
    assert rates(net.eval(), IMAGES) == pytest.approx(reached, abs=1e-7)
    changed = {n for n, value in net.state_dict().items() if not torch.equal(value, before[n])}
    assert all(net.state_dict()[name].dim() >= 2 for name in changed)
    assert len(changed) == 2


def test_batch_norm_is_refused() -> None:
    with pytest.raises(ValueError, match=r"batch norm.*--network\.norm false"):
        match_rates(convolutional(norm=True), IMAGES, 0.1)


def test_what_has_no_weights_is_left_alone() -> None:
    net = Network(flat=OverTime(nn.Flatten()), hidden=Neurons(LIF(), backend="torch"), out=Dense(30, 2))
    before = copies(net)
    reached = match_rates(net, X, 0.1)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert reached == pytest.approx(rates(net, X))


@pytest.mark.parametrize("options", [{}, {"excitatory": 0.6}, {"density": 0.4, "rewire": True}])
@pytest.mark.parametrize("delays", [{}, {"longest_delay": 4.0, "forward_delay": 3.0, "learn_delays": True}])
def test_recurrent_layers_reach_the_rate(options: dict[str, object], delays: dict[str, object]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        architecture = Recurrent(hidden=(60, 40), adaptive=20, **options, **delays)  # type: ignore[arg-type]
        net = architecture.build((30,), 5, LIF(), LeakyIntegrator())
    before = copies(net)
    reached = match_rates(net, X, 0.1)
    assert reached == pytest.approx({"hidden1": 0.1, "hidden2": 0.1}, rel=0.03)
    assert rates(net, X) == pytest.approx(reached, abs=1e-7)
    factors = {}
    for name, value in net.state_dict().items():
        if not torch.equal(value, before[name]):
            existing = before[name] != 0
            factor = (value / before[name])[existing]
            torch.testing.assert_close(factor, factor.mean().expand_as(factor), rtol=1e-4, atol=0.0)
            factors[plain_name(name)] = float(factor.mean())
    names = {f"layers.{part}{i}.weight" for part in ("dense", "hidden") for i in (1, 2)}
    assert factors.keys() == names
    for i in (1, 2):  # one factor for both, so that their proportion stays
        assert factors[f"layers.dense{i}.weight"] == pytest.approx(
            factors[f"layers.hidden{i}.weight"], rel=1e-4
        )


def test_an_experiments_first_network() -> None:
    tables = {
        "encoder": {"steps": 10},
        "network": {"hidden": [16], "initial_rate": 100.0, "backend": "torch"},
    }
    experiment = Experiment.from_recipe("digits", overrides=tables)
    train = experiment.task.splits().train
    net = initial_network(experiment, train)
    again = initial_network(experiment, train)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))
    assert net.training
    seen = experiment.encoder.encode(train.batch(torch.arange(256)).inputs, None)
    hertz = 1000.0 / experiment.neuron.dt
    assert rates(net, seen)["hidden1"] * hertz == pytest.approx(100.0, rel=0.02)
    others = experiment.encoder.encode(train.batch(torch.arange(256, 1024)).inputs, None)
    assert rates(net, others)["hidden1"] * hertz == pytest.approx(100.0, rel=0.15)
    plain = initial_network(experiment.replace(network=experiment.network.replace(initial_rate=None)), train)
    assert abs(rates(plain, seen)["hidden1"] * hertz - 100.0) > 20.0, "the case tells nothing"
    torch.testing.assert_close(
        net.state_dict()["layers.dense2.weight"], plain.state_dict()["layers.dense2.weight"], rtol=0, atol=0
    )
