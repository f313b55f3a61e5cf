"""The loops of `rheobase.kernels.panels`: compiled like generated kernels, from this text."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from rheobase.kernels import microkernels, searches, squares
from rheobase.kernels.vectors import BYTES

Array = np.ndarray[Any, Any]
add_rows: Any = microkernels.add_rows
find: Any = searches.find
transpose: Any = squares.transpose


@numba.njit(nogil=True, error_model="numpy")
def list_rows(
    x: Array,  # shape: [M, K]
    values: Array,  # shape: [M, padded K]
    found: Array,  # shape: [M, padded K], int32
    counts: Array,  # shape: [M]
    low: int,
    high: int,
) -> None:
    """A copy of each row in whole vectors, and where it is not zero."""
    for m in range(low, high):
        for k in range(x.shape[1]):
            values[m, k] = x[m, k]
        counts[m] = find(values[m], x.shape[1], found[m])


@numba.njit(nogil=True, error_model="numpy")
def list_columns(
    x: Array,  # shape: [M, K]
    values: Array,  # shape: [K, padded M]
    found: Array,  # shape: [K, padded M], int32
    counts: Array,  # shape: [K]
    low: int,
    high: int,
) -> None:
    """The same for columns, of which a vector's worth is a task."""
    lanes, rows = BYTES // x.itemsize, x.shape[0]
    for task in range(low, high):
        first = task * lanes
        columns = min(lanes, x.shape[1] - first)
        transpose(x, 0, rows, first, columns, values, first, 0)
        for k in range(first, first + columns):
            counts[k] = find(values[k], rows, found[k])


@numba.njit(nogil=True, error_model="numpy")
def multiply(
    values: Array,  # shape: [M, padded K]
    found: Array,  # shape: [M, padded K]
    counts: Array,  # shape: [M]
    weight: Array,  # shape: [N, K]
    start: Array,  # shape: [N]
    out: Array,  # shape: [M, N]
    panel_of: Array,  # shape: [threads, K, columns]
    sums_of: Array,  # shape: [threads, columns]
    thread: int,
    low: int,
    high: int,
) -> None:
    """Columns of `out`, a panel at a time."""
    panel, sums = panel_of[thread], sums_of[thread]
    width, outputs = panel_of.shape[2], weight.shape[0]
    for task in range(low, high):
        first = task * width
        columns = min(width, outputs - first)
        transpose(weight, first, columns, 0, weight.shape[1], panel, 0, 0)
        for m in range(out.shape[0]):
            for j in range(columns):
                sums[j] = start[first + j]
            add_rows(found[m], counts[m], values[m], panel, sums)
            target = out[m, first : first + columns]
            for j in range(columns):
                target[j] = sums[j]


@numba.njit(nogil=True, error_model="numpy")
def weight_gradient(
    values: Array,  # shape: [K, padded M]
    found: Array,  # shape: [K, padded M]
    counts: Array,  # shape: [K]
    gradient: Array,  # shape: [M, N]
    out: Array,  # shape: [N, K]
    panel_of: Array,  # shape: [threads, M, columns]
    square_of: Array,  # shape: [threads, lanes, columns]
    thread: int,
    low: int,
    high: int,
) -> None:
    """Rows of `out`, a panel of the gradient at a time."""
    panel, square = panel_of[thread], square_of[thread]
    width, lanes, inputs = panel_of.shape[2], square_of.shape[1], out.shape[1]
    for task in range(low, high):
        first = task * width
        columns = min(width, out.shape[0] - first)
        for m in range(gradient.shape[0]):
            source, target = gradient[m, first : first + columns], panel[m]
            for j in range(columns):
                target[j] = source[j]
        k = 0
        while k < inputs:
            rows = min(lanes, inputs - k)
            for i in range(rows):
                sums = square[i]
                for j in range(width):
                    sums[j] = 0
                add_rows(found[k + i], counts[k + i], values[k + i], panel, sums)
            transpose(square, 0, rows, 0, columns, out, first, k)
            k += rows
