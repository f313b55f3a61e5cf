"""A network as its stages, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.layers.neurons import Neurons
from rheobase.layers.noise import Noise
from rheobase.layers.over_time import OverTime
from rheobase.layers.recurrent import Recurrent
from rheobase.networks.convolutional import Convolutional
from rheobase.networks.recurrent import Recurrent as RecurrentNetwork
from rheobase.neurons.ei_conductance_lif import EIConductanceLIF
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.rules.stages import stages


def test_names_every_part_of_a_recurrent_network_with_noise_and_delays() -> None:
    architecture = RecurrentNetwork(
        hidden=(4, 3), adaptive=2, noise=0.1, forward_delay=3.0, longest_delay=4.0
    )
    net = architecture.build((5,), 2, LIF(), LeakyIntegrator())
    found = stages(net, "rule")
    assert [s.name for s in found] == ["hidden1", "hidden2", "readout"]
    assert [s.source for s in found] == ["dense1", "dense2", "dense3"]
    assert [[name for name, _ in s.noise] for s in found] == [["noise1"], ["noise2"], []]
    assert [s.readout for s in found] == [False, False, True]
    assert isinstance(found[0].neurons, Recurrent)


def test_its_current_is_the_networks() -> None:
    torch.manual_seed(0)
    architecture = RecurrentNetwork(hidden=(4,), noise=0.1, forward_delay=3.0)
    net = architecture.build((5,), 2, LIF(), LeakyIntegrator())
    x = torch.rand(12, 3, 5)
    hidden, readout = stages(net, "rule")
    whole = net(x)
    current, first = hidden.current(x)
    assert sorted(first) == ["dense1", "noise1"]
    emitted = hidden.neurons(current).output
    current, _ = readout.current(emitted)
    assert torch.equal(readout.neurons(current).output, whole.output)
    early, state = hidden.current(x[:5])
    late, _ = hidden.current(x[5:], state)
    torch.testing.assert_close(torch.cat([early, late]), hidden.current(x)[0])


def test_takes_pooling_in_front_of_a_connection_and_neurons_with_several_inputs() -> None:
    net = Convolutional(channels=(2,), hidden=(), norm=False).build((1, 8, 8), 2, LIF(), EIConductanceLIF())
    found = stages(net, "rule", (Dense, OverTime))
    assert [[name for name, _ in s.before] for s in found] == [[], ["pool1"]]
    assert [s.source for s in found] == ["conv1", "dense1"]


@pytest.mark.parametrize(
    ("layers", "culprit"),
    [
        (
            {"a": Dense(2, 2), "b": Dense(2, 2), "out": Neurons(LIF())},
            "'b' \\(Dense\\), wanted neurons between",
        ),
        ({"hidden": Neurons(LIF())}, "'hidden' \\(Neurons\\), wanted Dense or Delayed in front"),
        (
            {"a": Dense(2, 2), "out": Neurons(LIF()), "b": Dense(2, 2)},
            "'b' \\(Dense\\), wanted a layer of neurons",
        ),
        ({"conv": OverTime(nn.Linear(2, 2)), "out": Neurons(LIF())}, "'conv' \\(OverTime\\), wanted Dense"),
        ({"noise": Noise(0.1), "a": Dense(2, 2), "out": Neurons(LIF())}, "'noise' \\(Noise\\)"),
    ],
)
def test_names_what_does_not_fit(layers: dict[str, nn.Module], culprit: str) -> None:
    with pytest.raises(ValueError, match=f"rule: got the layer {culprit}"):
        stages(Network(**layers), "rule")
