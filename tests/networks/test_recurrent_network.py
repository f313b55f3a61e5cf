"""Recurrent networks: sizes, the second population, options that reach the layers, a run from a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rheobase.layers.connection import constraint_of
from rheobase.layers.delayed import Delayed
from rheobase.layers.dense import Dense
from rheobase.layers.recurrent import Recurrent as RecurrentLayer
from rheobase.networks.recurrent import Recurrent
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.neurons.synaptic_lif import SynapticLIF
from rheobase.training.experiment import Experiment
from rheobase.training.fit import fit
from rheobase.training.restore import load_network


def test_sizes() -> None:
    net = Recurrent(hidden=(7, 5), adaptive=3, adaptive_neuron=SynapticLIF()).build(
        (1, 4, 4), 2, LIF(), LeakyIntegrator()
    )
    assert list(net.layers) == ["dense1", "hidden1", "dense2", "hidden2", "dense3", "readout"]
    assert [net.layers[f"hidden{i}"].size for i in (1, 2)] == [10, 8]
    assert net.layers["hidden1"].states == ("regular.v", "adaptive.v", "adaptive.i")


def test_options_reach_the_layer() -> None:
    net = Recurrent(
        hidden=20,
        shortest_delay=2.0,
        longest_delay=5.0,
        excitatory=0.8,
        density=0.5,
        train_neurons="tau_m",
        backend="torch",
    ).build((40,), 2, LIF(), LeakyIntegrator())
    layer = net.layers["hidden1"]
    assert isinstance(layer, RecurrentLayer)
    assert (int(layer.delays.steps.min()), int(layer.delays.steps.max())) == (2, 5)
    weight = layer.weight.detach()
    assert int((weight != 0).sum()) == 190  # half of 20 * 19
    signs = weight.sum(0).sign()
    assert int((signs > 0).sum()) == 16
    assert bool((weight * signs >= 0).all())
    assert bool((net.layers["dense2"].weight * signs >= 0).all())  # the same neurons, the same signs
    assert layer.populations["all"].tau_m.shape == (20,)
    assert layer.backend == "torch"


def test_the_longest_delay_is_not_the_shortest() -> None:
    with pytest.raises(ValueError, match=r"longest_delay: got 2 ms, wanted at least the shortest, 5 ms"):
        Recurrent(shortest_delay=5.0, longest_delay=2.0)


def test_an_experiment_trains_and_is_loaded(tmp_path: Path) -> None:
    tables = {
        "encoder": {"steps": 6},
        "network": {
            "name": "recurrent",
            "hidden": [12],
            "adaptive": 6,
            "longest_delay": 3.0,
            "excitatory": 0.5,
        },
        "training": {"epochs": 2, "batch_size": 512, "log_every": 2, "threads": 1, "learning_rate": 0.01},
    }
    experiment = Experiment.from_recipe("digits", overrides=tables)
    summary = fit(experiment, tmp_path / "run", progress=False)
    assert summary.epochs == 2
    loaded, net = load_network(tmp_path / "run")
    assert loaded == experiment
    assert net.spiking == ("hidden1", "readout")


def test_delays_that_are_learnt() -> None:
    architecture = Recurrent(hidden=6, longest_delay=4.0, forward_delay=3.0, learn_delays=True)
    net = architecture.build((5,), 2, LIF(), LeakyIntegrator())
    names = [name for name, _ in net.named_parameters() if name.endswith("position")]
    assert names == [f"layers.{n}.delays.position" for n in ("dense1", "hidden1", "dense2")]
    with pytest.raises(ValueError, match=r"learn_delays: got true without delays"):
        Recurrent(learn_delays=True)


def test_a_plain_readout_has_neither_delays_nor_signs() -> None:
    options = {"hidden": (8,), "excitatory": 0.5, "input_excitatory": 0.75, "forward_delay": 4.0}
    for plain in (False, True):
        net = Recurrent(**options, plain_readout=plain).build((4,), 3, LIF(), LIF())
        first, last = net.layers["dense1"], net.layers["dense2"]
        assert isinstance(first, Delayed)
        assert sorted(constraint_of(first).signs.tolist()) == [-1, 1, 1, 1]
        assert isinstance(last, Dense if plain else Delayed)
        assert (constraint_of(last) is None) == plain


def test_balanced_recurrent_weights_cancel() -> None:
    sums = []
    for balanced in (False, True):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = Recurrent(hidden=(200,), excitatory=0.8, balanced=balanced).build((4,), 3, LIF(), LIF())
        weight = net.layers["hidden1"].weight.detach()
        sums.append(float(weight.sum() / weight.abs().sum()))
    assert sums[0] == pytest.approx(0.6, abs=0.02)
    assert sums[1] == pytest.approx(0.0, abs=0.02)
