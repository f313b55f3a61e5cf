"""Squares of numbers, turned over in registers: what lay in rows lies in columns.

A copy with one side strided moves one number at a time, from a cache line each. Here as many vectors are
loaded as one has lanes, exchanged among themselves in steps of 1, 2, 4, ... lanes, and stored.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from rheobase.kernels.emit import Emit, compiled, int64
from rheobase.kernels.vectors import BYTES


@intrinsic
def _turn(typing: Any, source: Any, row: Any, column: Any, target: Any, to_row: Any, to_column: Any) -> Any:
    """target[to_row + i, to_column + j] = source[row + j, column + i] for i and j within a vector."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        e = Emit(context, builder, source.dtype)

        def address(kind: Any, array: Any, first: Any, by: int, at: Any) -> Any:
            return e.pointer(kind, array, builder.add(first, int64(by)), at)

        rows = [e.load(address(source, args[0], args[1], i, args[2])) for i in range(e.lanes)]
        distance = 1
        while distance < e.lanes:
            even = [lane if not lane & distance else e.lanes + lane - distance for lane in range(e.lanes)]
            odd = [lane + distance if not lane & distance else e.lanes + lane for lane in range(e.lanes)]
            for i in range(e.lanes):
                if not i & distance:
                    pair = rows[i], rows[i + distance]
                    rows[i], rows[i + distance] = (_shuffle(builder, *pair, order) for order in (even, odd))
            distance *= 2
        for i, values in enumerate(rows):
            e.store(values, address(target, args[3], args[4], i, args[5]))
        return context.get_dummy_value()

    index = types.intp
    return types.void(source, index, index, target, index, index), generate


def _shuffle(builder: Any, a: Any, b: Any, order: list[int]) -> Any:
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order)
    return builder.shuffle_vector(a, b, mask)


turn: Any = _turn  # the first argument is Numba's


@compiled
def transpose(
    source: Any, row: int, rows: int, column: int, columns: int, target: Any, to_row: int, to_column: int
) -> None:
    """target[to_row + i, to_column + j] = source[row + j, column + i] for i < `columns`, j < `rows`."""
    lanes = BYTES // source.itemsize
    whole_rows, whole_columns = rows - rows % lanes, columns - columns % lanes
    j = 0
    while j < whole_rows:
        i = 0
        while i < whole_columns:
            turn(source, row + j, column + i, target, to_row + i, to_column + j)
            i += lanes
        j += lanes
    for j in range(rows):
        for i in range(whole_columns if j < whole_rows else 0, columns):
            target[to_row + i, to_column + j] = source[row + j, column + i]
