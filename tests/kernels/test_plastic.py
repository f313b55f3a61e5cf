"""Plastic neurons: published values, a reference with coincident spikes, kernels against steps."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rheobase.kernels.constant import Constant
from rheobase.kernels.plastic import plastic
from rheobase.kernels.sequence import Backend
from rheobase.kernels.timing import ONE_STEP, Timing, Window
from rheobase.neurons.adaptive_lif import AdaptiveLIF
from rheobase.neurons.ei_conductance_lif import EIConductanceLIF
from rheobase.neurons.lif import LIF

BACKENDS: tuple[Backend, ...] = ("numba", "torch")
each_backend = pytest.mark.parametrize("backend", BACKENDS)

#: Fires where it is told to, by a current of 2000, and never by its weights.
TOLD = LIF(threshold=1000.0, tau_m=1e-3)


def exponential(tau: float, dt: float = 1.0) -> Window:
    return Window.exponential(tau, dt)


def trains(times: list[list[int]], steps: int) -> Tensor:
    """Spikes `[T, 1, N]` at these steps, in float64."""
    spikes = torch.zeros(steps, 1, len(times), dtype=torch.float64)
    for n, own in enumerate(times):
        spikes[own, 0, n] = 1.0
    return spikes


def told(
    pre: list[list[int]], post: list[list[int]], weight: Tensor, timing: Timing, steps: int, backend: Backend
) -> Tensor:
    """The weights `[N, P]` after these spikes."""
    fired = trains(post, steps)
    run = plastic(TOLD, trains(pre, steps), weight, timing, given=2000.0 * fired, backend=backend)
    assert torch.equal(run.output, fired)
    return run.weight[0]


@each_backend
def test_pairs_as_in_the_example_of_brian(backend: Backend) -> None:
    """0.01 and -0.0105 times exp(-10/20), additive, from the middle of the range."""
    timing = Timing(exponential(20), exponential(20), 0.01, 0.0105)
    start = torch.full((1, 1), 0.5, dtype=torch.float64)
    up = told([[5]], [[15]], start, timing, 20, backend) - start
    down = told([[15]], [[5]], start, timing, 20, backend) - start
    assert up.item() == pytest.approx(0.01 * math.exp(-0.5), abs=1e-15)
    assert down.item() == pytest.approx(-0.0105 * math.exp(-0.5), abs=1e-15)
    assert (round(up.item(), 7), round(down.item(), 7)) == (0.0060653, -0.0063686)


def reference(pre: list[int], post: list[int], w: float, *, mu: tuple[float, float], dt: float) -> float:
    """NEST's stdp_synapse in plain Python: spike by spike, each side's trace from its list of times.

    tau+ 16.8, tau- 33.7, lambda .01, alpha .85, Wmax 15. Spikes of one step make no pair.
    """
    w_max, rate, alpha = 15.0, 0.01, 0.85

    def trace(spikes: list[int], t: int, tau: float) -> float:
        return sum(math.exp(-(t - s) * dt / tau) for s in spikes if s < t)

    for t in sorted({*pre, *post}):
        if t in post:
            change = rate * (1 - w / w_max) ** mu[0] * trace(pre, t, 16.8)
            w = min(w_max * (w / w_max + change), w_max)
        if t in pre:
            change = alpha * rate * (w / w_max) ** mu[1] * trace(post, t, 33.7)
            w = max(w_max * (w / w_max - change), 0.0)
    return w


# The times that NEST's own test appends to random ones, in steps of 0.1 ms: every order, and coincidences.
PRE = [10, 50, 60, 70, 90, 110, 120, 130, 145, 161]
POST = [20, 30, 40, 80, 90, 100, 120, 132, 151, 164]


@pytest.mark.parametrize(
    ("backend", "mu"),
    [("numba", (0.0, 0.0)), ("torch", (0.0, 0.0)), ("torch", (1.0, 1.0)), ("torch", (0.4, 0.4))],
)
def test_weights_as_in_nest_with_coincident_spikes(backend: Backend, mu: tuple[float, float]) -> None:
    chance = torch.Generator().manual_seed(1)
    pre, post = (
        sorted({*own, *(180 + torch.randperm(900, generator=chance)[:40]).tolist()}) for own in (PRE, POST)
    )
    timing = Timing(
        exponential(16.8, 0.1),
        exponential(33.7, 0.1),
        0.01,
        0.0085,
        power_plus=mu[0],
        power_minus=mu[1],
        high=15.0,
    )
    start = torch.full((1, 1), 0.5, dtype=torch.float64)
    got = told([pre], [post], start, timing, 1100, backend).item()
    assert got == pytest.approx(reference(pre, post, 0.5, mu=mu, dt=0.1), rel=1e-12)
    assert abs(got - 0.5) > 0.1


def test_nearest_pairs_are_those_with_the_last_spike() -> None:
    timing = Timing(exponential(10), exponential(15), 0.1, 0.05, nearest=True)
    got = told([[0, 4, 12]], [[6, 9]], torch.full((1, 1), 0.5, dtype=torch.float64), timing, 15, "torch")
    wanted = 0.5 + 0.1 * (math.exp(-0.2) + math.exp(-0.5)) - 0.05 * math.exp(-3 / 15)
    assert got.item() == pytest.approx(wanted, abs=1e-15)


def test_an_input_may_come_before_a_spike_of_its_step() -> None:
    timing = Timing(exponential(10), exponential(10), 0.1, 0.0, same_step=True)
    got = told([[3]], [[3]], torch.full((1, 1), 0.5, dtype=torch.float64), timing, 5, "torch")
    assert got.item() == pytest.approx(0.6, abs=1e-15)


FORMS = {
    "pairs": Timing(exponential(20), exponential(15), 0.1, 0.12, low=-0.2, same_step=True),
    "nearest triplets": Timing(
        exponential(20),
        exponential(15),
        0.1,
        0.12,
        exponential(100),
        exponential(120),
        0.05,
        0.03,
        silent=0.1,
        power_plus=1.0,
        power_minus=0.4,
        nearest=True,
    ),
    "one step": Timing(ONE_STEP, ONE_STEP, 0.02, 0.0, silent=0.3),
}


def case(timing: Timing, backend: Backend, steps: slice = slice(None), **more: object) -> object:
    g = torch.Generator().manual_seed(0)
    weight = torch.rand(5, 7, generator=g, dtype=torch.float64)
    x = (torch.rand(60, 3, 7, generator=g, dtype=torch.float64) < 0.2).double()[steps]
    lateral = -torch.rand(5, 5, generator=g, dtype=torch.float64)
    neuron = AdaptiveLIF(refractory=2.0, threshold=torch.linspace(0.5, 1, 5, dtype=torch.float64))
    options = {"weight": weight, "lateral": lateral, "record": ["v"], **more}
    return plastic(neuron, x, timing=timing, backend=backend, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FORMS)
def test_kernels_follow_the_equations(name: str) -> None:
    fused, plain = (case(FORMS[name], backend) for backend in BACKENDS)
    assert plain.output.mean() > 0.1  # type: ignore[attr-defined]
    assert torch.equal(fused.output, plain.output)  # type: ignore[attr-defined]
    for part in ("weight", "state", "traces", "memory"):
        got, wanted = getattr(fused, part), getattr(plain, part)
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)
    start = torch.rand(5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert (fused.weight - start).abs().max() > 0.01  # type: ignore[attr-defined]


@each_backend
def test_a_sequence_goes_on_where_it_was_cut(backend: Backend) -> None:
    timing = FORMS["nearest triplets"]
    whole = case(timing, backend)
    first = case(timing, backend, slice(0, 25))
    then = case(
        timing,
        backend,
        slice(25, None),
        weight=first.weight,  # type: ignore[attr-defined]
        state=first.state,  # type: ignore[attr-defined]
        memory=first.memory,  # type: ignore[attr-defined]
    )
    assert torch.equal(whole.output[25:], then.output)  # type: ignore[attr-defined]
    for part in ("weight", "state", "memory"):
        torch.testing.assert_close(getattr(then, part), getattr(whole, part), rtol=0, atol=1e-14)


@given(
    plus=st.floats(0, 3),
    minus=st.floats(0, 3),
    power=st.sampled_from([0.0, 1.0, 0.4]),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=30, deadline=None)
def test_weights_never_leave_their_bounds(plus: float, minus: float, power: float, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    timing = Timing(
        exponential(20),
        exponential(20),
        plus,
        minus,
        silent=0.5,
        power_plus=power,
        power_minus=power,
        low=-1.0,
        high=2.0,
    )
    weight = 3.0 * torch.rand(3, 4, generator=g) - 1.0
    x = (torch.rand(30, 2, 4, generator=g) < 0.3).float()
    run = plastic(LIF(threshold=0.5), x, weight, timing, backend="torch")
    assert -1.0 <= run.weight.min() <= run.weight.max() <= 2.0


def test_constant_inputs_count_as_that_many_spikes() -> None:
    timing, value = FORMS["pairs"], torch.rand(2, 4, generator=torch.Generator().manual_seed(0))
    weight = torch.full((3, 4), 0.5)
    runs = [
        plastic(LIF(), x, weight, timing, backend="numba")
        for x in (Constant(value, 20), value.expand(20, 2, 4))
    ]
    assert runs[0].output.sum() > 0
    assert torch.equal(runs[0].weight, runs[1].weight)
    assert torch.equal(weight, torch.full((3, 4), 0.5))


def test_what_does_not_fit_is_refused() -> None:
    timing, x, w = FORMS["pairs"], torch.zeros(4, 2, 3), torch.zeros(5, 3)
    with pytest.raises(ValueError, match=r"inputs: got shape \(4, 3\), wanted \[T, B, P\]"):
        plastic(LIF(), torch.zeros(4, 3), w, timing)
    with pytest.raises(ValueError, match=r"weight: got shape \(5, 2\), wanted \[N, 3\]"):
        plastic(LIF(), x, torch.zeros(5, 2), timing)
    with pytest.raises(ValueError, match="those of 4 samples, wanted 2"):
        plastic(LIF(), x, torch.zeros(4, 5, 3), timing)
    with pytest.raises(ValueError, match=r"inputs of torch\.float32 and weights of torch\.float64"):
        plastic(LIF(), x, w.double(), timing)
    with pytest.raises(ValueError, match="wanted one with a single input"):
        plastic(EIConductanceLIF(), x, w, timing)
    with pytest.raises(ValueError, match=r"state: got the variables \['u'\], wanted \['v'\]"):
        plastic(LIF(), x, w, timing, state={"u": torch.zeros(2, 5)})
    memory = dict.fromkeys(("pre", "pre_slow", "post", "post_slow", "before"), torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"memory 'pre': got shape \(2, 5\), wanted \(2, 3\)"):
        plastic(LIF(), x, w, timing, memory=memory)
