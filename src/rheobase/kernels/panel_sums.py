"""Sums of rows of a panel, chosen by lists: products with few numbers that are not zero.

    sum_lists   Y[i] = Z[i] + the sum of v P[j] over the entries (j, v) of list i

A panel's rows are up to `WIDEST` vectors, so that all of a list's sum stays in registers; an entry costs the
loads of the panel's row and of itself, and no more. `add_rows` of `microkernels` does the same for one row of
numbers and as many columns as there are. Here lists are many and short, so that what there is besides their
entries counts: a list is a place among entries (`rheobase.kernels.entries`), and a panel's width is known
when this is compiled.

Sums are made in the entries' order by fused multiply-adds, the same bits as those of `microkernels`.
"""

from __future__ import annotations

from typing import Any

from numba.core import types
from numba.extending import intrinsic

from rheobase.kernels import entries
from rheobase.kernels.emit import Emit, cgutils, compiled, int64
from rheobase.kernels.vectors import BYTES

WIDEST = 4  # vectors of a panel's rows


def _sum_list(width: int) -> Any:
    @intrinsic
    def sum_list(
        typing: Any,
        listed: Any,
        at: Any,
        count: Any,
        panel: Any,
        sums: Any,
        first: Any,
        to: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            e = Emit(context, builder, panel.dtype)
            start = entries.pointer(e, e.array(listed, args[0]).data, args[1])
            rows = e.array(panel, args[3]).data
            before, target = (builder.gep(e.array(sums, args[4]).data, [number]) for number in args[5:7])
            totals = e.registers(width, lambda i: e.load(before, i))
            with cgutils.for_range(builder, args[2]) as loop:
                j, factor = entries.read(e, entries.pointer(e, start, loop.index))
                row = builder.gep(rows, [builder.mul(j, int64(width * e.lanes))])
                for i, total in enumerate(totals):
                    builder.store(e.fma(factor, e.load(row, i), builder.load(total)), total)
            for i, total in enumerate(totals):
                e.store(builder.load(total), target, i)
            return context.get_dummy_value()

        index = types.intp
        return types.void(listed, index, index, panel, sums, index, index), generate

    return sum_list


def _sum_all(width: int) -> Any:
    sum_list = _sum_list(width)

    @compiled
    def sum_all(
        listed: Any,
        counts: Any,
        at: int,
        room: int,
        panel: Any,
        sums: Any,
        first: int,
        step: int,
        to: int,
    ) -> None:
        columns = width * BYTES // panel.itemsize
        for i in range(counts.shape[0]):
            place = at + i * room
            sum_list(listed, place, counts[i], panel, sums, first + i * step, to + i * columns)

    return sum_all


_sum1, _sum2, _sum3, _sum4 = (_sum_all(width) for width in range(1, WIDEST + 1))


@compiled
def sum_lists(
    listed: Any,  # entries
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
    width = panel.shape[1] * panel.itemsize // BYTES
    if width == 1:
        _sum1(listed, counts, at, room, panel, sums, first, step, to)
    elif width == 2:
        _sum2(listed, counts, at, room, panel, sums, first, step, to)
    elif width == 3:
        _sum3(listed, counts, at, room, panel, sums, first, step, to)
    elif width == 4:
        _sum4(listed, counts, at, room, panel, sums, first, step, to)
