"""Every registered surrogate: its derivative is its primitive's, nothing overflows, closed forms."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from rheobase.config import fields_of
from rheobase.operators import spike
from rheobase.registry import catalogue
from rheobase.surrogate import (
    Arctan,
    Boxcar,
    FastSigmoid,
    Gaussian,
    Sigmoid,
    SpikeItself,
    Surrogate,
    Triangular,
    smoothed,
)

ALL = list(catalogue(Surrogate).values())
each = pytest.mark.parametrize("cls", ALL)


def with_options(cls: type[Surrogate], value: float) -> Surrogate:
    """The surrogate with all its numbers set to `value`."""
    return cls(**{field.name: value for field in fields_of(cls)})


def slope(surrogate: Surrogate, x: Tensor) -> Tensor:
    """The primitive's derivative, by autograd."""
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(surrogate.primitive(x).sum(), x)
    return gradient


@each
@settings(deadline=None)
@given(x=st.floats(-50, 50).filter(lambda x: x != 0.0), value=st.floats(0.05, 20.0))
def test_derivative_is_that_of_the_primitive(cls: type[Surrogate], x: float, value: float) -> None:
    assume(abs(x) != value)  # a corner of some primitives
    surrogate = with_options(cls, value)
    point = torch.tensor([x], dtype=torch.float64)
    expected = surrogate.derivative(point).double()
    torch.testing.assert_close(slope(surrogate, point), expected, rtol=1e-9, atol=1e-12)


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_is_kept(cls: type[Surrogate], dtype: torch.dtype) -> None:
    x = torch.tensor([-0.5, 0.0, 0.5], dtype=dtype)
    assert cls().derivative(x).dtype is dtype
    assert cls().primitive(x).dtype is dtype


@each
def test_derivative_is_that_of_the_primitive_at_the_threshold(cls: type[Surrogate]) -> None:
    if cls is SpikeItself:
        pytest.skip("its primitive has a corner at 0; the derivative there is 0 by convention")
    zero = torch.zeros(1, dtype=torch.float64)
    torch.testing.assert_close(slope(cls(), zero), cls().derivative(zero))


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@settings(deadline=None)
@given(
    x=st.floats(-1e30, 1e30) | st.sampled_from([0.0, -0.0, 1e30, -1e30, 1e-30]),
    value=st.floats(1e-4, 1e4) | st.sampled_from([1e-4, 1e4]),
)
def test_nothing_overflows(cls: type[Surrogate], dtype: torch.dtype, x: float, value: float) -> None:
    surrogate = with_options(cls, value)
    point = torch.tensor([x], dtype=dtype)
    assert surrogate.derivative(point).isfinite().all()
    assert surrogate.derivative(point).min() >= 0
    assert surrogate.primitive(point).isfinite().all()
    assert slope(surrogate, point).isfinite().all()


@each
@settings(deadline=None)
@given(x=st.floats(-1e30, 1e30))
def test_tensors_and_numbers_agree(cls: type[Surrogate], x: float) -> None:
    point = torch.tensor(x, dtype=torch.float64)
    for function in (cls().derivative, cls().primitive):
        assert float(function(point)) == pytest.approx(float(function(x)), rel=1e-12, abs=1e-300)


@each
def test_even_and_falling_with_distance(cls: type[Surrogate]) -> None:
    if cls is SpikeItself:
        pytest.skip("one-sided")
    x = torch.linspace(0.0, 3.0, 301, dtype=torch.float64)
    derivative = cls().derivative(x)
    assert torch.equal(derivative, cls().derivative(-x))
    assert (derivative.diff() <= 0).all()


@pytest.mark.parametrize(
    ("surrogate", "x", "derivative", "primitive"),
    [
        (FastSigmoid(slope=100.0), 0.01, 0.25, 0.005),
        (FastSigmoid(slope=25.0), -0.2, 1 / 36, -0.2 / 6),
        (Triangular(), 0.25, 0.225, 0.3 * (0.25 - 0.5 * 0.0625)),
        (Triangular(damping=0.5, width=2.0), -1.0, 0.25, -0.5 * (1.0 - 0.25)),
        (Triangular(), 1.5, 0.0, 0.15),
        (Arctan(), 1 / math.pi, 0.5, 0.25),
        (Arctan(alpha=4.0), 0.0, 2.0, 0.0),
        (Sigmoid(), 0.0, 1.0, 0.5),
        (Sigmoid(slope=1.0), math.log(3.0), 0.75 * 0.25, 0.75),
        (Gaussian(sigma=0.4), 0.0, 1 / (0.4 * math.sqrt(2 * math.pi)), 0.0),
        (Gaussian(sigma=1.0), -1.0, math.exp(-0.5) / math.sqrt(2 * math.pi), 0.5 * math.erf(-math.sqrt(0.5))),
        (Boxcar(), 0.49, 1.0, 0.49),
        (Boxcar(width=2.0), -3.0, 0.0, -0.5),
        (SpikeItself(), 0.1, 1.0, 0.1),
        (SpikeItself(), -0.1, 0.0, 0.0),
        (SpikeItself(), 0.0, 0.0, 0.0),
    ],
)
def test_closed_forms(surrogate: Surrogate, x: float, derivative: float, primitive: float) -> None:
    point = torch.tensor(x, dtype=torch.float64)
    assert float(surrogate.derivative(point)) == pytest.approx(derivative, rel=1e-12, abs=1e-15)
    assert float(surrogate.primitive(point)) == pytest.approx(primitive, rel=1e-12, abs=1e-15)


@each
@pytest.mark.parametrize("strict", [True, False])
def test_spike_is_a_step_with_this_derivative(cls: type[Surrogate], strict: bool) -> None:
    x = torch.tensor([-0.3, -1e-9, 0.0, 1e-9, 0.3], dtype=torch.float64, requires_grad=True)
    z = spike(x, cls(), strict)
    assert z.tolist() == [0.0, 0.0, 0.0 if strict else 1.0, 1.0, 1.0]
    weigh = torch.arange(1.0, 6.0, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((weigh * z).sum(), x)
    assert torch.equal(gradient, weigh * cls().derivative(x.detach()).double())


@each
def test_smoothed_spike_is_the_primitive(cls: type[Surrogate]) -> None:
    x = torch.linspace(-1.0, 1.0, 8, dtype=torch.float64)
    assert torch.equal(spike(x, smoothed(cls())), cls().primitive(x))


def test_smoothed_surrogates_are_not_registered() -> None:
    assert all(not cls.smooth for cls in ALL)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_widths_and_slopes_must_be_positive(value: float) -> None:
    for cls in ALL:
        options: dict[str, Any] = {field.name: value for field in fields_of(cls)}
        if options:
            with pytest.raises(ValueError, match=rf"{cls.__name__}\.\w+: got"):
                cls(**options)
