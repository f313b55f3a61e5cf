"""Delayed connections: an impulse arrives when it should, state goes in and out, delays are learnt."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rheobase.kernels.constant import Constant
from rheobase.layers.delayed import Delayed
from rheobase.layers.delays import LearntDelays
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.layers.neurons import Neurons
from rheobase.layers.recurrent import Recurrent
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF

X = torch.rand(12, 2, 3, generator=torch.Generator().manual_seed(0))


def seeded(**options: object) -> Delayed:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Delayed(3, 4, **options)  # type: ignore[arg-type]


def as_dense(layer: Delayed) -> Dense:
    dense = Dense(layer.inputs, layer.outputs)
    dense.load_state_dict({n: v for n, v in layer.state_dict().items() if n in ("weight", "bias")})
    return dense


@pytest.mark.parametrize("delay", [0, 1, 5])
def test_one_delay_is_a_shifted_dense_connection(delay: int) -> None:
    layer = seeded(delays=float(delay))
    shifted = torch.cat([torch.zeros(delay, 2, 3), X[: len(X) - delay]])
    assert torch.equal(layer(X).output, as_dense(layer)(shifted))


@settings(max_examples=20, deadline=None)
@given(delay=st.integers(0, 6), at=st.integers(0, 5), dt=st.sampled_from([0.5, 1.0, 2.0]))
def test_an_impulse_arrives_after_the_delay_and_so_does_its_gradient(delay: int, at: int, dt: float) -> None:
    layer = Delayed(1, 2, delays=torch.tensor([[0.0], [delay * dt]]), dt=dt, bias=False)
    x = torch.zeros(12, 1, 1)
    x[at] = 1.0
    x.requires_grad_()
    output = layer(x).output
    assert output[:, 0, 1].detach().nonzero().flatten().tolist() == [at + delay]
    (gradient,) = torch.autograd.grad(output[at + delay, 0, 1], x)
    assert gradient.flatten().nonzero().flatten().tolist() == [at]


def test_delays_of_several_connections() -> None:
    layer = seeded(delays=(0.0, 5.0))
    delay, weight = layer.delays.ms().long(), layer.weight.detach()
    expected = layer.bias.detach().expand(12, 2, 4).clone()  # type: ignore[union-attr]
    for t in range(12):
        for i in range(4):
            for j in range(3):
                if t >= delay[i, j]:
                    expected[t, :, i] += weight[i, j] * X[t - delay[i, j], :, j]
    torch.testing.assert_close(layer(X).output, expected)
    assert len(delay.unique()) > 3


def test_drawn_delays_fill_their_range_alike() -> None:
    steps = Delayed(100, 100, delays=(1.0, 3.0), dt=0.5).delays.ms()
    values, counts = steps.unique(return_counts=True)
    assert values.tolist() == [1.0, 1.5, 2.0, 2.5, 3.0]
    assert float((counts / 2000 - 1).abs().max()) < 0.1


@settings(max_examples=15, deadline=None)
@given(pieces=st.lists(st.integers(1, 4), min_size=1, max_size=6), learnt=st.booleans())
def test_cut_anywhere_it_goes_on(pieces: list[int], learnt: bool) -> None:
    layer = seeded(delays=(0.0, 5.0), learn_delays=learnt)
    whole = layer(X)
    state, parts = {"history": torch.zeros(layer.delays.longest, 2, 3)}, []
    ends = [0, *torch.tensor(pieces).cumsum(0).clamp(max=12).tolist(), 12]
    for start, end in itertools.pairwise(ends):
        if end > start:
            run = layer(X[start:end], state)
            parts.append(run.output)
            state = run.state
    torch.testing.assert_close(torch.cat(parts), whole.output)
    assert torch.equal(state["history"], whole.state["history"])


def test_a_delay_between_two_steps_arrives_at_both() -> None:
    layer = Delayed(1, 1, delays=torch.tensor([[2.25]]), learn_delays=True, longest_delay=4.0, bias=False)
    x = torch.zeros(8, 1, 1)
    x[1] = 1.0
    got = layer(x).output.flatten() / layer.weight
    torch.testing.assert_close(got.flatten(), torch.tensor([0.0, 0.0, 0.0, 0.75, 0.25, 0.0, 0.0, 0.0]))


def test_the_gradient_of_a_delay() -> None:
    layer = seeded(delays=(0.2, 3.8), learn_delays=True, longest_delay=4.0, delay_speed=10.0).double()
    weights = torch.rand(12, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((layer(X.double()).output * weights).sum(), layer.delays.position)
    position = layer.delays.position.detach()
    for place in ((0, 0), (3, 2)):
        values = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                position[place] += step
                values.append(float((layer(X.double()).output * weights).sum()))
                position[place] -= step
        assert float(gradient[place]) == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5)


def test_delays_stay_within_their_range_and_come_back() -> None:
    layer = seeded(delays=(0.0, 4.0), learn_delays=True)
    optimizer = torch.optim.SGD([layer.delays.position], lr=1e4)
    for sign in (1.0, -1.0):
        before = layer.delays.ms().detach().clone()
        optimizer.zero_grad()
        (sign * layer(X).output.square().sum()).backward()
        optimizer.step()
        after = layer.delays.ms().detach()
        assert float(after.min()) >= 0.0
        assert float(after.max()) <= 4.0
        assert not torch.equal(after, before)
        assert layer(X).output.isfinite().all()


@pytest.mark.parametrize("recurrent", [False, True])
def test_a_known_delay_is_learnt(recurrent: bool) -> None:
    """Spikes go through a delay of 7.5 ms into a leaky membrane; a delay of 2 ms is to become the same."""
    spikes = (torch.rand(200, 8, 1, generator=torch.Generator().manual_seed(3)) < 0.05).float()

    def network(delay: float) -> torch.nn.Module:
        options = {"learn_delays": True, "longest_delay": 12.0}
        if not recurrent:
            layer = Delayed(1, 1, delays=torch.tensor([[delay]]), bias=False, **options)  # type: ignore[arg-type]
            net = Network(delayed=layer, neurons=Neurons(LeakyIntegrator(tau_m=10.0), backend="torch"))
        else:  # the first neuron passes its input on at once, the second hears of it later
            delays = torch.full((2, 2), delay)
            both = {"relay": (LeakyIntegrator(tau_m=0.1), 1), "membrane": (LeakyIntegrator(tau_m=10.0), 1)}
            net = Network(neurons=Recurrent(both, delays=delays, backend="torch", **options))  # type: ignore[arg-type]
            with torch.no_grad():
                net.layers["neurons"].weight = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
            return net
        with torch.no_grad():
            layer.weight.fill_(1.0)
        return net

    x = torch.nn.functional.pad(spikes, (0, 1)) if recurrent else spikes
    with torch.no_grad():
        target = network(7.5)(x).output[..., -1]
    net = network(2.0)
    (position,) = (p for n, p in net.named_parameters() if n.endswith("position"))
    optimizer = torch.optim.Adam([position], lr=0.2)
    for _ in range(150):
        optimizer.zero_grad()
        (net(x).output[..., -1] - target).square().mean().backward()
        optimizer.step()
    assert float(position.detach().flatten()[-2 if recurrent else 0]) == pytest.approx(7.5, abs=0.1)


def test_in_a_network_its_state_goes_in_and_out() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Network(
            fc=Delayed(3, 6, delays=(0.0, 4.0), gain=4.0),
            hidden=Neurons(LIF()),
            out=Delayed(6, 2, delays=2.0),
        )
    whole = net(X, record=["hidden.spikes"])
    assert whole["hidden.spikes"].detach().any()
    assert {layer: sorted(s) for layer, s in whole.state.items()} == {
        "fc": ["history"],
        "hidden": ["v"],
        "out": ["history"],
    }
    first = net(X[:5])
    torch.testing.assert_close(net(X[5:], state=first.state).output, whole.output[5:])


def test_constant_input_and_samples_of_several_axes() -> None:
    layer = seeded(delays=(0.0, 4.0))
    assert torch.equal(layer(Constant(X[0], 6)).output, layer(X[:1].expand(6, 2, 3)).output)
    assert torch.equal(layer(X.unsqueeze(2)).output, layer(X).output)


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"delays: got -1 ms, wanted at least 0 ms$"):
        seeded(delays=-1.0)
    with pytest.raises(ValueError, match=r"got 0\.3 ms, wanted whole multiples of the time step of 0\.5 ms"):
        seeded(delays=0.3, dt=0.5)
    with pytest.raises(ValueError, match=r"delays: got shape \(3, 4\), wanted \(4, 3\)"):
        seeded(delays=torch.ones(3, 4))
    with pytest.raises(ValueError, match=r"the shorter end first"):
        seeded(delays=(3.0, 2.0))
    with pytest.raises(ValueError, match=r"longest_delay: got 9 ms for delays that are not learnt"):
        seeded(delays=3.0, longest_delay=9.0)
    with pytest.raises(ValueError, match=r"got 5 ms, to be learnt up to 4 ms"):
        LearntDelays(5.0, (1, 1), dt=1.0, longest=4.0)
    with pytest.raises(ValueError, match=r"wanted a longest delay above 1 ms"):
        LearntDelays(1.0, (1, 1), dt=1.0, least=1)
    with pytest.raises(ValueError, match=r"got 20 steps, longer than the sequence of 12.*or give a state"):
        seeded(delays=20.0)(X)
    assert seeded(delays=20.0)(X, {"history": torch.ones(20, 2, 3)}).output.shape == (12, 2, 4)
    with pytest.raises(ValueError, match=r"state 'history': got shape \(3, 2, 3\), wanted \(2, 2, 3\)"):
        seeded(delays=2.0)(X, {"history": torch.ones(3, 2, 3)})
    with pytest.raises(ValueError, match=r"state: got the variables \['v'\]"):
        seeded(delays=2.0)(X, {"v": torch.ones(3, 2, 3)})
    with pytest.raises(ValueError, match="got samples of 2 values, wanted 3"):
        seeded(delays=2.0)(X[..., :2])
    with pytest.raises(ValueError, match="learn_delays without delays"):
        Recurrent(LIF(), 2, learn_delays=True)
