"""The loops of `rheobase.kernels.events`: compiled like a generated kernel, from this text.

`gather` keeps its sums in registers (`rheobase.kernels.microkernels`), and searches in whole vectors, in a
copy of each row, beyond whose end it may read. `scatter`, whose sums are too many, searches in place.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from rheobase.kernels import microkernels, searches

Array = np.ndarray[Any, Any]
add_rows: Any = microkernels.add_rows
find: Any = searches.find


@numba.njit(nogil=True, error_model="numpy")
def gather(
    values: Array,  # shape: [M, K]
    weights: Array,  # shape: [K, padded N]
    start: Array,  # shape: [N]
    out: Array,  # shape: [M, N]
    row_of: Array,  # shape: [threads, K + 64]
    sums_of: Array,  # shape: [threads, padded N]
    found_of: Array,  # shape: [threads, K + 64]
    thread: int,
    low: int,
    high: int,
) -> None:
    """Rows of the weights, added up for the values that are not zero."""
    row, sums, found = row_of[thread], sums_of[thread], found_of[thread]
    size, columns = values.shape[1], out.shape[1]
    for m in range(low, high):
        given, result = values[m], out[m]
        for k in range(size):
            row[k] = given[k]
        for j in range(columns):
            sums[j] = start[j]
        count = find(row, size, found)
        add_rows(found, count, row, weights, sums)
        for j in range(columns):
            result[j] = sums[j]


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
