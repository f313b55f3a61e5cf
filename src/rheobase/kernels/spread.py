"""Adding one row of numbers to several rows of sums: a weight gradient, event by event.

    spread_rows    Y[j] += x_j g for each j of which x_j is not zero

A row of g stays in registers while it goes to all rows of Y that it belongs to. Where spikes are few, this
is the whole weight gradient: no product, and nothing is read that was not just written.

Arrays are C-contiguous; rows of Y are padded to whole vectors (see `rheobase.kernels.vectors`), and g is read
as far.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils as _cgutils
from numba.core import types
from numba.extending import intrinsic

from rheobase.kernels.emit import Emit, compiled
from rheobase.kernels.vectors import BYTES

cgutils: Any = _cgutils  # it has no types

WIDE = 8  # vectors of g that are held at a time


def _spread(width: int) -> Any:
    @intrinsic
    def spread(typing: Any, found: Any, count: Any, values: Any, row: Any, column: Any, out: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            e = Emit(context, builder, values.dtype)
            found_at = e.array(found, args[0]).data
            values_at = e.array(values, args[2]).data
            source = e.pointer(row, args[3], args[4])
            held = [e.load(source, i) for i in range(width)]
            with cgutils.for_range(builder, args[1]) as loop:
                j = builder.sext(builder.load(builder.gep(found_at, [loop.index])), ir.IntType(64))
                factor = e.splat(builder.load(builder.gep(values_at, [j])))
                target = e.pointer(out, args[5], j, args[4])
                # All loads before the first store: it might be to the same place, for all that LLVM knows.
                sums = [e.fma(factor, held[i], e.load(target, i)) for i in range(width)]
                for i, total in enumerate(sums):
                    e.store(total, target, i)
            return context.get_dummy_value()

        return types.void(found, types.intp, values, row, types.intp, out), generate

    return spread


_spread1, _spread2, _spread3, _spread4 = (_spread(width) for width in range(1, 5))
_spread5, _spread6, _spread7, _spread8 = (_spread(width) for width in range(5, WIDE + 1))


@compiled
def spread_rows(found: Any, count: int, values: Any, row: Any, out: Any) -> None:
    """out[j, :] += values[j] row[:] for the first `count` found j."""
    step = BYTES // row.itemsize
    column = 0
    while out.shape[1] - column >= WIDE * step:
        _spread8(found, count, values, row, column, out)
        column += WIDE * step
    left = (out.shape[1] - column) // step
    if left == 1:
        _spread1(found, count, values, row, column, out)
    elif left == 2:
        _spread2(found, count, values, row, column, out)
    elif left == 3:
        _spread3(found, count, values, row, column, out)
    elif left == 4:
        _spread4(found, count, values, row, column, out)
    elif left == 5:
        _spread5(found, count, values, row, column, out)
    elif left == 6:
        _spread6(found, count, values, row, column, out)
    elif left == 7:
        _spread7(found, count, values, row, column, out)
