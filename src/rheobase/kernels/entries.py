"""Entries of lists: a number that is not zero, and its index, side by side.

    float     one word of 64 bits: the index in its lower half, the number's bits in the upper
    double    two words: the index, then the number

A float's index and bits come by one load, and so cost one less than apart: 5 to 8 % of a loop that does
little else but load (`rheobase.kernels.panel_sums`; one core of a Zen 4).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from rheobase.kernels.emit import Emit, int64, splat

_HALF, _WORD = ir.IntType(32), ir.IntType(64)


def words(size: int) -> int:
    """Words of an entry of numbers of so many bytes."""
    return size // 4


def pointer(e: Emit, entries: Any, index: Any) -> Any:
    """The address of an entry."""
    return e.builder.gep(entries, [e.builder.mul(index, int64(words(e.size)))])


def write(e: Emit, at: Any, index: Any, value: Any) -> None:
    """One entry: a 32-bit index and a number."""
    builder = e.builder
    builder.store(builder.zext(index, _WORD), at)
    to = builder.gep(builder.bitcast(at, value.type.as_pointer()), [int64(1)])
    builder.store(value, to)


def write_all(e: Emit, at: Any, index: Any, values: Any) -> None:
    """An entry for each lane of two vectors: of 32-bit indices and of numbers."""
    builder, half = e.builder, ir.IntType(8 * e.size)
    vector = ir.VectorType(half, e.lanes)
    index = builder.zext(index, vector) if half is not _HALF else index
    order = [lane + side * e.lanes for lane in range(e.lanes) for side in range(2)]
    mask = ir.Constant(ir.VectorType(_HALF, len(order)), order)
    both = builder.shuffle_vector(index, builder.bitcast(values, vector), mask)
    builder.store(both, builder.bitcast(at, both.type.as_pointer()), align=8)


def read(e: Emit, at: Any) -> tuple[Any, Any]:
    """An entry's index, and its number in every lane."""
    builder = e.builder
    word = builder.load(at)
    if e.size == 8:
        value = builder.load(builder.bitcast(builder.gep(at, [int64(1)]), e.scalar.as_pointer()))
        return word, e.splat(value)
    bits = splat(builder, builder.trunc(builder.lshr(word, int64(32)), _HALF), e.lanes)
    return builder.and_(word, int64(0xFFFFFFFF)), builder.bitcast(bits, e.vector)
