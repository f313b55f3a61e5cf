"""Vectors of samples, for kernels in which samples lie side by side: the population kernels.

Numba has no vectors, and LLVM turns a loop over samples into them only where it can prove or test that the
arrays in it do not overlap. So here is a type for numbers of so many samples, one for conditions, and
functions on them, which are single LLVM instructions on vectors (as wide as the processor's or several of
these). Numbers that all samples share may stand wherever a vector may; of such numbers alone comes another.
Each rounds as the same operation on one number does, for functions that are not instructions (exp, log,
tanh, ...) by calling it sample by sample.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils as _cgutils
from numba.core import datamodel as _datamodel
from numba.core import types
from numba.extending import intrinsic
from numba.np import arrayobj as _arrayobj

arrayobj: Any = _arrayobj  # these have no types
cgutils: Any = _cgutils
datamodel: Any = _datamodel


class Lanes(types.Type):
    """Numbers of `count` samples."""

    def __init__(self, dtype: Any, count: int) -> None:
        super().__init__(name=f"Lanes({dtype}, {count})")
        self.dtype, self.count = dtype, count


class Mask(types.Type):
    """Conditions of `count` samples."""

    def __init__(self, count: int) -> None:
        super().__init__(name=f"Mask({count})")
        self.count = count


class Places(types.Type):
    """A place in a table for each of `count` samples."""

    def __init__(self, count: int) -> None:
        super().__init__(name=f"Places({count})")
        self.count = count


def vector_of(kind: Any) -> Any:
    """The LLVM type of vectors of this kind, or of one number."""
    if isinstance(kind, types.Float):
        return ir.FloatType() if kind.bitwidth == 32 else ir.DoubleType()
    if isinstance(kind, Mask):
        return ir.VectorType(ir.IntType(1), kind.count)
    if isinstance(kind, Places):
        return ir.VectorType(ir.IntType(32), kind.count)
    return ir.VectorType(vector_of(kind.dtype), kind.count)


def _suffix(kind: Any) -> str:
    """What LLVM adds to a function's name for this kind."""
    return f"f{kind.bitwidth}" if isinstance(kind, types.Float) else f"v{kind.count}f{kind.dtype.bitwidth}"


@datamodel.register_default(Lanes)
@datamodel.register_default(Mask)
@datamodel.register_default(Places)
class _Model(datamodel.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, vector_of(kind))


def _wide(*kinds: Any) -> Any:
    """What comes out of vectors and numbers (or truths) of these kinds: one number if none is a vector."""
    vectors = [kind for kind in kinds if isinstance(kind, Lanes)]
    if vectors:
        return vectors[0]
    if all(isinstance(kind, (Mask, types.Boolean)) for kind in kinds):
        return next((kind for kind in kinds if isinstance(kind, Mask)), types.boolean)
    number = next(kind for kind in kinds if isinstance(kind, types.Float))
    masks = [kind for kind in kinds if isinstance(kind, Mask)]
    return Lanes(number, masks[0].count) if masks else number


def spread(builder: Any, value: Any, kind: Any, wanted: Any) -> Any:
    """A number in all lanes, if a vector is wanted; a vector as it is."""
    if isinstance(kind, (Lanes, Mask)) or isinstance(wanted, (types.Float, types.Boolean)):
        return value
    vector = vector_of(wanted)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), wanted.count), None)
    return builder.shuffle_vector(one, one, mask)


def _binary(instruction: str, *flags: str) -> Any:
    @intrinsic
    def apply(typing: Any, a: Any, b: Any) -> Any:
        result = _wide(a, b)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x, y = (spread(builder, v, k, result) for v, k in zip(args, signature.args, strict=True))
            return getattr(builder, instruction)(x, y, flags=flags)

        return result(a, b), generate

    return apply


add, sub, mul, div = (_binary(name) for name in ("fadd", "fsub", "fmul", "fdiv"))

#: The same, but a product that is added to something may be rounded once.
loose_add, loose_sub, loose_mul = (_binary(name, "contract") for name in ("fadd", "fsub", "fmul"))


def _compare(sign: str) -> Any:
    @intrinsic
    def compare(typing: Any, a: Any, b: Any) -> Any:
        wide = _wide(a, b)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x, y = (spread(builder, v, k, wide) for v, k in zip(args, signature.args, strict=True))
            ordered = builder.fcmp_unordered if sign == "!=" else builder.fcmp_ordered
            return ordered(sign, x, y)

        kind = types.boolean if isinstance(wide, types.Float) else Mask(wide.count)
        return kind(a, b), generate

    return compare


lt, le, gt, ge = (_compare(sign) for sign in ("<", "<=", ">", ">="))
eq, ne = (_compare(sign) for sign in ("==", "!="))


def _combine(instruction: str) -> Any:
    @intrinsic
    def combine(typing: Any, a: Any, b: Any) -> Any:
        result = _wide(a, b)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x, y = (spread(builder, v, k, result) for v, k in zip(args, signature.args, strict=True))
            return getattr(builder, instruction)(x, y)

        return result(a, b), generate

    return combine


both, either = _combine("and_"), _combine("or_")


@intrinsic
def invert(typing: Any, a: Any) -> Any:
    """Where a condition does not hold."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.not_(args[0])

    return a(a), generate


@intrinsic
def neg(typing: Any, a: Any) -> Any:
    """-a"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fneg(args[0])

    return a(a), generate


@intrinsic
def where(typing: Any, condition: Any, yes: Any, no: Any) -> Any:
    """`yes` where the condition (a mask, or a number that is not 0) holds, else `no`."""
    truths = all(isinstance(kind, (Mask, types.Boolean)) for kind in (yes, no))
    masks = [condition] if isinstance(condition, Mask) else []
    result = _wide(yes, no, *masks) if truths else _wide(condition, yes, no)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        test, *values = args
        x, y = (spread(builder, v, k, result) for v, k in zip(values, signature.args[1:], strict=True))
        if not isinstance(condition, (Mask, types.Boolean)):
            test = builder.fcmp_unordered("!=", test, ir.Constant(test.type, 0.0))
        return builder.select(test, x, y)

    return result(condition, yes, no), generate


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c, rounded once."""
    result = _wide(a, b, c)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values = [spread(builder, v, k, result) for v, k in zip(args, signature.args, strict=True)]
        vector = vector_of(result)
        name = f"llvm.fma.{_suffix(result)}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
        return builder.call(function, values)

    return result(a, b, c), generate


def _instruction(name: str) -> Any:
    @intrinsic
    def apply(typing: Any, a: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            vector = vector_of(a)
            full = f"llvm.{name}.{_suffix(a)}"
            function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector]), full)
            return builder.call(function, args)

        return a(a), generate

    return apply


absolute, sqrt = _instruction("fabs"), _instruction("sqrt")


def _one_by_one(function: Callable[..., Any], others: int = 0) -> Any:
    """A function of a vector (and of numbers) that is called for each sample."""

    def build(typing: Any, a: Any, *rest: Any) -> Any:
        alone = isinstance(a, types.Float)
        kinds = [a if alone else a.dtype] * (1 + others)
        template = typing.resolve_value_type(function)
        scalar = template.get_call_type(typing, kinds, {})

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            implementation = context.get_function(template, scalar)
            if alone:
                return implementation(builder, args)
            result = ir.Constant(vector_of(a), ir.Undefined)
            for k in range(a.count):
                at = ir.Constant(ir.IntType(32), k)
                value = implementation(builder, (builder.extract_element(args[0], at), *args[1:]))
                result = builder.insert_element(result, value, at)
            return result

        return a(a, *rest), generate

    if others:

        @intrinsic
        def apply_two(typing: Any, a: Any, b: Any) -> Any:
            return build(typing, a, b)

        return apply_two

    @intrinsic
    def apply(typing: Any, a: Any) -> Any:
        return build(typing, a)

    return apply


exp, log, tanh = (_one_by_one(f) for f in (math.exp, math.log, math.tanh))
atan, erf = (_one_by_one(f) for f in (math.atan, math.erf))
power = _one_by_one(operator.pow, others=1)


def _row(context: Any, builder: Any, kind: Any, value: Any, index: Any, count: int) -> Any:
    """The address of row `index` of a C-contiguous `[rows, count]`, as a vector's."""
    data = arrayobj.make_array(kind)(context, builder, value).data
    at = builder.gep(data, [builder.mul(index, ir.Constant(ir.IntType(64), count))])
    return builder.bitcast(at, vector_of(Lanes(kind.dtype, count)).as_pointer())


def _load(count: int) -> Any:
    @intrinsic
    def load(typing: Any, array: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            at = _row(context, builder, array, args[0], args[1], count)
            return builder.load(at, align=array.dtype.bitwidth // 8)

        return Lanes(array.dtype, count)(array, types.intp), generate

    return load


#: Row `index` of a C-contiguous array `[rows, count]`.
load4, load8, load16, load32, load64 = (_load(count) for count in (4, 8, 16, 32, 64))


@intrinsic
def store(typing: Any, value: Any, array: Any, index: Any) -> Any:
    """Put a vector into row `index` of a C-contiguous array `[rows, count]`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = _row(context, builder, array, args[1], args[2], value.count)
        builder.store(args[0], at, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(value, array, types.intp), generate


def _splat(count: int) -> Any:
    @intrinsic
    def splat(typing: Any, value: Any) -> Any:
        result = value if isinstance(value, Lanes) else Lanes(value, count)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return spread(builder, args[0], value, result)

        return result(value), generate

    return splat


#: One number for all samples (a vector stays as it is).
splat4, splat8, splat16, splat32, splat64 = (_splat(count) for count in (4, 8, 16, 32, 64))
