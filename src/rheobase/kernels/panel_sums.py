"""Sums of rows of a panel, chosen by lists: products with few numbers that are not zero.

    sum_lists   Y[i] = Z[i] + the sum of v P[j] over the entries (j, v) of list i

A panel's rows are up to `WIDEST` vectors, so that all of a list's sum stays in registers; an entry costs the
loads of the panel's row and of itself, and no more. `add_rows` of `microkernels` does the same for one row of
numbers and as many columns as there are. Here lists are many and short, so that what there is besides their
entries counts: a list is a place in two arrays, and a panel's width is known when this is compiled.

Sums are made in the entries' order by fused multiply-adds, the same bits as those of `microkernels`.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from rheobase.kernels.emit import Emit, cgutils, compiled, int64
from rheobase.kernels.vectors import BYTES

WIDEST = 4  # vectors of a panel's rows


def _sum_list(width: int) -> Any:
    @intrinsic
    def sum_list(
        typing: Any,
        found: Any,
        values: Any,
        at: Any,
        count: Any,
        panel: Any,
        sums: Any,
        first: Any,
        to: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            e = Emit(context, builder, values.dtype)
            found_at = builder.gep(e.array(found, args[0]).data, [args[2]])
            values_at = builder.gep(e.array(values, args[1]).data, [args[2]])
            rows = e.array(panel, args[4]).data
            before, target = (builder.gep(e.array(sums, args[5]).data, [at]) for at in args[6:8])
            totals = e.registers(width, lambda i: e.load(before, i))
            with cgutils.for_range(builder, args[3]) as loop:
                j = builder.zext(builder.load(builder.gep(found_at, [loop.index])), ir.IntType(64))
                row = builder.gep(rows, [builder.mul(j, int64(width * e.lanes))])
                factor = e.splat(builder.load(builder.gep(values_at, [loop.index])))
                for i, total in enumerate(totals):
                    builder.store(e.fma(factor, e.load(row, i), builder.load(total)), total)
            for i, total in enumerate(totals):
                e.store(builder.load(total), target, i)
            return context.get_dummy_value()

        index = types.intp
        return types.void(found, values, index, index, panel, sums, index, index), generate

    return sum_list


def _sum_all(width: int) -> Any:
    sum_list = _sum_list(width)

    @compiled
    def sum_all(
        found: Any,
        values: Any,
        counts: Any,
        at: int,
        room: int,
        panel: Any,
        sums: Any,
        first: int,
        step: int,
        to: int,
    ) -> None:
        columns = width * BYTES // values.itemsize
        for i in range(counts.shape[0]):
            place = at + i * room
            sum_list(found, values, place, counts[i], panel, sums, first + i * step, to + i * columns)

    return sum_all


_sum1, _sum2, _sum3, _sum4 = (_sum_all(width) for width in range(1, WIDEST + 1))


@compiled
def sum_lists(
    found: Any,  # int32
    values: Any,
    counts: Any,  # shape: [lists]
    at: int,
    room: int,
    panel: Any,  # shape: [rows, whole vectors]
    sums: Any,
    first: int,
    step: int,
    to: int,
) -> None:
    """Sums of rows of `panel` for lists that lie one behind another, from number `at` on, each in `room`.

    What list i starts from lies at number `first + i * step` of `sums`; its sum goes to row i of a panel as
    wide, which begins at number `to`.
    """
    width = panel.shape[1] * values.itemsize // BYTES
    if width == 1:
        _sum1(found, values, counts, at, room, panel, sums, first, step, to)
    elif width == 2:
        _sum2(found, values, counts, at, room, panel, sums, first, step, to)
    elif width == 3:
        _sum3(found, values, counts, at, room, panel, sums, first, step, to)
    elif width == 4:
        _sum4(found, values, counts, at, room, panel, sums, first, step, to)
