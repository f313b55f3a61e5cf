"""Networks with moved thresholds: what is moved, what is shared, and what is refused."""

from __future__ import annotations

import pytest
import torch

from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.layers.neurons import Neurons
from rheobase.layers.recurrent import Recurrent
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.rules.thresholds import moved_thresholds


def test_lower_thresholds_fire_where_lower_ones_would() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Network(
            a=Dense(3, 4),
            one=Neurons(LIF()),
            b=Dense(4, 4),
            two=Neurons(LIF()),
            c=Dense(4, 2),
            out=Neurons(LIF()),
        )
    inputs = torch.rand(50, 2, 3, generator=torch.Generator().manual_seed(0)) * 4.0
    wanted = Network(**dict(net.layers.items()))
    for name, threshold in (("one", 0.75), ("two", 0.75), ("out", 1.5)):
        wanted.layers[name] = Neurons(LIF(threshold=threshold))
    got = moved_thresholds(net, hidden=-0.25, readout=0.5)
    signals = ["one.spikes", "two.spikes", "out.v"]
    with torch.no_grad():
        mine, its, plain = (n(inputs, record=signals) for n in (got, wanted, net))
    for name in signals:
        assert torch.equal(mine[name], its[name])
    assert float(mine["one.spikes"].sum()) > float(plain["one.spikes"].sum()) > 0
    assert [p is q for p, q in zip(got.parameters(), net.parameters(), strict=True)] == [True] * 6


def test_what_does_not_spike_stays_and_what_cannot_be_moved_is_refused() -> None:
    silent = Network(a=Dense(3, 2), out=Neurons(LeakyIntegrator()))
    assert moved_thresholds(silent, 0.1, 0.1).layers["out"] is silent.layers["out"]
    for layer in (Recurrent(LIF(), 2), Neurons(LIF(), trainable=["tau_m"])):
        with pytest.raises(
            ValueError, match=r"thresholds: got the layer 'out' .*, wanted neurons of one model"
        ):
            moved_thresholds(Network(a=Dense(3, 2), out=layer), 0.1, 0.1)
