"""The network: names, explicit state, and a record of what was asked for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rheobase.kernels.constant import Constant
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network, Record
from rheobase.layers.neurons import Neurons
from rheobase.layers.over_time import OverTime
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.neurons.synaptic_lif import SynapticLIF


def network() -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network(
            fc=Dense(4, 6, gain=4.0),
            hidden=Neurons(SynapticLIF()),
            out=Dense(6, 2),
            readout=Neurons(LeakyIntegrator()),
        )


X = torch.rand(9, 3, 4, generator=torch.Generator().manual_seed(0))


def test_names() -> None:
    net = network()
    assert net.signals() == ("hidden.spikes", "hidden.v", "hidden.i", "readout.v")
    assert net.spiking == ("hidden",)
    assert net.last == "readout"
    assert list(net.neurons()) == ["hidden", "readout"]


def test_layers_act_one_after_another() -> None:
    net = network()
    layers = net.layers
    spikes = layers["hidden"](layers["fc"](X)).output
    expected = layers["readout"](layers["out"](spikes)).output
    record = net(X, record=["hidden.spikes", "readout.v"])
    assert torch.equal(record.output, expected)
    assert torch.equal(record["hidden.spikes"], spikes)
    assert torch.equal(record["readout.v"], expected)
    assert spikes.detach().any()


def test_records_only_what_was_asked_for() -> None:
    net = network()
    assert net(X).signals == {}
    record = net(X, record=["hidden.i"])
    assert list(record.signals) == ["hidden.i"]
    assert record["hidden.i"].shape == (9, 3, 6)
    assert set(net(X, record=net.signals()).signals) == set(net.signals())
    assert torch.equal(net(X, record=net.signals()).output, record.output)


def test_state_goes_in_and_out() -> None:
    net = network()
    whole = net(X)
    first = net(X[:4])
    second = net(X[4:], state=first.state)
    assert torch.equal(torch.cat([first.output, second.output]), whole.output)
    assert {layer: sorted(state) for layer, state in whole.state.items()} == {
        "hidden": ["i", "v"],
        "readout": ["v"],
    }
    for layer, state in whole.state.items():
        for name, value in state.items():
            assert torch.equal(second.state[layer][name], value)


def test_a_layer_missing_in_the_state_starts_at_rest() -> None:
    net = network()
    state = {"hidden": net(X).state["hidden"]}
    rest = {"readout": {"v": torch.zeros(3, 2)}}
    assert torch.equal(net(X, state=state).output, net(X, state=state | rest).output)


def test_calls_do_not_influence_each_other() -> None:
    net = network()
    assert torch.equal(net(X).output, net(X).output)
    for _ in range(2):  # "backward a second time" cannot happen: no hidden state
        net(X).output.sum().backward()


def test_constant_equals_expanded_through_convolution_and_dense() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Network(
            conv=OverTime(nn.Conv2d(1, 2, 3)),
            hidden=Neurons(LIF()),
            fc=Dense(2 * 6 * 6, 3),
            readout=Neurons(LeakyIntegrator()),
        )
    constant = Constant(3 * torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1)), 7)
    one, many = (net(x, record=["hidden.v"]) for x in (constant, constant.expand()))
    assert one["hidden.v"].shape == (7, 2, 2, 6, 6)
    torch.testing.assert_close(one["hidden.v"], many["hidden.v"])
    torch.testing.assert_close(one.output, many.output)


def test_a_network_that_ends_in_a_connection() -> None:
    net = Network(fc=Dense(4, 2))
    assert torch.equal(net(Constant(X[0], 5)).output, net(X[:1].expand(5, 3, 4)).output)
    with pytest.raises(ValueError, match="no layer of neurons"):
        _ = net.last


def test_saved_and_loaded_parameters_give_the_same_results() -> None:
    net, other = network(), network()
    with torch.no_grad():
        for p in other.parameters():
            p.zero_()
    other.load_state_dict(net.state_dict())
    assert torch.equal(net(X).output, other(X).output)


def test_errors() -> None:
    net = network()
    with pytest.raises(ValueError, match="got no layers"):
        Network()
    with pytest.raises(ValueError, match=r"unknown signal 'hidden\.spike'; did you mean 'hidden\.spikes'"):
        net(X, record=["hidden.spike"])
    with pytest.raises(ValueError, match=r"unknown signal 'fc\.v'"):
        net(X, record=["fc.v"])
    with pytest.raises(ValueError, match=r"unknown layer with state 'hiden'; did you mean 'hidden'"):
        net(X, state={"hiden": {}})
    with pytest.raises(ValueError, match="state 'v': got shape"):
        net(X, state={"readout": {"v": torch.zeros(3, 5)}})
    with pytest.raises(KeyError, match=r"'hidden\.v' was not recorded; recorded: hidden\.i"):
        net(X, record=["hidden.i"])["hidden.v"]
    with pytest.raises(KeyError, match="recorded: nothing"):
        Record(X)["a.v"]


def test_a_refractory_period_longer_than_the_sequence_is_refused() -> None:
    net = Network(dense=Dense(4, 3), hidden=Neurons(LIF(refractory=10.0)))
    with pytest.raises(ValueError, match=r"layer 'hidden': got a refractory period of 10 ms, longer than"):
        net(torch.rand(9, 2, 4))
    first = net(torch.rand(9, 2, 4), state={})
    assert net(torch.rand(9, 2, 4), state=first.state).output.shape == (9, 2, 3)
    assert net(torch.rand(10, 2, 4)).output.shape == (10, 2, 3)
