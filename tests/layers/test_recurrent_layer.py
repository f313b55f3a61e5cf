"""The recurrent layer: who drives whom, when, in one group or several; state goes in and comes out."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rheobase.kernels.constant import Constant
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.layers.neurons import Neurons
from rheobase.layers.recurrent import Recurrent
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.neurons.synaptic_lif import SynapticLIF

STEPS, BATCH, SIZE = 14, 2, 5
X = 1.2 * torch.rand(STEPS, BATCH, SIZE, generator=torch.Generator().manual_seed(0))


def mixed(**options: object) -> Recurrent:
    groups = {"lif": (LIF(refractory=2.0), 3), "synaptic": (SynapticLIF(), 2)}
    return seeded(groups, gain=2.0, **options)


def seeded(*args: object, **options: object) -> Recurrent:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Recurrent(*args, **options)  # type: ignore[arg-type]


def by_hand(layer: Recurrent, x: Tensor) -> Tensor:
    """A loop over single neurons' inputs, for a layer of one model."""
    (group,) = layer.groups()
    delay = torch.ones(SIZE, SIZE, dtype=torch.int64) if layer.delays is None else layer.delays.steps
    state = group.neuron.initial()
    state = type(state)({n: torch.full((x.shape[1], SIZE), float(v)) for n, v in state.items()})
    spikes: list[Tensor] = []
    for t in range(len(x)):
        current = x[t].clone()
        for i in range(SIZE):
            for j in range(SIZE):
                if t - int(delay[i, j]) >= 0:
                    current[:, i] += layer.weight[i, j] * spikes[t - int(delay[i, j])][:, j]
        state, z = group.neuron.step(state, current)
        spikes.append(z)
    return torch.stack(spikes)


@pytest.mark.parametrize("delays", [None, 3.0, (1.0, 4.0)])
def test_equals_a_loop_by_hand(delays: float | None) -> None:
    layer = seeded(LIF(), SIZE, delays=delays, gain=2.0)
    output = layer(X).output
    assert torch.equal(output, by_hand(layer, X))
    assert not torch.equal(output, Neurons(LIF())(X).output)


def test_no_connections_among_them_is_a_layer_of_neurons() -> None:
    layer = Recurrent(SynapticLIF(), SIZE)
    with torch.no_grad():
        layer.weight = torch.zeros(SIZE, SIZE)
    run, plain = layer(X, record=["i"]), Neurons(SynapticLIF(), backend="torch")(X, record=["i"])
    assert torch.equal(run.output, plain.output)
    assert torch.equal(run.traces["i"], plain.traces["i"])


def test_an_impulse_arrives_after_the_delay_and_so_does_its_gradient() -> None:
    delay = torch.tensor([[1.0, 2.0], [5.0, 1.0]])
    layer = Recurrent(LeakyIntegrator(), 2, delays=delay, self_connections=True)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
    x = torch.zeros(10, 1, 2)
    x[2, 0, 0] = 1.0
    x.requires_grad_()
    output = layer(x).output
    assert output[:, 0, 1].detach().nonzero()[0].item() == 2 + 5
    (gradient,) = torch.autograd.grad(output[8, 0, 1], x)
    assert gradient[:, 0, 0].nonzero().max().item() == 8 - 5


def test_a_neuron_does_not_excite_itself_unless_told_to() -> None:
    assert bool((Recurrent(LIF(), SIZE).weight.diagonal() == 0).all())
    assert bool((Recurrent(LIF(), SIZE, self_connections=True).weight.diagonal() != 0).all())
    layer = Recurrent(LIF(), SIZE)
    layer(X).output.sum().backward()
    torch.optim.SGD(layer.parameters(), lr=1.0).step()
    assert bool((layer.weight.diagonal() == 0).all())


def test_a_mixed_population_names_its_states() -> None:
    layer = mixed(delays=(1.0, 3.0))
    assert layer.states == ("lif.v", "lif.refractory", "synaptic.v", "synaptic.i")
    run = layer(X, record=["synaptic.i", "lif.v"])
    assert {n: tuple(x.shape) for n, x in run.traces.items()} == {
        "synaptic.i": (STEPS, BATCH, 2),
        "lif.v": (STEPS, BATCH, 3),
    }
    assert set(run.state) == {*layer.states, "history"}
    assert torch.equal(run.state["history"], run.output[-int(layer.delays.steps.max()) :])


def test_groups_of_one_model_equal_one_group() -> None:
    two = seeded({"a": (LIF(), 2), "b": (LIF(), 3)}, gain=2.0)
    assert torch.equal(two(X).output, seeded(LIF(), SIZE, gain=2.0)(X).output)


@settings(max_examples=15, deadline=None)
@given(cut=st.integers(5, STEPS - 1), again=st.integers(1, STEPS - 1))
def test_cut_anywhere_it_goes_on(cut: int, again: int) -> None:
    layer = mixed(delays=(1.0, 5.0))
    whole = layer(X, record=layer.states)
    state, parts = None, []
    for piece in (X[:cut], *X[cut:].split(again)):
        parts.append(layer(piece, state, record=layer.states))
        state = parts[-1].state
    assert torch.equal(torch.cat([p.output for p in parts]), whole.output)
    for name, trace in whole.traces.items():
        assert torch.equal(torch.cat([p.traces[name] for p in parts]), trace)
    assert all(torch.equal(parts[-1].state[n], x) for n, x in whole.state.items())


def test_stands_in_a_network() -> None:
    net = Network(fc=Dense(SIZE, 5), hidden=mixed(), out=Dense(5, 2), readout=Neurons(LeakyIntegrator()))
    assert net.spiking == ("hidden",)
    assert net.signals()[:2] == ("hidden.spikes", "hidden.lif.v")
    record = net(X, record=["hidden.spikes", "hidden.synaptic.i"])
    assert record["hidden.synaptic.i"].shape == (STEPS, BATCH, 2)
    first = net(X[:6])
    assert torch.equal(net(X[6:], state=first.state).output, record.output[6:])


def test_constant_input() -> None:
    layer = mixed()
    assert torch.equal(layer(Constant(X[0], 6)).output, layer(X[:1].expand(6, BATCH, SIZE)).output)


def test_neuron_parameters_are_trained_per_neuron_in_the_groups_that_have_them() -> None:
    layer = mixed(trainable=["tau_s", "threshold"])
    shapes = {n: tuple(p.shape) for n, p in layer.named_parameters() if n.startswith("populations")}
    assert shapes == {
        "populations.lif.threshold": (3,),
        "populations.synaptic.threshold": (2,),
        "populations.synaptic.tau_s": (2,),
    }
    run = layer(X, record=["lif.v", "synaptic.v"])
    sum(trace.square().sum() for trace in run.traces.values()).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None and bool(p.grad.any()) for p in layer.parameters())


def test_saved_and_loaded() -> None:
    layer, other = mixed(delays=(1.0, 4.0), signs=0.6, density=0.5), mixed(delays=4.0, signs=0.2, density=0.5)
    assert not torch.equal(layer(X).output, other(X).output)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(layer(X).output, other(X).output)


def test_errors() -> None:
    with pytest.raises(ValueError, match="got size None"):
        Recurrent(LIF())
    with pytest.raises(ValueError, match="beside named groups"):
        Recurrent({"a": (LIF(), 2)}, 2)
    with pytest.raises(ValueError, match="at least one neuron in each"):
        Recurrent({"a": (LIF(), 0)})
    with pytest.raises(ValueError, match="words without dots"):
        Recurrent({"a.b": (LIF(), 1)})
    with pytest.raises(ValueError, match=r"time steps of \[0\.5, 1\.0\] ms"):
        Recurrent({"a": (LIF(), 2), "b": (LIF(dt=0.5), 2)})
    with pytest.raises(ValueError, match="groups that spike beside groups that do not"):
        Recurrent({"a": (LIF(), 2), "b": (LeakyIntegrator(), 2)})
    with pytest.raises(ValueError, match="unknown parameter of these neurons 'tau'"):
        Recurrent(LIF(), 2, trainable=["tau"])
    with pytest.raises(ValueError, match=r"got 1\.5 ms, wanted whole multiples of the time step of 1 ms"):
        Recurrent(LIF(), 2, delays=1.5)
    with pytest.raises(ValueError, match=r"got 0 ms, wanted at least 1 ms, one time step"):
        Recurrent(LIF(), 2, delays=(0.0, 3.0))
    with pytest.raises(ValueError, match="the shorter end first"):
        Recurrent(LIF(), 2, delays=(4.0, 3.0))
    with pytest.raises(ValueError, match=r"delays: got shape \(2,\), wanted \(2, 2\)"):
        Recurrent(LIF(), 2, delays=torch.ones(2))
    with pytest.raises(ValueError, match="20 steps, longer than the sequence of 14"):
        Recurrent(LIF(), SIZE, delays=20.0)(X)


def test_delays_are_in_ms_whatever_the_time_step() -> None:
    assert Recurrent(LIF(dt=0.5), 2, delays=2.0).delays.steps.tolist() == [[4, 4], [4, 4]]
    drawn = seeded(LIF(dt=0.5), 30, delays=(1.0, 2.0)).delays.steps
    assert sorted(set(drawn.flatten().tolist())) == [2, 3, 4]
