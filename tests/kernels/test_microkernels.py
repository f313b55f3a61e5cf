"""The inner loops against NumPy, for all widths, and in the same bits among themselves."""

from __future__ import annotations

import mmap
import tempfile
from typing import Any

import numba
import numpy as np
import pytest

from rheobase.kernels import microkernels as mk
from rheobase.kernels import searches, vectors

SIZES = [1, 5, 16, 17, 33, 100, 130, 257]
DTYPES = [np.float32, np.float64]
run_add_rows = numba.njit(lambda a, b, c, d, e: mk.add_rows(a, b, c, d, e))
run_multiply = numba.njit(lambda a, b, c, d, e, f, g: mk.multiply(a, b, c, d, e, f, f.shape[1], g))
run_find = numba.njit(lambda a, b, c: searches.find(a, b, c))
run_taps = numba.njit(lambda a, b, c, d, e, f, g, h: mk.add_taps(a, b, c, d, e, f, g, h))


def given(size: int, dtype: Any, samples: int = 7, share: float = 0.3) -> tuple[Any, Any, Any]:
    """Weights `[size, padded]`, sparse values `[samples, size + a vector]`, sums `[samples, padded]`."""
    rng = np.random.default_rng(size)
    width = vectors.padded(size, np.dtype(dtype).itemsize)
    weights = np.zeros((size, width), dtype)
    weights[:, :size] = rng.normal(size=(size, size))
    values = np.zeros((samples, size + 64), dtype)
    values[:, :size] = rng.normal(size=(samples, size)) * (rng.random((samples, size)) < share)
    sums = rng.normal(size=(samples, width)).astype(dtype)
    return weights, values, sums


def close(dtype: Any) -> dict[str, float]:
    return {"rtol": 1e-4, "atol": 1e-4} if dtype is np.float32 else {"rtol": 1e-12, "atol": 1e-12}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_find_lists_what_is_not_zero(size: int, dtype: Any) -> None:
    values = given(size, dtype)[1][0]
    values[size:] = 1.0  # beyond the end: to be ignored
    found = np.empty(size + 64, np.int32)
    count = run_find(values, size, found)
    assert found[:count].tolist() == np.flatnonzero(values[:size]).tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_find_without_avx512_lists_the_same(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searches, "WIDE", False)
    one_by_one = numba.njit(lambda a, b, c: searches.find(a, b, c))
    values = given(130, dtype)[1][0]
    values[130:] = 1.0
    found = np.empty(194, np.int32)
    count = one_by_one(values, 130, found)
    assert found[:count].tolist() == np.flatnonzero(values[:130]).tolist()


def test_find_reads_nothing_beyond_the_end() -> None:
    # The last page of a mapping: to read on would be a fault.
    page = mmap.PAGESIZE
    with tempfile.TemporaryFile() as file:
        file.truncate(page)
        with mmap.mmap(file.fileno(), page) as mapped:
            values = np.frombuffer(mapped, np.float32)[-5:]
            values[:] = [0, 1, 0, 2, 3]
            found = np.empty(64, np.int32)
            assert found[: run_find(values, 5, found)].tolist() == [1, 3, 4]
            del values


def test_find_knows_what_is_not_a_number() -> None:
    values = np.array([0.0, np.nan, -0.0, np.inf, *[0.0] * 60], np.float32)
    found = np.empty(68, np.int32)
    assert found[: run_find(values, 4, found)].tolist() == [1, 3]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_both_products_agree_with_numpy_and_in_every_bit(size: int, dtype: Any) -> None:
    weights, values, sums = given(size, dtype)
    everyone = np.arange(size, dtype=np.int32)
    dense, events = sums.copy(), sums.copy()
    run_multiply(values, 0, len(values), everyone, size, weights, dense)
    for row, total in zip(values, events, strict=True):
        found = np.flatnonzero(row[:size]).astype(np.int32)
        run_add_rows(found, len(found), row, weights, total)
    assert np.array_equal(dense, events)
    np.testing.assert_allclose(dense, sums + values[:, :size] @ weights, **close(dtype))


@pytest.mark.parametrize("rows", range(1, 8))
def test_product_of_some_samples_leaves_the_others_alone(rows: int) -> None:
    weights, values, sums = given(40, np.float32, samples=9)
    out = sums.copy()
    run_multiply(values, 1, 1 + rows, np.arange(40, dtype=np.int32), 40, weights, out)
    wanted = sums.copy()
    wanted[:rows] += values[1 : 1 + rows, :40] @ weights
    np.testing.assert_allclose(out, wanted, **close(np.float32))
    assert np.array_equal(out[rows:], sums[rows:])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 11])
def test_taps_sum_values_of_a_vector_of_samples(count: int, dtype: Any) -> None:
    rng = np.random.default_rng(count)
    n = vectors.lanes(np.dtype(dtype).itemsize)
    source = rng.normal(size=(20, n)).astype(dtype)
    weights, rows = rng.normal(size=count + 2).astype(dtype), rng.integers(0, 20, count + 2)
    out = np.zeros(3 * n, dtype)
    base = 10 * n
    run_taps(weights, ((rows - 10) * n).astype(np.int32), 1, 1 + count, source.reshape(-1), base, out, n)
    wanted = (weights[1 : 1 + count, None] * source[rows[1 : 1 + count]]).sum(0)
    np.testing.assert_allclose(out[n : 2 * n], wanted, **close(dtype))
    assert not out[:n].any()
    assert not out[2 * n :].any()
