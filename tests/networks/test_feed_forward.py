"""Fully connected networks."""

from __future__ import annotations

import pytest

from rheobase.layers.delayed import Delayed
from rheobase.layers.dense import Dense
from rheobase.networks.feed_forward import FeedForward
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF


def test_sizes() -> None:
    net = FeedForward(hidden=(7, 5)).build((1, 4, 4), 3, LIF(), LeakyIntegrator())
    shapes = {n: (m.inputs, m.outputs) for n, m in net.layers.items() if isinstance(m, Dense)}
    assert shapes == {"dense1": (16, 7), "dense2": (7, 5), "dense3": (5, 3)}
    assert list(net.neurons()) == ["hidden1", "hidden2", "readout"]
    assert net.spiking == ("hidden1", "hidden2")


def test_no_hidden_layer() -> None:
    net = FeedForward(hidden=()).build((4,), 2, LIF(), LIF())
    assert list(net.layers) == ["dense1", "readout"]


def test_options_reach_the_layers() -> None:
    architecture = FeedForward(
        hidden="6 5", bias=False, backend="torch", checkpoint_every=None, train_neurons="tau_m,threshold"
    )
    net = architecture.build((4,), 2, LIF(), LeakyIntegrator())
    assert net.layers["dense1"].bias is None
    layers = net.neurons()
    assert layers["hidden1"].trainable == ("threshold", "tau_m")  # the model's own order
    assert layers["hidden1"].tau_m.shape == (6,)
    assert layers["readout"].trainable == ("tau_m",)
    assert layers["readout"].backend == "torch"


def test_signs_delays_and_gaps() -> None:
    architecture = FeedForward(hidden=(20, 30), excitatory=0.7, density=0.5, forward_delay=3.0)
    net = architecture.build((30,), 3, LIF(dt=0.5), LeakyIntegrator(dt=0.5))
    for name, positive in (("dense1", None), ("dense2", 14), ("dense3", 21)):
        layer = net.layers[name]
        assert isinstance(layer, Delayed)
        weight = layer.weight.detach()
        assert int((weight != 0).sum()) == round(weight.numel() / 2)
        assert layer.delays.ms().unique().tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
        columns = weight.sum(0).sign()
        assert bool((weight * columns >= 0).all()) == (positive is not None)
        if positive is not None:
            assert int((columns > 0).sum()) <= positive


@pytest.mark.parametrize("hidden", [(0,), (4, -1)])
def test_layers_have_neurons(hidden: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"FeedForward\.hidden: got -?\d, wanted at least 1"):
        FeedForward(hidden=hidden)
