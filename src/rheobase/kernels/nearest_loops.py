"""The loop of `rheobase.kernels.nearest`: compiled like a generated kernel, from this text."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

Array = np.ndarray[Any, Any]


@numba.njit(nogil=True, error_model="numpy")
def nearest(
    first: Array,  # shape: [I, M]
    second: Array,  # shape: [J, M]
    prices: Array,  # shape: [I, J]
    least_of: Array,  # shape: [threads, columns taken at a time, or more]
    chosen: Array,  # shape: [M], int32
    block: int,
    thread: int,
    low: int,
    high: int,
) -> None:
    """Columns `low` to `high` of `chosen`, a few at a time, whose values stay in the first cache."""
    start = low
    while start < high:
        size = min(block, high - start)
        least, best = least_of[thread, :size], chosen[start : start + size]
        for m in range(size):
            least[m] = np.inf
            best[m] = 0
        for i in range(first.shape[0]):
            a = first[i, start : start + size]
            for j in range(second.shape[0]):
                b = second[j, start : start + size]
                price, number = prices[i, j], np.int32(i * second.shape[0] + j)
                for m in range(size):
                    cost = abs(a[m] - b[m]) + price
                    better = cost < least[m]
                    least[m] = cost if better else least[m]
                    best[m] = number if better else best[m]
        start += size
