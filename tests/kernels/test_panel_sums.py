"""Lists of what is not zero, and sums of a panel's rows by them, against NumPy."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from rheobase.kernels import panel_sums, searches, vectors

DTYPES = [np.float32, np.float64]
run_pick = numba.njit(lambda a, b, c, d, e: searches.pick(a, b, c, d, e))
run_sums = numba.njit(lambda a, b, c, d, e, f, g, h, i: panel_sums.sum_lists(a, b, c, d, e, f, g, h, i))


def entries(dtype: Any) -> Any:
    """What an entry of a list is to NumPy."""
    index = np.dtype(f"i{np.dtype(dtype).itemsize}")
    return np.dtype([("index", index), ("value", dtype)])


def check(pick: Any, dtype: Any) -> None:
    """Numbers 3 to 44 of an array, of which some are not zero, one is negative and one not a number."""
    row = np.random.default_rng(0).normal(size=(2, 50)).astype(dtype)
    row[:, ::3] = 0.0
    row[0, 5], row[0, 6], row[0, 7] = -0.0, np.nan, -1.0
    listed = np.array([(-1, 7.0)] * 120, entries(dtype))
    count = pick(row, 3, 41, listed.view(np.int64), 8)
    part = row.reshape(-1)[3:44]
    assert listed["index"][8 : 8 + count].tolist() == np.flatnonzero(part).tolist()
    np.testing.assert_array_equal(listed["value"][8 : 8 + count], part[part != 0])
    for others in (listed[:8], listed[8 + vectors.padded(41, row.itemsize) :]):
        assert (others["index"] == -1).all()
        assert (others["value"] == 7.0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_pick_lists_indices_and_values(dtype: Any) -> None:
    check(run_pick, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pick_without_avx512_lists_the_same(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searches, "WIDE", False)
    check(numba.njit(lambda a, b, c, d, e: searches.pick(a, b, c, d, e)), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", range(1, panel_sums.WIDEST + 1))
@pytest.mark.parametrize("together", [False, True])
def test_lists_add_rows_of_a_panel(width: int, together: bool, dtype: Any) -> None:
    rng = np.random.default_rng(width)
    columns, depth, counts = width * vectors.lanes(np.dtype(dtype).itemsize), 6, np.array([0, 6, 1, 4])
    panel = rng.normal(size=(9, columns)).astype(dtype)
    listed = np.empty((5, depth), entries(dtype))
    listed["index"], listed["value"] = rng.integers(0, 9, (5, depth)), rng.normal(size=(5, depth))
    sums = rng.normal(size=(5, columns)).astype(dtype)
    first, step = (
        (4 * columns, 0) if together else (0, columns)
    )  # where each starts from: one row, or its own
    wanted = sums[4] + np.zeros((4, columns)) if together else sums[:4].astype(np.float64)
    for i, count in enumerate(counts):
        wanted[i] += listed["value"][1 + i, :count] @ panel[listed["index"][1 + i, :count]].astype(np.float64)
    before = sums[4].copy()
    run_sums(listed.view(np.int64), counts, depth, depth, panel, sums, first, step, 0)
    np.testing.assert_allclose(sums[:4], wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(sums[4], before)
