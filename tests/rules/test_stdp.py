"""Rules of spike timing: published values, direct sums, continuation, bounds, homeostasis, names."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from rheobase.kernels.constant import Constant
from rheobase.layers.delayed import Delayed
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.layers.neurons import Neurons
from rheobase.layers.over_time import OverTime
from rheobase.networks.competitive import Competitive
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.rules.base import Lesson, Memory, Outcome
from rheobase.rules.coincidence import Coincidence
from rheobase.rules.plasticity import SpikeTiming
from rheobase.rules.stdp import STDP
from rheobase.rules.triplet_stdp import TripletSTDP
from rheobase.rules.votes import count, votes

both = pytest.mark.parametrize("online", [False, True], ids=["held", "online"])
#: The second input makes the neuron fire in its step; the first hardly moves it.
DRIVER = 50.0


def relay(outputs: int = 1) -> Network:
    """Two inputs and a neuron each of which fires with the second input, in float64, without biases."""
    neurons = Neurons(LIF(tau_m=1e-3, threshold=DRIVER / 2), backend="torch")
    net = Network(dense1=Dense(2, outputs, bias=False), hidden1=neurons)
    with torch.no_grad():
        net.layers["dense1"].weight.copy_(torch.tensor([[0.5, DRIVER]]).expand(outputs, 2))  # type: ignore[union-attr]
    return net.double()


def spikes(pre: list[int], post: list[int], steps: int) -> Tensor:
    x = torch.zeros(steps, 1, 2, dtype=torch.float64)
    x[pre, 0, 0] = 1.0
    x[post, 0, 1] = 1.0
    return x


def learn(rule: SpikeTiming, net: Network, x: Tensor, memory: Memory | None = None, **more: Any) -> Outcome:
    memory = rule.begin(net, torch.Generator()) if memory is None else memory
    return rule.accumulate(net, Lesson(x, lambda record: record.output.sum(), **more), memory)


def weight_of(net: Network, layer: str = "dense1") -> Tensor:
    weight: Tensor = net.layers[layer].weight  # type: ignore[assignment,union-attr]
    return weight


def change(rule: SpikeTiming, pre: list[int], post: list[int], steps: int) -> float:
    """What the first weight changes by."""
    net = relay()
    outcome = learn(rule, net, spikes(pre, post, steps))
    assert outcome.loss.item() == len(post)
    gradient = weight_of(net).grad
    assert gradient is not None
    return -gradient[0, 0].item()


def plain(**options: Any) -> dict[str, Any]:
    """Options under which the driver's weight may be what it is."""
    return {"readout": "rule", "w_min": 0.0, "w_max": 100.0, **options}


@both
def test_pairs_as_in_the_example_of_brian(online: bool) -> None:
    rule = STDP(**plain(a_plus=1e-4, a_minus=1.05e-4, online=online))  # 0.01 and 0.0105 over a range of 100
    assert change(rule, [5], [15], 20) == pytest.approx(0.01 * math.exp(-0.5), abs=1e-15)
    assert change(rule, [15], [5], 20) == pytest.approx(-0.0105 * math.exp(-0.5), abs=1e-15)
    assert round(change(rule, [5], [15], 20), 7) == 0.0060653
    assert round(change(rule, [15], [5], 20), 7) == -0.0063686


PRE, POST = [0, 3, 10, 11, 20, 33, 34], [2, 3, 12, 19, 25, 26, 34, 40]


@both
def test_triplets_against_a_direct_sum_over_pairs_and_triplets(online: bool) -> None:
    """Pfister & Gerstner 2006, eqs. 2 to 4, written out over all pairs and triplets."""
    rule = TripletSTDP(**plain(a2_plus=1e-5, a3_plus=2e-4, a2_minus=7e-5, a3_minus=3e-5, online=online))

    def left(later: int, earlier: int, tau: float) -> float:
        return math.exp(-(later - earlier) / tau)

    total = 0.0
    for t, s in itertools.product(POST, PRE):
        if s < t:
            total += 1e-5 * left(t, s, 16.8)
            total += sum(2e-4 * left(t, s, 16.8) * left(t, other, 125.0) for other in POST if other < t)
        if t < s:
            total -= 7e-5 * left(s, t, 33.7)
            total -= sum(3e-5 * left(s, t, 33.7) * left(s, other, 101.0) for other in PRE if other < s)
    assert abs(total) > 1e-4
    assert change(rule, PRE, POST, 50) == pytest.approx(100.0 * total, abs=1e-12)


@both
def test_all_pairs_or_the_nearest(online: bool) -> None:
    options = plain(a_plus=1e-4, a_minus=2e-4, tau_plus=10.0, tau_minus=15.0, online=online)

    def total(nearest: bool) -> float:
        found = 0.0
        for t in POST:
            before = [s for s in PRE if s < t]
            found += sum(1e-4 * math.exp((s - t) / 10.0) for s in (before[-1:] if nearest else before))
        for s in PRE:
            before = [t for t in POST if t < s]
            found -= sum(2e-4 * math.exp((t - s) / 15.0) for t in (before[-1:] if nearest else before))
        return 100.0 * found

    for pairing, nearest in (("all", False), ("nearest", True)):
        got = change(STDP(pairing=pairing, **options), PRE, POST, 50)
        assert got == pytest.approx(total(nearest), abs=1e-12)


def test_weights_decide_how_much_they_change() -> None:
    """Held: one factor for the batch, from the weight at its start."""
    additive = change(STDP(**plain(a_plus=1e-4, a_minus=0.0)), [5], [15], 20)
    for power in (1.0, 0.4):
        got = change(STDP(**plain(a_plus=1e-4, a_minus=0.0, power_plus=power)), [5], [15], 20)
        assert got == pytest.approx(additive * 0.995**power, rel=1e-12)


@both
def test_coincidence_within_one_step(online: bool) -> None:
    rule = Coincidence(**plain(potentiation=3e-4, depression=1e-4, online=online))
    assert change(rule, [4], [5], 10) == pytest.approx(0.03, abs=1e-14)  # pre, then post
    assert change(rule, [6], [5], 10) == pytest.approx(-0.02, abs=1e-14)  # post without pre, then the reverse
    assert change(rule, [3], [5], 10) == pytest.approx(-0.01, abs=1e-14)  # post without pre
    assert change(rule, [4, 6], [5], 10) == pytest.approx(0.02, abs=1e-14)


RULES: dict[str, SpikeTiming] = {
    "stdp": STDP(**plain(a_plus=1e-3, a_minus=1e-3, pairing="nearest")),
    "triplet": TripletSTDP(**plain()),
    "coincidence": Coincidence(**plain(potentiation=1e-4, depression=1e-4)),
}


@both
@pytest.mark.parametrize("name", RULES)
def test_batches_that_go_on_are_one_long_run(name: str, online: bool) -> None:
    """With weights held still, changes add up; online, the next batch goes on with the changed weights."""
    rule = RULES[name].replace(continuous=True, online=online)
    x = spikes(PRE, POST, 50)
    whole = relay()
    learn(rule, whole, x)
    parts, memory = relay(), None
    start = weight_of(parts).detach().clone()
    for part in torch.split(x, 17):
        memory = learn(rule, parts, part, memory).memory
        if online:
            _step(parts)
    wanted = weight_of(whole).grad
    assert wanted is not None
    got = start - weight_of(parts).detach() if online else weight_of(parts).grad
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", RULES)
def test_windows_of_time_change_nothing(name: str) -> None:
    x = spikes(PRE, POST, 50)
    gradients = []
    for window in (256, 7):
        net = relay()
        learn(RULES[name].replace(window=window), net, x)
        gradients.append(weight_of(net).grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-12)


@both
def test_samples_of_a_batch_add_up(online: bool) -> None:
    rule = STDP(**plain(online=online, a_plus=1e-4, a_minus=1e-4))
    first, second = spikes([5], [15], 20), spikes([12], [10], 20)
    gradients = []
    for x in (first, second, torch.cat([first, second], 1)):
        net = relay()
        learn(rule, net, x)
        gradients.append(weight_of(net).grad)
    torch.testing.assert_close(gradients[2], gradients[0] + gradients[1], rtol=0, atol=1e-12)


def _growth(online: bool) -> int:
    """By how much the largest resident memory of this process grows from 1,000 to 100,000 steps, in kB."""
    net = Network(dense1=Dense(500, 4, bias=False), hidden1=Neurons(LIF(threshold=3.0)))
    value = torch.zeros(1, 500)
    value[0, :3] = 1.0
    rule = STDP(online=online, readout="rule")

    def peak(steps: int) -> int:
        lesson = Lesson(Constant(value, steps), lambda record: record.output.sum())
        rule.accumulate(net, lesson, rule.begin(net, torch.Generator()))
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before = peak(1_000)
    return peak(100_000) - before


@both
def test_memory_does_not_grow_with_the_sequence(online: bool) -> None:
    # In a process of its own: what other tests left in this one's memory decides what has to be added to it.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        growth = process.submit(_growth, online).result()
    assert growth < 40_000  # the inputs alone, written out, would be 200,000


def _step(net: Network) -> None:
    torch.optim.SGD(net.parameters(), lr=1.0).step()
    net.zero_grad()


def competitive(hidden: int = 6) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        architecture = Competitive(
            hidden=hidden, total=4.0, inhibition=5.0, train_neurons=("threshold",), backend="torch"
        )
        return architecture.build((8,), 3, LIF(threshold=1.0), LeakyIntegrator(tau_m=1e6))


def images(seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return (torch.rand(30, 5, 8, generator=g) < 0.3).float(), torch.randint(3, (5,), generator=g)


@both
@given(a=st.floats(0, 2), b=st.floats(0, 2), rate=st.floats(0.01, 1), seed=st.integers(0, 2**31))
@settings(max_examples=15, deadline=None)
def test_bounds_are_kept_by_plain_gradient_steps(
    online: bool, a: float, b: float, rate: float, seed: int
) -> None:
    net = competitive()
    rule = STDP(a_plus=a, a_minus=b, w_min=-0.5, w_max=0.8, online=online, normalise=True)
    x, labels = images(seed)
    with torch.no_grad():
        weight_of(net).clamp_(-0.5, 0.8)
    for _ in range(2):
        learn(rule, net, x, targets=labels)
        torch.optim.SGD(net.parameters(), lr=rate).step()
        net.zero_grad()
        assert weight_of(net).min() >= -0.5 - 1e-6
        assert weight_of(net).max() <= 0.8 + 1e-6


def test_sums_of_weights_are_kept() -> None:
    net = competitive()
    rule = STDP(a_plus=0.05, a_minus=0.0, normalise=True, online=True, w_max=4.0)
    x, labels = images()
    before = weight_of(net).detach().clone()
    learn(rule, net, x, targets=labels)
    _step(net)
    assert (weight_of(net) - before).abs().max() > 0.01
    torch.testing.assert_close(weight_of(net).sum(1), torch.full((6,), 4.0))


def test_thresholds_follow_the_spikes() -> None:
    net, (x, labels) = competitive(), images()
    fired = net(x, record=["hidden1.spikes"])["hidden1.spikes"].sum((0, 1))
    threshold = net.get_parameter("layers.hidden1.populations.all.threshold")
    for rate, target in ((None, fired.mean()), (20.0, torch.tensor(20.0 * 5 * 30 / 1000))):
        net.zero_grad()
        learn(STDP(homeostasis=0.1, rate=rate), net, x, targets=labels)
        torch.testing.assert_close(threshold.grad, -0.1 * (fired - target))
    assert fired.std() > 0


def test_the_readout_holds_the_votes() -> None:
    net, (x, labels) = competitive(), images()
    rule = STDP(a_plus=0.0, a_minus=0.0, w_max=4.0, naming="majority")
    outcome = learn(rule, net, x, targets=labels)
    _step(net)
    fired = net(x, record=["hidden1.spikes"])["hidden1.spikes"].sum(0)
    counts, samples = count(fired, labels, torch.zeros(3, 6), torch.zeros(3), rule.naming_memory)
    torch.testing.assert_close(weight_of(net, "dense2"), votes(counts, samples, "majority"))
    torch.testing.assert_close(outcome.memory["votes/counts"], counts)
    assert counts.sum() > 0


def test_what_was_counted_is_forgotten() -> None:
    fired, labels = torch.tensor([[2.0, 0.0], [1.0, 1.0]]), torch.tensor([0, 1])
    counts, samples = count(fired, labels, torch.ones(2, 2), torch.ones(2), memory=2 / math.log(2))
    torch.testing.assert_close(counts, torch.tensor([[2.5, 0.5], [1.5, 1.5]]))
    torch.testing.assert_close(samples, torch.tensor([1.5, 1.5]))


def test_neurons_that_never_fired_have_no_vote() -> None:
    for naming in ("majority", "shares"):
        got = votes(torch.tensor([[0.0, 2.0], [0.0, 0.0]]), torch.ones(2), naming)  # type: ignore[arg-type]
        assert got.tolist() == [[0.0, 1.0], [0.0, 0.0]]


def test_what_stands_in_front_of_a_connection_is_passed_once() -> None:
    """A layer behind pooling learns as one that is given the pooled input."""
    x = (torch.rand(6, 3, 1, 4, 4, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    pool, flat = OverTime(nn.AvgPool2d(2)), OverTime(nn.Flatten())
    layers = {
        "dense": Dense(4, 5, gain=9.0),
        "hidden": Neurons(LIF()),
        "out": Dense(5, 2),
        "end": Neurons(LIF()),
    }
    whole, tail = Network(pool=pool, flat=flat, **layers), Network(**layers)
    directions = []
    for net, inputs in ((whole, x), (tail, flat(pool(x)))):
        net.zero_grad()
        assert isinstance(inputs, Tensor)
        learn(Coincidence(readout="fixed"), net, inputs)
        directions.append(net.get_parameter("layers.dense.weight").grad)
    assert directions[0] is not None
    assert directions[0].abs().max() > 0
    torch.testing.assert_close(*directions, rtol=0, atol=0)


def test_what_cannot_be_trained_is_refused() -> None:
    def begin(net: Network, **options: Any) -> Memory:
        return STDP(**options).begin(net, torch.Generator())

    graded = Network(a=Dense(2, 3), readout=Neurons(LeakyIntegrator()))
    with pytest.raises(
        ValueError, match=r"without a layer that it can train \('a': neurons 'readout' that do not"
    ):
        begin(graded)
    delayed = Network(a=Delayed(2, 3, delays=1.0), hidden=Neurons(LIF()), b=Dense(3, 2), out=Neurons(LIF()))
    with pytest.raises(
        ValueError, match="cannot train 'a': got a connection of the kind Delayed, wanted Dense"
    ):
        begin(delayed, layers=("a",))
    plain_net = Network(a=Dense(2, 3), hidden=Neurons(LIF()), b=Dense(3, 2), out=Neurons(LIF()))
    with pytest.raises(ValueError, match="unknown connection 'c'"):
        begin(plain_net, layers=("c",))
    with pytest.raises(ValueError, match="'b', which leads to the read-out and holds votes"):
        begin(plain_net, layers=("b",))
    with pytest.raises(ValueError, match="whose thresholds are not trained; set the network's option"):
        begin(plain_net, homeostasis=1.0)
    with pytest.raises(ValueError, match="w_max: got 0, wanted more than w_min, 1"):
        STDP(w_min=1.0, w_max=0.0)
    with pytest.raises(ValueError, match="got targets of none, wanted one class per sample"):
        learn(STDP(), plain_net, torch.zeros(4, 1, 2))
    assert STDP(readout="rule").trained(plain_net) == ("layers.a.weight", "layers.b.weight")
