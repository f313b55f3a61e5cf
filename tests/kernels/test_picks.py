"""Numbers picked out of a row and put back, against NumPy, with and without AVX-512."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from rheobase.kernels import picks, vectors


@pytest.mark.parametrize("wide", sorted({vectors.WIDE, False}))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_picked_is_put_back(dtype: Any, wide: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picks, "WIDE", wide)
    pick_out = numba.njit(lambda row, marks, picked: picks.pick_out(row, marks, picked))
    put_back = numba.njit(lambda picked, marks, row: picks.put_back(picked, marks, row))
    for size in (1, 16, 17, 100, 130):
        rng = np.random.default_rng(size)
        width = vectors.padded(size, np.dtype(dtype).itemsize)
        row, marks = rng.normal(size=width).astype(dtype), np.zeros(width, dtype)
        marks[:size] = rng.random(size) < 0.5
        marked = marks != 0
        picked, back = np.full(width + 64, np.nan, dtype), np.full(width + 1, 7.0, dtype)
        count = pick_out(row, marks, picked)
        assert count == marked.sum()
        np.testing.assert_array_equal(picked[:count], row[marked])
        assert put_back(picked, marks, back[:-1]) == count
        np.testing.assert_array_equal(back[:-1], np.where(marked, row, 0))
        assert back[-1] == 7.0
