"""Pieces of rows as vectors: only what is there is read and written."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from rheobase.kernels import lane_rows
from rheobase.kernels.lanes import add, gt

LENGTH, BEGIN = 30, 3


def functions(count: int) -> Any:
    """x[at:] + x[at] where the lane is within and x is above zero, and the words that are made on the way."""
    fetch, everywhere = (getattr(lane_rows, f"{name}{count}") for name in ("fetch", "everywhere"))
    within, kept_mask = (getattr(lane_rows, f"{name}{count}") for name in ("within", "kept_mask"))

    @numba.njit
    def run(x: Any, left: int, out: Any, words: Any, total: Any) -> int:
        here = fetch(x, BEGIN, left)
        lane_rows.put(add(here, everywhere(x, BEGIN)), out, BEGIN, left)
        lane_rows.keep_mask(gt(here, x[0]), words, 1)
        lane_rows.add_total(here, total, 1)
        lane_rows.prefetch(x, BEGIN)
        return lane_rows.pattern(kept_mask(words, 1)) + (lane_rows.pattern(within(left)) << count)

    return run


@pytest.mark.parametrize(("count", "dtype"), [(16, np.float32), (8, np.float64), (4, np.float64)])
def test_rows_that_are_not_whole_vectors(count: int, dtype: Any) -> None:
    run = functions(count)
    x = np.random.default_rng(0).normal(size=LENGTH).astype(dtype)
    x[0] = 0.0
    for left in (-1, 0, 1, count - 1, count, count + 5):
        there = min(max(left, 0), count)
        out, words, total = np.zeros(LENGTH, dtype), np.full(3, -1, np.int32), np.ones(3, dtype)
        patterns = run(x, left, out, words, total)
        piece = x[BEGIN : BEGIN + there]
        wanted = np.zeros(LENGTH, dtype)
        wanted[BEGIN : BEGIN + there] = piece + x[BEGIN]
        np.testing.assert_array_equal(out, wanted)
        fired = sum(1 << k for k, value in enumerate(piece) if value > 0)
        assert patterns == fired + ((2**there - 1) << count)
        assert words.tolist() == [-1, fired, -1]
        np.testing.assert_allclose(total, [1.0, 1.0 + piece.sum(), 1.0], rtol=1e-5)
