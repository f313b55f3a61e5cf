"""Conditions on vectors of samples or neurons as bits of a word, and tables that are looked up by bits.

See `rheobase.kernels.lanes` for the vectors.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils as _cgutils
from numba.core import types
from numba.extending import intrinsic

from rheobase.kernels.lanes import Lanes, Mask, Places, spread, vector_of

cgutils: Any = _cgutils  # this has no types


@intrinsic
def bits(typing: Any, word: Any, kind: Any) -> Any:
    """1 for the samples whose bit in the word is set, else 0; numbers of the kind of `kind`."""
    result = Lanes(kind, word.bitwidth)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        scalar = vector_of(result).element
        one, zero = (
            ir.Constant(vector_of(result), [ir.Constant(scalar, x)] * result.count) for x in (1.0, 0.0)
        )
        return builder.select(builder.bitcast(args[0], vector_of(Mask(result.count))), one, zero)

    return result(word, kind), generate


@intrinsic
def some(typing: Any, a: Any) -> Any:
    """1 if any sample's number is not zero, else 0."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        differ = builder.fcmp_unordered("!=", args[0], ir.Constant(vector_of(a), None))
        word = ir.IntType(a.count)
        fired = builder.icmp_unsigned("!=", builder.bitcast(differ, word), ir.Constant(word, 0))
        return builder.zext(fired, ir.IntType(64))

    return types.intp(a), generate


@intrinsic
def mask(typing: Any, word: Any) -> Any:
    """The samples whose bit in the word is set."""
    result = Mask(word.bitwidth)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], vector_of(result))

    return result(word), generate


@intrinsic
def word(typing: Any, condition: Any, shift: Any) -> Any:
    """A word in which the bits from `shift` on are the condition."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        low = builder.bitcast(args[0], ir.IntType(condition.count))
        return builder.shl(builder.zext(low, ir.IntType(64)), args[1])

    return types.uint64(condition, types.int64), generate


@intrinsic
def lowest(typing: Any, of: Any) -> Any:
    """The number of a word's lowest bit that is set; 64 if none is."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


@intrinsic
def without_lowest(typing: Any, of: Any) -> Any:
    """The word with its lowest bit cleared."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.and_(args[0], builder.sub(args[0], ir.Constant(ir.IntType(64), 1)))

    return types.uint64(types.uint64), generate


@intrinsic
def occupied(typing: Any, of: Any) -> Any:
    """1 if any bit is set, else 0."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        some_bit = builder.icmp_unsigned("!=", args[0], ir.Constant(ir.IntType(64), 0))
        return builder.zext(some_bit, ir.IntType(64))

    return types.int64(types.uint64), generate


@intrinsic
def first_place(typing: Any, condition: Any) -> Any:
    """Place 1 where the condition holds, else place 0."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.zext(args[0], vector_of(signature.return_type))

    return Places(condition.count)(condition), generate


@intrinsic
def place(typing: Any, places: Any, condition: Any, further: Any) -> Any:
    """Further on by a power of two, which is larger than any place so far, where the condition holds."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        by = builder.trunc(args[2], ir.IntType(32))
        more = builder.or_(args[0], spread(builder, by, None, places))
        return builder.select(args[1], more, args[0])

    return places(places, condition, types.intp), generate


@intrinsic
def look_up(typing: Any, table: Any, places: Any) -> Any:
    """The numbers at these places of a table of 16: an instruction of AVX-512, where there is one."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(vector_of(table), [vector_of(table), vector_of(places)]),
            "llvm.x86.avx512.permvar.sf.512",
        )
        return builder.call(function, args)

    return table(table, places), generate
