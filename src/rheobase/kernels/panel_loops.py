"""The loops of `rheobase.kernels.panels`: compiled like generated kernels, from this text.

Lists are made of blocks of a row or a column of x, as deep as a panel. List i of block b lies in
`listed[b, i]`, which has room for as many entries (`rheobase.kernels.entries`), and has `counts[b, i]`.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from rheobase.kernels import panel_sums, searches, squares
from rheobase.kernels.vectors import BYTES

Array = np.ndarray[Any, Any]
pick: Any = searches.pick
sum_lists: Any = panel_sums.sum_lists
transpose: Any = squares.transpose


@numba.njit(nogil=True, error_model="numpy", inline="always")
def _list(row: Array, at: int, size: int, i: int, listed: Array, counts: Array) -> None:
    """List i of each block: what is not zero among `size` numbers of `row`, counted from its beginning."""
    blocks, lists, words = listed.shape
    depth = words * 4 // row.itemsize  # an entry has a word for each four bytes of a number
    for block in range(blocks):
        first = block * depth
        to = (block * lists + i) * depth
        counts[block, i] = pick(row, at + first, min(depth, size - first), listed, to)


@numba.njit(nogil=True, error_model="numpy")
def list_rows(
    x: Array,  # shape: [M, K]
    listed: Array,  # shape: [blocks, M, words of a list]
    counts: Array,  # shape: [blocks, M]
    low: int,
    high: int,
) -> None:
    """Where rows are not zero, and what they are there."""
    for m in range(low, high):
        _list(x, m * x.shape[1], x.shape[1], m, listed, counts)


@numba.njit(nogil=True, error_model="numpy")
def list_columns(
    x: Array,  # shape: [M, K]
    listed: Array,  # shape: [blocks, K, words of a list]
    counts: Array,  # shape: [blocks, K]
    square_of: Array,  # shape: [threads, lanes, M]
    thread: int,
    low: int,
    high: int,
) -> None:
    """The same of columns, of which a vector's worth is a task."""
    square = square_of[thread]
    lanes, rows = BYTES // x.itemsize, square.shape[1]
    for task in range(low, high):
        first = task * lanes
        columns = min(lanes, x.shape[1] - first)
        transpose(x, 0, rows, first, columns, square, 0, 0)
        for i in range(columns):
            _list(square, i * rows, rows, first + i, listed, counts)


@numba.njit(nogil=True, error_model="numpy")
def multiply(
    listed: Array,  # shape: [blocks, M, words of a list]
    counts: Array,  # shape: [blocks, M]
    weight: Array,  # shape: [N, K]
    start: Array,  # shape: [N]
    out: Array,  # shape: [M, N]
    panel_of: Array,  # shape: [threads, depth, columns]
    sums_of: Array,  # shape: [threads, rows of a group + 1, columns], the last for what sums start from
    groups: int,
    thread: int,
    low: int,
    high: int,
) -> None:
    """Columns of `out`, a panel at a time, for one of the groups of rows."""
    panel, sums = panel_of[thread], sums_of[thread]
    depth, width = listed.shape[2] * 4 // weight.itemsize, panel.shape[1]
    outputs, inputs = weight.shape
    blocks, rows = counts.shape
    last = sums.shape[0] - 1  # of more rows than there need be
    for task in range(low, high):
        first, group = task // groups * width, task % groups
        begin, end = group * rows // groups, (group + 1) * rows // groups
        columns = min(width, outputs - first)
        for j in range(width):
            sums[last, j] = start[first + j] if j < columns else 0
        for block in range(blocks):
            k, at = block * depth, (block * rows + begin) * depth
            transpose(weight, first, columns, k, min(depth, inputs - k), panel, 0, 0)
            before, step = (0, width) if block > 0 else (last * width, 0)
            sum_lists(listed, counts[block, begin:end], at, depth, panel, sums, before, step, 0)
        for m in range(begin, end):
            source, target = sums[m - begin], out[m, first : first + columns]
            for j in range(columns):
                target[j] = source[j]


@numba.njit(nogil=True, error_model="numpy")
def weight_gradient(
    listed: Array,  # shape: [blocks, K, words of a list]
    counts: Array,  # shape: [blocks, K]
    gradient: Array,  # shape: [M, N]
    out: Array,  # shape: [N, K]
    total: Array,  # shape: [N]
    panel_of: Array,  # shape: [threads, depth, columns]
    sums_of: Array,  # shape: [threads, lanes or whole vectors of K, and one row of zeros, columns]
    groups: int,
    thread: int,
    low: int,
    high: int,
) -> None:
    """Rows of `out`, a panel of the gradient at a time, for one of the groups of K; and its sum over rows.

    Where there is one block, sums of no more than a vector's worth of columns need to be kept.
    """
    panel, sums = panel_of[thread], sums_of[thread]
    depth, width = listed.shape[2] * 4 // gradient.itemsize, panel.shape[1]
    blocks, inputs = counts.shape
    lanes, rows = BYTES // gradient.itemsize, gradient.shape[0]
    vectors = (inputs + lanes - 1) // lanes
    kept = lanes if blocks == 1 else vectors * lanes
    for j in range(width):
        sums[kept, j] = 0
    for task in range(low, high):
        first, group = task // groups * width, task % groups
        begin, end = group * vectors // groups * lanes, (group + 1) * vectors // groups * lanes
        columns = min(width, out.shape[0] - first)
        over_rows = total[first : first + columns]
        if group == 0:
            for j in range(columns):
                over_rows[j] = 0
        for block in range(blocks):
            for m in range(block * depth, min((block + 1) * depth, rows)):
                source, target = gradient[m, first : first + columns], panel[m - block * depth]
                for j in range(columns):
                    target[j] = source[j]
                if group == 0:
                    for j in range(columns):
                        over_rows[j] += source[j]
            k = begin
            while k < min(end, inputs):
                some, to = min(lanes, inputs - k), k % kept
                at = (block * inputs + k) * depth
                before, step = (to * width, width) if block > 0 else (kept * width, 0)
                few = counts[block, k : k + some]
                sum_lists(listed, few, at, depth, panel, sums, before, step, to * width)
                if block == blocks - 1:
                    transpose(sums, to, some, 0, columns, out, first, k)
                k += some
