"""What of a row is not zero, searched in whole vectors.

find        indices of the values that are not zero
find_any    those at which any of a few rows is not
pick        the same and the values, as entries of a list
something   whether any of a few vectors holds one
keep        copy a few values, and say whether one is not zero
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from rheobase.kernels import entries
from rheobase.kernels.emit import Emit, cgutils, int64, splat
from rheobase.kernels.vectors import ROWS, WIDE

TOGETHER = 4  # vectors that `something` looks at


@intrinsic
def find(typing: Any, row: Any, size: Any, found: Any) -> Any:
    """Indices of the values of `row` that are not zero, into int32 `found`; their number.

    `found` is written up to whole vectors beyond `size`. With AVX-512 a vector's indices are pushed together
    in a register, without a branch: where spikes are few, whether the next is one cannot be predicted.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        e = Emit(context, builder, row.dtype)
        return _list(e, [e.array(row, args[0]).data], args[1], e.array(found, args[2]).data)

    return types.intp(row, types.intp, found), generate


@intrinsic
def find_any(typing: Any, rows: Any, low: Any, high: Any, size: Any, found: Any) -> Any:
    """The same of places at which any of `rows` `[B, size]` from `low` to `high`, at most `ROWS`, is not."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        e = Emit(context, builder, rows.dtype)
        last = builder.sub(args[2], int64(1))
        sources = []
        for i in range(ROWS):
            own = builder.add(args[1], int64(i))  # where there are fewer, the last stands for those that lack
            r = builder.select(builder.icmp_signed("<", own, last), own, last)
            sources.append(e.pointer(rows, args[0], r, int64(0)))
        return _list(e, sources, args[3], e.array(found, args[4]).data)

    return types.intp(rows, types.intp, types.intp, types.intp, found), generate


def _list(e: Emit, sources: Sequence[Any], size: Any, indices: Any) -> Any:
    """Indices into the int32 numbers from an address on; how many."""
    builder = e.builder

    def put(vector: Any, mask: Any, first: Any, count: Any) -> Any:
        at = builder.gep(indices, [count])
        if not WIDE:
            return _each(
                e, mask, lambda lane, n: builder.store(builder.add(first, lane), builder.gep(at, [n]))
            )
        packed = _together(e, _numbered(e, first), "i32", mask)
        builder.store(packed, builder.bitcast(at, packed.type.as_pointer()), align=4)
        return _how_many(e, mask)

    return _search(e, sources, size, put)


@intrinsic
def pick(typing: Any, row: Any, first: Any, size: Any, listed: Any, to: Any) -> Any:
    """The same of `size` numbers from number `first` of `row` on, counted from there; the values as well.

    Both are put as entries (`rheobase.kernels.entries`) into the words `listed`, from entry `to` on. Arrays
    may have any number of dimensions.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        e = Emit(context, builder, row.dtype)
        target = entries.pointer(e, e.array(listed, args[3]).data, args[4])

        def put(vector: Any, mask: Any, start: Any, count: Any) -> Any:
            def put_one(lane: Any, n: Any) -> None:
                value = builder.extract_element(vector, lane)
                entries.write(
                    e, entries.pointer(e, target, builder.add(count, n)), builder.add(start, lane), value
                )

            if not WIDE:
                return _each(e, mask, put_one)
            values = _together(e, vector, f"f{8 * e.size}", mask)
            index = _together(e, _numbered(e, start), "i32", mask)
            entries.write_all(e, entries.pointer(e, target, count), index, values)
            return _how_many(e, mask)

        return _search(e, [builder.gep(e.array(row, args[0]).data, [args[1]])], args[2], put)

    return types.intp(row, types.intp, types.intp, listed, types.intp), generate


def _search(e: Emit, sources: Sequence[Any], size: Any, put: Callable[[Any, Any, Any, Any], Any]) -> Any:
    """At how many of `size` places a number is not zero, in any of the rows that start at these addresses.

    Args:
        e: Where code goes.
        sources, size: The rows.
        put: What is done with a vector of the first, the mask of lanes that are not zero in any, the index
            of its first lane and how many were not zero before; returns how many of these are not.
    """
    builder = e.builder
    count = cgutils.alloca_once_value(builder, int64(0))
    blocks = builder.udiv(builder.add(size, int64(e.lanes - 1)), int64(e.lanes))
    with cgutils.for_range(builder, blocks) as loop:
        first = builder.mul(loop.index, int64(e.lanes))
        left = builder.trunc(builder.sub(size, first), ir.IntType(32))
        lane = ir.Constant(ir.VectorType(ir.IntType(32), e.lanes), list(range(e.lanes)))
        inside = builder.icmp_signed("<", lane, splat(builder, left, e.lanes))
        values = [e.load_some(builder.gep(source, [first]), inside) for source in sources]
        differ = [builder.fcmp_unordered("!=", v, e.zeros) for v in values]
        vector, mask = values[0], functools.reduce(builder.or_, differ)
        before = builder.load(count)
        more = put(vector, mask, builder.trunc(first, ir.IntType(32)), before)
        builder.store(builder.add(before, more), count)
    return builder.load(count)


def _numbered(e: Emit, first: Any) -> Any:
    """`first` + lane, for all lanes."""
    lane = ir.Constant(ir.VectorType(ir.IntType(32), e.lanes), list(range(e.lanes)))
    return e.builder.add(splat(e.builder, first, e.lanes), lane)


def _together(e: Emit, vector: Any, name: str, mask: Any) -> Any:
    """The lanes of the mask, pushed together."""
    compress = cgutils.get_or_insert_function(
        e.builder.module,
        ir.FunctionType(vector.type, [vector.type, vector.type, mask.type]),
        f"llvm.x86.avx512.mask.compress.v{e.lanes}{name}",
    )
    return e.builder.call(compress, [vector, ir.Constant(vector.type, None), mask])


def _how_many(e: Emit, mask: Any) -> Any:
    """The number of lanes of the mask."""
    bits = ir.IntType(e.lanes)
    ones = cgutils.get_or_insert_function(
        e.builder.module, ir.FunctionType(bits, [bits]), f"llvm.ctpop.i{e.lanes}"
    )
    return e.builder.zext(e.builder.call(ones, [e.builder.bitcast(mask, bits)]), ir.IntType(64))


def _each(e: Emit, mask: Any, do: Callable[[Any, Any], Any]) -> Any:
    """Do something for each lane of the mask (and the number of those before); how many they are.

    The lowest bit that is left is taken, until none is.
    """
    builder, lanes = e.builder, e.lanes
    bits = ir.IntType(lanes)
    left_at = cgutils.alloca_once(builder, bits)
    count = cgutils.alloca_once(builder, ir.IntType(64))
    builder.store(builder.bitcast(mask, bits), left_at)
    builder.store(int64(0), count)
    trailing = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(bits, [bits, ir.IntType(1)]), f"llvm.cttz.i{lanes}"
    )
    head = builder.append_basic_block("bits")
    body = builder.append_basic_block("bit")
    done = builder.append_basic_block("searched")
    builder.branch(head)
    builder.position_at_end(head)
    left = builder.load(left_at)
    builder.cbranch(builder.icmp_unsigned("!=", left, ir.Constant(bits, 0)), body, done)
    builder.position_at_end(body)
    lowest = builder.call(trailing, [left, ir.Constant(ir.IntType(1), 1)])
    builder.store(builder.and_(left, builder.sub(left, ir.Constant(bits, 1))), left_at)
    n = builder.load(count)
    do(builder.zext(lowest, ir.IntType(32)), n)
    builder.store(builder.add(n, int64(1)), count)
    builder.branch(head)
    builder.position_at_end(done)
    return builder.load(count)


@intrinsic
def something(typing: Any, row: Any, first: Any) -> Any:
    """Whether any of the `TOGETHER` vectors of the flat `row` from `first` on holds a number but zero."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        e = Emit(context, builder, row.dtype)
        at = builder.gep(e.array(row, args[0]).data, [args[1]])
        zeros = ir.Constant(e.vector, None)
        differ = [builder.fcmp_unordered("!=", e.load(at, i), zeros) for i in range(TOGETHER)]
        bits = builder.bitcast(functools.reduce(builder.or_, differ), ir.IntType(e.lanes))
        return builder.icmp_unsigned("!=", bits, ir.Constant(ir.IntType(e.lanes), 0))

    return types.boolean(row, types.intp), generate


@intrinsic
def keep(typing: Any, row: Any, column: Any, kept: Any, to: Any) -> Any:
    """Copy `ROWS` values of the flat `row` to the flat `kept`; 1 if one of them is not zero, 0 if none."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        e = Emit(context, builder, row.dtype)
        few = ir.VectorType(e.scalar, ROWS)
        source = builder.gep(e.array(row, args[0]).data, [args[1]])
        target = builder.gep(e.array(kept, args[2]).data, [args[3]])
        values = builder.load(builder.bitcast(source, few.as_pointer()), align=e.size)
        builder.store(values, builder.bitcast(target, few.as_pointer()), align=e.size)
        differ = builder.fcmp_unordered("!=", values, ir.Constant(few, None))
        bits = builder.bitcast(differ, ir.IntType(ROWS))
        some = builder.icmp_unsigned("!=", bits, ir.Constant(ir.IntType(ROWS), 0))
        return builder.zext(some, ir.IntType(64))

    return types.intp(row, types.intp, kept, types.intp), generate
