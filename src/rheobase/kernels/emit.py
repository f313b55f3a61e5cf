"""LLVM code for vectors of numbers: what the inner loops in registers are written with.

Used by `microkernels`, `searches`, `squares` and `spread`. Arrays are C-contiguous.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils as _cgutils
from numba.np import arrayobj as _arrayobj

from rheobase.kernels.vectors import lanes

cgutils: Any = _cgutils  # these have no types
arrayobj: Any = _arrayobj

compiled = numba.njit(inline="never", error_model="numpy", nogil=True)


class Emit:
    """LLVM code for vectors of one floating-point type."""

    def __init__(self, context: Any, builder: Any, kind: Any) -> None:
        self.context, self.builder = context, builder
        self.scalar = context.get_value_type(kind)
        self.lanes = lanes(kind.bitwidth // 8)
        self.size = kind.bitwidth // 8
        self.vector = ir.VectorType(self.scalar, self.lanes)
        self.zeros = ir.Constant(self.vector, None)
        bits = 8 * self.size
        self._fma = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(self.vector, [self.vector] * 3),
            f"llvm.fma.v{self.lanes}f{bits}",
        )

    def array(self, kind: Any, value: Any) -> Any:
        return arrayobj.make_array(kind)(self.context, self.builder, value)

    def pointer(self, kind: Any, value: Any, *index: Any) -> Any:
        """The address of an element of a C-contiguous array."""
        array = self.array(kind, value)
        shape = cgutils.unpack_tuple(self.builder, array.shape)
        flat = index[0]
        for size, i in zip(shape[1:], index[1:], strict=True):
            flat = self.builder.add(self.builder.mul(flat, size), i)
        return self.builder.gep(array.data, [flat])

    def load(self, pointer: Any, by: int = 0) -> Any:
        """A vector, `by` vectors behind the address."""
        at = self.builder.gep(pointer, [ir.Constant(ir.IntType(64), by * self.lanes)])
        cast = self.builder.bitcast(at, self.vector.as_pointer())
        return self.builder.load(cast, align=self.size)

    def load_some(self, pointer: Any, mask: Any) -> Any:
        """A vector, of which only the lanes of the mask are touched; the others are zero."""
        load = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(self.vector, [self.vector.as_pointer(), ir.IntType(32), mask.type, self.vector]),
            f"llvm.masked.load.v{self.lanes}f{8 * self.size}.p0",
        )
        cast = self.builder.bitcast(pointer, self.vector.as_pointer())
        return self.builder.call(load, [cast, int32(self.size), mask, ir.Constant(self.vector, None)])

    def store(self, value: Any, pointer: Any, by: int = 0) -> None:
        at = self.builder.gep(pointer, [ir.Constant(ir.IntType(64), by * self.lanes)])
        self.builder.store(value, self.builder.bitcast(at, self.vector.as_pointer()), align=self.size)

    def splat(self, value: Any) -> Any:
        return splat(self.builder, value, self.lanes)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        return self.builder.call(self._fma, [a, b, c])

    def registers(self, count: int, initial: Callable[[int], Any]) -> list[Any]:
        """Variables, which LLVM turns into registers."""
        slots = [cgutils.alloca_once(self.builder, self.vector) for _ in range(count)]
        for i, slot in enumerate(slots):
            self.builder.store(initial(i), slot)
        return slots


def int32(value: int) -> Any:
    return ir.Constant(ir.IntType(32), value)


def int64(value: int) -> Any:
    return ir.Constant(ir.IntType(64), value)


def splat(builder: Any, value: Any, lanes: int) -> Any:
    kind = ir.VectorType(value.type, lanes)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, int32(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), lanes), None))
