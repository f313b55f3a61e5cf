"""Pieces of rows as vectors, and conditions as numbers: for kernels in which neurons lie side by side.

See `rheobase.kernels.lanes` for the vectors. Arrays are C-contiguous, and places in them count numbers from
the first one on. Rows need not be whole vectors: of the last, only what is there is read and written.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils as _cgutils
from numba.core import types
from numba.extending import intrinsic
from numba.np import arrayobj as _arrayobj

from rheobase.kernels.lanes import Lanes, Mask, spread, vector_of

arrayobj: Any = _arrayobj  # these have no types
cgutils: Any = _cgutils


def _place(context: Any, builder: Any, kind: Any, value: Any, at: Any) -> Any:
    """The address of a number."""
    return builder.gep(arrayobj.make_array(kind)(context, builder, value).data, [at])


def _below(builder: Any, left: Any, count: int) -> Any:
    """Which of so many lanes are below `left`."""
    numbers = ir.VectorType(left.type, count)
    one = builder.insert_element(ir.Constant(numbers, ir.Undefined), left, ir.Constant(ir.IntType(32), 0))
    limits = builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), count), None))
    return builder.icmp_signed("<", ir.Constant(numbers, list(range(count))), limits)


def _within(count: int) -> Any:
    @intrinsic
    def within(typing: Any, left: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return _below(builder, args[0], count)

        return Mask(count)(types.intp), generate

    return within


#: The first `left` lanes.
within4, within8, within16 = _within(4), _within(8), _within(16)


def _fetch(count: int) -> Any:
    @intrinsic
    def fetch(typing: Any, array: Any, at: Any, left: Any) -> Any:
        result = Lanes(array.dtype, count)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            vector, mask = vector_of(result), vector_of(Mask(count))
            load = cgutils.get_or_insert_function(
                builder.module,
                ir.FunctionType(vector, [vector.as_pointer(), ir.IntType(32), mask, vector]),
                f"llvm.masked.load.v{count}f{array.dtype.bitwidth}.p0",
            )
            pointer = _place(context, builder, array, args[0], args[1])
            align = ir.Constant(ir.IntType(32), array.dtype.bitwidth // 8)
            whole = builder.bitcast(pointer, vector.as_pointer())
            zero = ir.Constant(vector, None)
            return builder.call(load, [whole, align, _below(builder, args[2], count), zero])

        return result(array, types.intp, types.intp), generate

    return fetch


#: A vector from place `at` on, of which `left` numbers are there; the others are zero.
fetch4, fetch8, fetch16 = _fetch(4), _fetch(8), _fetch(16)


@intrinsic
def put(typing: Any, value: Any, array: Any, at: Any, left: Any) -> Any:
    """Write a vector from place `at` on, but no more than `left` numbers."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector, size = vector_of(value), array.dtype.bitwidth // 8
        pointer = builder.bitcast(_place(context, builder, array, args[1], args[2]), vector.as_pointer())
        whole = builder.icmp_signed(">=", args[3], ir.Constant(ir.IntType(64), value.count))
        # A store of some lanes takes several times as long as one of all.
        with builder.if_else(whole, likely=True) as (then, otherwise):
            with then:
                builder.store(args[0], pointer, align=size)
            with otherwise:
                store = cgutils.get_or_insert_function(
                    builder.module,
                    ir.FunctionType(
                        ir.VoidType(),
                        [vector, vector.as_pointer(), ir.IntType(32), vector_of(Mask(value.count))],
                    ),
                    f"llvm.masked.store.v{value.count}f{array.dtype.bitwidth}.p0",
                )
                align = ir.Constant(ir.IntType(32), size)
                builder.call(store, [args[0], pointer, align, _below(builder, args[3], value.count)])
        return context.get_dummy_value()

    return types.void(value, array, types.intp, types.intp), generate


def _everywhere(count: int) -> Any:
    @intrinsic
    def everywhere(typing: Any, array: Any, at: Any) -> Any:
        result = Lanes(array.dtype, count)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            number = builder.load(_place(context, builder, array, args[0], args[1]))
            return spread(builder, number, array.dtype, result)

        return result(array, types.intp), generate

    return everywhere


#: The number at place `at` in all lanes.
everywhere4, everywhere8, everywhere16 = _everywhere(4), _everywhere(8), _everywhere(16)


@intrinsic
def prefetch(typing: Any, array: Any, at: Any) -> Any:
    """Ask for the cache line at place `at`, which need not be in the array."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [byte, number, number, number]), "llvm.prefetch.p0"
        )
        pointer = builder.bitcast(_place(context, builder, array, args[0], args[1]), byte)
        read, near, data = (ir.Constant(number, x) for x in (0, 3, 1))
        builder.call(function, [pointer, read, near, data])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@intrinsic
def add_total(typing: Any, value: Any, array: Any, at: Any) -> Any:
    """Add the sum over a vector's lanes to the number at place `at`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        scalar, vector = vector_of(value.dtype), vector_of(value)
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(scalar, [scalar, vector]),
            f"llvm.vector.reduce.fadd.v{value.count}f{value.dtype.bitwidth}",
        )
        pointer = _place(context, builder, array, args[1], args[2])
        # In halves, not lane by lane.
        total = builder.call(function, [builder.load(pointer), args[0]], fastmath=("reassoc",))
        builder.store(total, pointer)
        return context.get_dummy_value()

    return types.void(value, array, types.intp), generate


@intrinsic
def pattern(typing: Any, condition: Any) -> Any:
    """A condition as a number, a bit for each lane."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.zext(builder.bitcast(args[0], ir.IntType(condition.count)), ir.IntType(64))

    return types.intp(condition), generate


@intrinsic
def keep_mask(typing: Any, condition: Any, words: Any, at: Any) -> Any:
    """Put a condition into word `at`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _place(context, builder, words, args[1], args[2])
        bits = builder.bitcast(args[0], ir.IntType(condition.count))
        builder.store(builder.zext(bits, ir.IntType(words.dtype.bitwidth)), pointer)
        return context.get_dummy_value()

    return types.void(condition, words, types.intp), generate


def _kept_mask(count: int) -> Any:
    @intrinsic
    def kept_mask(typing: Any, words: Any, at: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            word = builder.load(_place(context, builder, words, args[0], args[1]))
            return builder.bitcast(builder.trunc(word, ir.IntType(count)), vector_of(Mask(count)))

        return Mask(count)(words, types.intp), generate

    return kept_mask


#: The condition in word `at`.
kept_mask4, kept_mask8, kept_mask16 = _kept_mask(4), _kept_mask(8), _kept_mask(16)
