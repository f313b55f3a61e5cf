"""The inner loops of the recurrent kernels, in registers.

LLVM keeps sums in registers only where it can prove that arrays do not overlap, which Numba's arrays
do not tell. So these few loops are written in LLVM's own vectors: sums stay in registers, and each
weight is loaded once. Every sum is made in ascending order by fused multiply-adds, whatever the
blocking and the width of the machine's vectors, and a term of zero changes nothing: the dense and
the event-driven product give the same bits.

    add_rows    y += sum of the rows of W of one sample's values that are not zero
    multiply    Y += X W over chosen rows of W, which four samples share
    add_taps    y += sum over single connections, for a vector of samples
    add_outer   Y += X^T G, the sum of outer products of rows, leaving out those of which X is zero

Arrays are C-contiguous. Rows that are summed into, and those of W, are padded to whole vectors.

Measured on one core of an AMD Zen 5 (AVX-512). While W fits the first-level cache (100 neurons), `add_rows`
adds 86 billion numbers a second and `multiply` reaches 265 GFLOP/s, of 270 that the core can; from the second
level (220 neurons), a row costs `add_rows` 0.55 ns a vector, as much as `multiply` takes for four samples.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from rheobase.kernels.emit import Emit, cgutils, compiled, int64
from rheobase.kernels.vectors import BYTES, PRODUCT, ROWS

TAPS = 4  # sums that `add_taps` makes side by side


def _add_rows(width: int) -> Any:
    @intrinsic
    def add(typing: Any, found: Any, count: Any, values: Any, weights: Any, column: Any, out: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            e = Emit(context, builder, values.dtype)
            found_at = e.array(found, args[0]).data
            values_at = e.array(values, args[2]).data
            target = e.pointer(out, args[5], args[4])
            sums = e.registers(width, lambda i: e.load(target, i))
            with cgutils.for_range(builder, args[1]) as loop:
                j = builder.sext(builder.load(builder.gep(found_at, [loop.index])), ir.IntType(64))
                factor = e.splat(builder.load(builder.gep(values_at, [j])))
                row = e.pointer(weights, args[3], j, args[4])
                for i, total in enumerate(sums):
                    builder.store(e.fma(factor, e.load(row, i), builder.load(total)), total)
            for i, total in enumerate(sums):
                e.store(builder.load(total), target, i)
            return context.get_dummy_value()

        return types.void(found, types.intp, values, weights, types.intp, out), generate

    return add


def _multiply(rows: int, width: int) -> Any:
    @intrinsic
    def multiply(
        typing: Any, x: Any, row: Any, found: Any, count: Any, weights: Any, column: Any, out: Any, to: Any
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            e = Emit(context, builder, x.dtype)
            found_at = e.array(found, args[2]).data
            samples = [int64(s) for s in range(rows)]
            left = [e.pointer(x, args[0], builder.add(args[1], s), int64(0)) for s in samples]
            target = [e.pointer(out, args[6], builder.add(args[7], s), args[5]) for s in samples]
            sums = e.registers(rows * width, lambda i: e.load(target[i // width], i % width))
            with cgutils.for_range(builder, args[3]) as loop:
                j = builder.sext(builder.load(builder.gep(found_at, [loop.index])), ir.IntType(64))
                at = e.pointer(weights, args[4], j, args[5])
                right = [e.load(at, i) for i in range(width)]
                for i, total in enumerate(sums):
                    if i % width == 0:
                        factor = e.splat(builder.load(builder.gep(left[i // width], [j])))
                    builder.store(e.fma(factor, right[i % width], builder.load(total)), total)
            for i, total in enumerate(sums):
                e.store(builder.load(total), target[i // width], i % width)
            return context.get_dummy_value()

        index = types.intp
        return types.void(x, index, found, index, weights, index, out, index), generate

    return multiply


_add1, _add2, _add3, _add4 = (_add_rows(width) for width in range(1, 5))
_add5, _add6, _add7, _add8 = (_add_rows(width) for width in range(5, 9))
_WIDE_SUM, _WIDE_PRODUCT = 8 * BYTES, PRODUCT * BYTES


@compiled
def add_rows(found: Any, count: int, values: Any, weights: Any, out: Any) -> None:
    """out `[columns]` += sum over the first `count` found j of values[j] weights[j, :]."""
    size = weights.itemsize
    column = 0
    while (weights.shape[1] - column) * size >= _WIDE_SUM:
        _add8(found, count, values, weights, column, out)
        column += _WIDE_SUM // size
    left = (weights.shape[1] - column) * size // BYTES
    if left == 1:
        _add1(found, count, values, weights, column, out)
    elif left == 2:
        _add2(found, count, values, weights, column, out)
    elif left == 3:
        _add3(found, count, values, weights, column, out)
    elif left == 4:
        _add4(found, count, values, weights, column, out)
    elif left == 5:
        _add5(found, count, values, weights, column, out)
    elif left == 6:
        _add6(found, count, values, weights, column, out)
    elif left == 7:
        _add7(found, count, values, weights, column, out)


def _multiply_rows(rows: int) -> Any:
    """`multiply` for this many samples, all columns."""
    many, two, one = (_multiply(rows, width) for width in (PRODUCT, 2, 1))

    @compiled
    def multiply_rows(
        x: Any, row: int, found: Any, count: int, weights: Any, columns: int, out: Any, to: int
    ) -> None:
        size = weights.itemsize
        step = BYTES // size
        column = 0
        while (columns - column) * size >= _WIDE_PRODUCT:
            many(x, row, found, count, weights, column, out, to)
            column += PRODUCT * step
        while columns - column >= 2 * step:
            two(x, row, found, count, weights, column, out, to)
            column += 2 * step
        if column < columns:
            one(x, row, found, count, weights, column, out, to)

    return multiply_rows


_multiply1, _multiply2, _multiply4 = _multiply_rows(1), _multiply_rows(2), _multiply_rows(ROWS)


@compiled
def multiply(
    x: Any, low: int, high: int, found: Any, count: int, weights: Any, columns: int, out: Any
) -> None:
    """out[s, :] += sum over the first `count` found j of x[low + s, j] weights[j, :], for low + s < high.

    In the first so many columns, which are whole vectors.
    """
    row = low
    while high - row >= ROWS:
        _multiply4(x, row, found, count, weights, columns, out, row - low)
        row += ROWS
    if high - row >= 2:
        _multiply2(x, row, found, count, weights, columns, out, row - low)
        row += 2
    if row < high:
        _multiply1(x, row, found, count, weights, columns, out, row - low)


@intrinsic
def add_taps(
    typing: Any,
    weights: Any,  # shape: [taps]
    offsets: Any,  # shape: [taps], int32, in numbers from `base`
    first: Any,
    last: Any,
    source: Any,  # shape: [...] flat
    base: Any,
    out: Any,  # shape: [...] flat
    to: Any,
) -> Any:
    """out[to + s] = sum over the taps q from `first` to `last` of weights[q] source[base + offsets[q] + s].

    For the samples s of one vector. Four partial sums (taps 0, 4, 8, ...; 1, 5, ...) are made side by side,
    so that none waits for another.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        e = Emit(context, builder, weights.dtype)
        weights_at, offsets_at = e.array(weights, args[0]).data, e.array(offsets, args[1]).data
        start = builder.gep(e.array(source, args[4]).data, [args[5]])
        sums = e.registers(TAPS, lambda _: ir.Constant(e.vector, None))

        def add(q: Any, total: Any) -> None:
            by = builder.sext(builder.load(builder.gep(offsets_at, [q])), ir.IntType(64))
            factor = e.splat(builder.load(builder.gep(weights_at, [q])))
            value = e.load(builder.gep(start, [by]))
            builder.store(e.fma(factor, value, builder.load(total)), total)

        rounds = builder.sdiv(builder.sub(args[3], args[2]), int64(TAPS))
        with cgutils.for_range(builder, rounds) as loop:
            q = builder.add(args[2], builder.mul(loop.index, int64(TAPS)))
            for i, total in enumerate(sums):
                add(builder.add(q, int64(i)), total)
        done = builder.add(args[2], builder.mul(rounds, int64(TAPS)))
        for i, total in enumerate(sums[:-1]):
            q = builder.add(done, int64(i))
            with builder.if_then(builder.icmp_signed("<", q, args[3])):
                add(q, total)
        values = [builder.load(total) for total in sums]
        pairs = [builder.fadd(values[0], values[1]), builder.fadd(values[2], values[3])]
        target = builder.gep(e.array(out, args[6]).data, [args[7]])
        e.store(builder.fadd(*pairs), target)
        return context.get_dummy_value()

    index = types.intp
    return types.void(weights, offsets, index, index, source, index, out, index), generate


def _add_outer(width: int) -> Any:
    @intrinsic
    def add(
        typing: Any, found: Any, count: Any, kept: Any, panel: Any, out: Any, row: Any, column: Any
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            e = Emit(context, builder, kept.dtype)
            found_at, kept_at = e.array(found, args[0]).data, e.array(kept, args[2]).data
            panel_at = e.array(panel, args[3]).data
            target = [e.pointer(out, args[4], builder.add(args[5], int64(s)), args[6]) for s in range(ROWS)]
            sums = e.registers(ROWS * width, lambda i: e.load(target[i // width], i % width))
            with cgutils.for_range(builder, args[1]) as loop:
                r = builder.sext(builder.load(builder.gep(found_at, [loop.index])), ir.IntType(64))
                at = builder.gep(panel_at, [builder.mul(r, int64(width * e.lanes))])
                right = [e.load(at, i) for i in range(width)]
                left = builder.gep(kept_at, [builder.mul(loop.index, int64(ROWS))])
                for i, total in enumerate(sums):
                    if i % width == 0:
                        factor = e.splat(builder.load(builder.gep(left, [int64(i // width)])))
                    builder.store(e.fma(factor, right[i % width], builder.load(total)), total)
            for i, total in enumerate(sums):
                e.store(builder.load(total), target[i // width], i % width)
            return context.get_dummy_value()

        index = types.intp
        return types.void(found, index, kept, panel, out, index, index), generate

    return add


_outer1, _outer2, _outer3, _outer4 = (_add_outer(width) for width in range(1, 5))


@compiled
def add_outer(
    found: Any, count: int, kept: Any, panel: Any, width: int, out: Any, row: int, column: int
) -> None:
    """out[row + s, column + j] += sum over q < count of kept[q, s] panel[found[q], j], for s < `ROWS`.

    `kept` and `panel` are flat; the panel's rows have `width` vectors, at most `PRODUCT`.
    """
    if width == 1:
        _outer1(found, count, kept, panel, out, row, column)
    elif width == 2:
        _outer2(found, count, kept, panel, out, row, column)
    elif width == 3:
        _outer3(found, count, kept, panel, out, row, column)
    elif width == 4:
        _outer4(found, count, kept, panel, out, row, column)
