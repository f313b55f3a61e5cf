"""The loop of `rheobase.kernels.outer`: compiled like a generated kernel, from this text."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from rheobase.kernels import microkernels, searches
from rheobase.kernels.vectors import BYTES, PRODUCT, ROWS

Array = np.ndarray[Any, Any]
add_outer: Any = microkernels.add_outer
keep: Any = searches.keep


@numba.njit(nogil=True, error_model="numpy", inline="never")
def _add_part(
    x: Array,
    gradient: Array,
    start: int,
    end: int,
    out: Array,
    first: int,
    last: int,
    found: Array,
    kept: Array,
    counts: Array,
    panel: Array,
) -> None:
    """Rows from `start` to `end`, blocks from `first` to `last`: chunk after chunk, panel after panel."""
    inputs, outputs, chunk = x.shape[1], gradient.shape[1], found.shape[1] - 1
    lanes, whole = BYTES // x.itemsize, inputs // ROWS
    # Ranges with a step of their own may raise, for which an object file would need Numba.
    while start < end:
        rows = min(chunk, end - start)
        for b in range(first, last):
            counts[b] = 0
        for r in range(rows):
            row = x[start + r]
            for b in range(first, min(last, whole)):
                n = counts[b]
                found[b, n] = r
                counts[b] = n + keep(row, b * ROWS, kept[b], n * ROWS)
            for b in range(max(first, whole), last):  # fewer columns than a block has
                for s in range(ROWS):
                    j = b * ROWS + s
                    kept[b, r * ROWS + s] = row[j] if j < inputs else 0
                found[b, r] = r
                counts[b] = r + 1
        column = 0
        while column < out.shape[1]:
            width = min(out.shape[1] - column, PRODUCT * lanes)
            given = min(outputs - column, width)
            for r in range(rows):
                source, target = (
                    gradient[start + r, column : column + given],
                    panel[r * width : (r + 1) * width],
                )
                for j in range(given):
                    target[j] = source[j]
                for j in range(given, width):
                    target[j] = 0
            for b in range(first, last):
                add_outer(found[b], counts[b], kept[b], panel, width // lanes, out, b * ROWS, column)
            column += width
        start += rows


@numba.njit(nogil=True, error_model="numpy")
def outer(
    x: Array,  # shape: [M, K]
    gradient: Array,  # shape: [M, N]
    out_of: Array,  # shape: [parts, whole blocks of K, padded N], zeros
    groups: int,
    found_of: Array,  # shape: [threads, blocks, rows of a chunk + 1]
    kept_of: Array,  # shape: [threads, blocks, (rows of a chunk + 1) * ROWS]
    counts_of: Array,  # shape: [threads, blocks]
    panel_of: Array,  # shape: [threads, rows of a chunk * PRODUCT vectors]
    thread: int,
    low: int,
    high: int,
) -> None:
    """Parts of the rows of X, each with some groups of its blocks of columns."""
    parts = out_of.shape[0]
    for task in range(low, high):
        part, group = task // groups, task % groups
        blocks = out_of.shape[1] // ROWS
        _add_part(
            x,
            gradient,
            part * x.shape[0] // parts,
            (part + 1) * x.shape[0] // parts,
            out_of[part],
            group * blocks // groups,
            (group + 1) * blocks // groups,
            found_of[thread],
            kept_of[thread],
            counts_of[thread],
            panel_of[thread],
        )
