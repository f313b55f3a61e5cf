"""Filters: impulse responses by formula, adjoints as time-reversed filters, gradients, and properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rheobase.coding.filters import Alpha, DoubleExponential, Exponential, Filter
from rheobase.kernels.linear import LinearSystem, _plain, respond, respond_adjoint

FILTERS = [
    Exponential(tau=7.0),
    DoubleExponential(tau_rise=5.0, tau_decay=10.0),
    DoubleExponential(tau_rise=3.0, tau_decay=20.0, scheme="euler"),
    Alpha(tau=6.0),
]
each = pytest.mark.parametrize("filter", FILTERS, ids=lambda f: f"{type(f).__name__}-{f.scheme}")


def impulse(steps: int) -> torch.Tensor:
    x = torch.zeros(steps, dtype=torch.float64)
    x[0] = 1.0
    return x


@each
def test_normalisation(filter: Filter) -> None:
    dt, steps = 0.5, 2000
    assert filter(impulse(steps), dt).sum().item() == pytest.approx(1.0, abs=1e-12)
    peak = filter.replace(normalise="peak")(impulse(steps), dt)
    assert peak.max().item() == pytest.approx(1.0, abs=1e-12)
    plain = filter.replace(normalise="none")(impulse(steps), dt)
    torch.testing.assert_close(plain / plain.sum(), filter(impulse(steps), dt))


def test_kernels_by_formula() -> None:
    dt = 0.001
    t = dt * torch.arange(40_000, dtype=torch.float64)
    double = (torch.exp(-t / 10) - torch.exp(-t / 5)) / 5
    torch.testing.assert_close(DoubleExponential()(impulse(len(t)), dt) / dt, double, rtol=0, atol=3e-5)
    alpha = t / 36 * torch.exp(-t / 6)
    torch.testing.assert_close(Alpha(tau=6.0)(impulse(len(t)), dt) / dt, alpha, rtol=0, atol=3e-5)
    single = torch.exp(-t / 7) / 7
    torch.testing.assert_close(Exponential(tau=7.0)(impulse(len(t)), dt) / dt, single, rtol=1e-3, atol=0)


@each
def test_energy_is_that_of_short_steps(filter: Filter) -> None:
    dt = 0.01
    total = (filter(impulse(40_000), dt) / dt).square().sum() * dt
    assert total.item() == pytest.approx(filter.energy(), rel=3e-3)


def test_superspikes_traces_by_hand() -> None:
    # Euler's scheme: z = .98 z + .02 x, then y = .99 y + .01 z.
    filter = DoubleExponential(scheme="euler")
    assert filter(impulse(3), 0.1).tolist() == pytest.approx(
        [0.0002, 0.98 * 0.0002 + 0.99 * 0.0002, 0.0002 * (0.98**2 + 0.98 * 0.99 + 0.99**2)]
    )
    # A current that jumps by 1 and a membrane that follows it: at most 1/4.
    assert DoubleExponential(normalise="none")(impulse(2000), 0.01).max().item() == pytest.approx(
        0.25, abs=1e-3
    )


@each
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 1000), steps=st.integers(1, 40))
def test_the_adjoint_is_the_filter_run_backward(filter: Filter, seed: int, steps: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, g = torch.randn(2, steps, 3, generator=generator, dtype=torch.float64)
    backward = filter(g.flip(0), 1.0).flip(0)
    torch.testing.assert_close(filter.adjoint(g, 1.0), backward, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close((g * filter(x, 1.0)).sum(), (backward * x).sum(), rtol=1e-12, atol=1e-12)


@each
def test_gradients_are_those_of_finite_differences(filter: Filter) -> None:
    x = torch.randn(12, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: filter(v, 1.0), x)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), cut=st.integers(0, 20), size=st.integers(1, 3))
def test_a_cut_sequence_goes_on_where_it_was(seed: int, cut: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = tuple(tuple(row) for row in (0.4 * rng.normal(size=(size, size))).tolist())
    given_, read = (tuple(rng.normal(size=size).tolist()) for _ in range(2))
    system = LinearSystem(matrix, given_, read)
    x = torch.from_numpy(rng.normal(size=(20, 2)))
    g = torch.from_numpy(rng.normal(size=(20, 2)))
    whole, last = respond(system, x)
    if 0 < cut < 20:
        first, between = respond(system, x[:cut])
        second, end = respond(system, x[cut:], between)
        torch.testing.assert_close(torch.cat([first, second]), whole)
        torch.testing.assert_close(end, last)
        late, costate = respond_adjoint(system, g[cut:])
        early, _ = respond_adjoint(system, g[:cut], costate)
        torch.testing.assert_close(torch.cat([early, late]), respond_adjoint(system, g)[0])
    torch.testing.assert_close(last, system.decays(20, torch.float64) @ x)
    torch.testing.assert_close(
        system.power(3, torch.float64) @ last,
        system.advance(system.advance(system.advance(last))),
    )


@pytest.mark.parametrize("function", ["respond", "adjoint"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kernel_is_the_equations(function: str, dtype: torch.dtype) -> None:
    system = DoubleExponential().system(0.5)
    x, state = torch.randn(30, 2, 3, dtype=dtype), torch.randn(2, 2, 3, dtype=dtype)
    kernel = respond(system, x, state) if function == "respond" else respond_adjoint(system, x, state)
    torch.testing.assert_close(kernel, _plain(system, x, state, function))


def test_errors_say_what_was_wanted() -> None:
    with pytest.raises(ValueError, match="use scheme 'exponential' or shorter steps"):
        Exponential(tau=1.0, scheme="euler")(torch.zeros(3), dt=2.0)
    with pytest.raises(ValueError, match="wanted floating point"):
        Exponential()(torch.zeros(3, dtype=torch.int64), dt=1.0)
    with pytest.raises(ValueError, match="wanted a square matrix"):
        LinearSystem(((1.0,), (1.0,)), (1.0,), (1.0,))
    with pytest.raises(ValueError, match=r"got state of shape \(2, 3\), wanted \(1, 3\)"):
        respond(Exponential().system(1.0), torch.zeros(4, 3), torch.zeros(2, 3))
    assert math.isclose(DoubleExponential(tau_rise=10.0, tau_decay=5.0).energy(), 1 / 30)
