"""Rows of chosen numbers alone: picked out of a row, side by side, and put back in their places.

    pick_out    the marked numbers of a row, in a row of their own
    put_back    the other way round; zeros in the places that are not marked

A number is marked where a row of marks is not zero. Rows of marks are whole vectors, zero beyond the end.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from rheobase.kernels.emit import Emit, cgutils, int64
from rheobase.kernels.vectors import WIDE


@intrinsic
def pick_out(typing: Any, row: Any, marks: Any, picked: Any) -> Any:
    """Numbers of `row` that are marked, to `picked`, of which whole vectors are written; how many they are.

    With AVX-512 they are pushed together in a register: stores that do so themselves are slow (Zen 4).
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        e = Emit(context, builder, row.dtype)
        source, target = e.array(row, args[0]).data, e.array(picked, args[2]).data

        def together(first: Any, marked: Any, at: Any) -> None:
            values = e.load_some(builder.gep(source, [first]), marked)
            name = f"llvm.x86.avx512.mask.compress.v{e.lanes}f{8 * e.size}"
            e.store(_call(e, name, e.vector, values, e.zeros, marked), builder.gep(target, [at]))

        def alone(place: Any, at: Any) -> None:
            builder.store(builder.load(builder.gep(source, [place])), builder.gep(target, [at]))

        array = e.array(marks, args[1])
        return _vectors(e, array, together) if WIDE else _one_by_one(e, array, alone)

    return types.intp(row, marks, picked), generate


@intrinsic
def put_back(typing: Any, picked: Any, marks: Any, row: Any) -> Any:
    """Numbers of `picked` to the places of `row` that are marked; how many they are.

    Either is taken in whole vectors: `row` as far as the marks go, `picked` a vector beyond its last number.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        e = Emit(context, builder, row.dtype)
        source, target = e.array(picked, args[0]).data, e.array(row, args[2]).data

        def together(first: Any, marked: Any, at: Any) -> None:
            values = e.load(builder.gep(source, [at]))
            name = f"llvm.x86.avx512.mask.expand.v{e.lanes}f{8 * e.size}"
            e.store(_call(e, name, e.vector, values, e.zeros, marked), builder.gep(target, [first]))

        def alone(place: Any, at: Any) -> None:
            builder.store(builder.load(builder.gep(source, [at])), builder.gep(target, [place]))

        array = e.array(marks, args[1])
        if WIDE:
            return _vectors(e, array, together)
        size = cgutils.unpack_tuple(builder, array.shape)[0]
        cgutils.memset(builder, target, builder.mul(size, int64(e.size)), 0)
        return _one_by_one(e, array, alone)

    return types.intp(picked, marks, row), generate


def _vectors(e: Emit, marks: Any, move: Any) -> Any:
    """Call `move` for each vector: its start, a mask of what is marked, and how many were before it."""
    builder = e.builder
    count = cgutils.alloca_once_value(builder, int64(0))
    size = cgutils.unpack_tuple(builder, marks.shape)[0]
    bits = ir.IntType(e.lanes)
    with cgutils.for_range(builder, builder.udiv(size, int64(e.lanes))) as loop:
        first = builder.mul(loop.index, int64(e.lanes))
        marked = builder.fcmp_unordered("!=", e.load(builder.gep(marks.data, [first])), e.zeros)
        before = builder.load(count)
        move(first, marked, before)
        here = _call(e, f"llvm.ctpop.i{e.lanes}", bits, builder.bitcast(marked, bits))
        builder.store(builder.add(before, builder.zext(here, ir.IntType(64))), count)
    return builder.load(count)


def _one_by_one(e: Emit, marks: Any, move: Any) -> Any:
    """Call `move` for each number that is marked: its place, and how many were before it."""
    builder = e.builder
    count = cgutils.alloca_once_value(builder, int64(0))
    size = cgutils.unpack_tuple(builder, marks.shape)[0]
    with cgutils.for_range(builder, size) as loop:
        mark = builder.load(builder.gep(marks.data, [loop.index]))
        with builder.if_then(builder.fcmp_unordered("!=", mark, ir.Constant(e.scalar, 0.0))):
            before = builder.load(count)
            move(loop.index, before)
            builder.store(builder.add(before, int64(1)), count)
    return builder.load(count)


def _call(e: Emit, name: str, result: Any, *args: Any) -> Any:
    kind = ir.FunctionType(result, [a.type for a in args])
    return e.builder.call(cgutils.get_or_insert_function(e.builder.module, kind, name), args)
