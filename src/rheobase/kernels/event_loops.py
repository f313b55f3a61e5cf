"""The loops of `rheobase.kernels.events`: compiled like a generated kernel, from this text."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

Array = np.ndarray[Any, Any]


@numba.njit(nogil=True, error_model="numpy", inline="always")
def _search(bits: Array, found: Array) -> int:
    """Indices of the values that are not zero, into `found`; their number."""
    count = 0
    size = bits.shape[0]
    for block in range(0, size - 15, 16):
        part = bits[block : block + 16]
        any_bit = part[0]
        for i in range(1, 16):
            any_bit |= part[i]
        if any_bit != 0:
            for i in range(16):
                found[count] = block + i
                count += 1 if part[i] != 0 else 0
    for i in range(size - size % 16, size):
        found[count] = i
        count += 1 if bits[i] != 0 else 0
    return count


@numba.njit(nogil=True, error_model="numpy", fastmath={"contract"})
def gather(
    bits: Array,
    values: Array,
    columns: Array,
    start: Array,
    out: Array,
    found_of: Array,
    thread: int,
    low: int,
    high: int,
) -> None:
    """Rows of the weights, `columns` `[K, N]`, added up for the values that are not zero."""
    found = found_of[thread]
    for m in range(low, high):
        row, result = values[m], out[m]
        count = _search(bits[m], found)
        for j in range(result.shape[0]):
            result[j] = start[j]
        for q in range(count):
            value, column = row[found[q]], columns[found[q]]
            for j in range(result.shape[0]):
                result[j] += value * column[j]


@numba.njit(nogil=True, error_model="numpy", fastmath={"contract"})
def scatter(
    bits: Array,
    values: Array,
    by_out: Array,
    sums_of: Array,
    found_of: Array,
    thread: int,
    low: int,
    high: int,
) -> None:
    """Rows of the gradient, added to the sums of each value that is not zero, part after part."""
    found = found_of[thread]
    rows, parts = bits.shape[0], sums_of.shape[0]
    for part in range(low, high):
        sums = sums_of[part]
        for m in range(part * rows // parts, (part + 1) * rows // parts):
            row, gradient = values[m], by_out[m]
            count = _search(bits[m], found)
            for q in range(count):
                value, target = row[found[q]], sums[found[q]]
                for j in range(gradient.shape[0]):
                    target[j] += value * gradient[j]
