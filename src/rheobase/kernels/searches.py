"""What of a row is not zero, searched in whole vectors.

find        indices of the values that are not zero
pick        the same, and the values
something   whether any of a few vectors holds one
keep        copy a few values, and say whether one is not zero
"""

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

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
        return _search(e, e.array(row, args[0]).data, args[1], e.array(found, args[2]).data)

    return types.intp(row, types.intp, found), generate


@intrinsic
def pick(typing: Any, row: Any, first: Any, size: Any, found: Any, values: Any, to: Any) -> Any:
    """The same of `size` numbers from number `first` of `row` on, counted from there; the values as well.

    Both are put into `found` and `values` from number `to` on. Arrays may have any number of dimensions.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        e = Emit(context, builder, row.dtype)
        source = builder.gep(e.array(row, args[0]).data, [args[1]])
        indices = builder.gep(e.array(found, args[3]).data, [args[5]])
        return _search(e, source, args[2], indices, builder.gep(e.array(values, args[4]).data, [args[5]]))

    return types.intp(row, types.intp, types.intp, found, values, types.intp), generate


def _search(e: Emit, source: Any, size: Any, found: Any, values: Any = None) -> Any:
    """List what is not zero among `size` numbers from an address on; how many they are."""
    builder = e.builder
    count = cgutils.alloca_once_value(builder, int64(0))
    listing = _list_together if WIDE else _list_one_by_one
    zeros = ir.Constant(e.vector, None)
    blocks = builder.udiv(builder.add(size, int64(e.lanes - 1)), int64(e.lanes))
    with cgutils.for_range(builder, blocks) as loop:
        first = builder.mul(loop.index, int64(e.lanes))
        left = builder.trunc(builder.sub(size, first), ir.IntType(32))
        lane = ir.Constant(ir.VectorType(ir.IntType(32), e.lanes), list(range(e.lanes)))
        inside = builder.icmp_signed("<", lane, splat(builder, left, e.lanes))
        at = builder.gep(source, [first])
        vector = e.load_some(at, inside)
        mask = builder.fcmp_unordered("!=", vector, zeros)
        listed = builder.load(count)
        to = builder.gep(found, [listed])
        kept = None if values is None else (vector, at, builder.gep(values, [listed]))
        more = listing(e, mask, builder.trunc(first, ir.IntType(32)), to, kept)
        builder.store(builder.add(listed, more), count)
    return builder.load(count)


def _list_together(e: Emit, mask: Any, first: Any, at: Any, kept: Any) -> Any:
    """Store `first` + lane for the lanes of the mask, from `at` on; how many they are.

    Where values are `kept`, (vector, where it was loaded from, where to), store those as well.
    """
    builder, lanes = e.builder, e.lanes
    bits, vector = ir.IntType(lanes), ir.VectorType(ir.IntType(32), lanes)
    lane = ir.Constant(vector, list(range(lanes)))
    index = builder.add(splat(builder, first, lanes), lane)
    builder.store(_compress(e, index, "i32", mask), builder.bitcast(at, vector.as_pointer()), align=4)
    if kept is not None:
        e.store(_compress(e, kept[0], f"f{8 * e.size}", mask), kept[2])
    ones = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(bits, [bits]), f"llvm.ctpop.i{lanes}"
    )
    return builder.zext(builder.call(ones, [builder.bitcast(mask, bits)]), ir.IntType(64))


def _compress(e: Emit, vector: Any, name: str, mask: Any) -> Any:
    """The lanes of the mask, pushed together."""
    push = cgutils.get_or_insert_function(
        e.builder.module,
        ir.FunctionType(vector.type, [vector.type, vector.type, mask.type]),
        f"llvm.x86.avx512.mask.compress.v{e.lanes}{name}",
    )
    return e.builder.call(push, [vector, ir.Constant(vector.type, None), mask])


def _list_one_by_one(e: Emit, mask: Any, first: Any, at: Any, kept: Any) -> Any:
    """The same, lane by lane: the lowest bit that is left, until none is."""
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
    n, lane = builder.load(count), builder.zext(lowest, ir.IntType(32))
    builder.store(builder.add(first, lane), builder.gep(at, [n]))
    if kept is not None:
        builder.store(builder.load(builder.gep(kept[1], [lane])), builder.gep(kept[2], [n]))
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
