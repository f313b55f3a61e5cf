"""Functions on vectors of samples: what comes of numbers that all samples share."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from rheobase.kernels import lanes

F = np.float32
X = np.linspace(-2.0, 2.0, 16, dtype=F)


@numba.njit
def function(x: Any, a: Any, b: Any) -> Any:
    less = lanes.lt(a, b)
    chosen = lanes.where(lanes.both(less, lanes.ne(x, a)), lanes.mul(a, b), lanes.exp(a))
    return lanes.fma(lanes.add(chosen, x), lanes.sqrt(lanes.absolute(lanes.neg(a))), lanes.div(a, b))


@numba.njit
def on_vectors(x: Any, a: Any, b: Any, out: Any) -> None:
    lanes.store(function(lanes.load16(x, 0), a, b), out, 0)


def expected(x: Any, a: float, b: float) -> Any:
    chosen = np.where((a < b) & (x != a), F(a) * F(b), np.exp(F(a)))
    return np.sqrt(F(a)) * (chosen + x) + F(a) / F(b)


@pytest.mark.parametrize(("a", "b"), [(2.0, 3.0), (3.0, 2.0)])
def test_numbers_stand_beside_vectors_and_alone(a: float, b: float) -> None:
    out = np.zeros(16, F)
    on_vectors(X, F(a), F(b), out)
    np.testing.assert_allclose(out, expected(X, a, b), rtol=1e-6)
    # None of them a vector: not a vector either.
    np.testing.assert_allclose(function(F(2.0), F(a), F(b)), expected(F(2.0), a, b), rtol=1e-6)
