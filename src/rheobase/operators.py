"""The operators a neuron's equations may use, besides + - * / ** and comparisons.

Each works on three kinds of value: Python numbers (fixed parameters), torch tensors (the reference
implementation) and traced symbols (from which the fused kernels and their adjoints are made).
Conditions are combined with `&`, `|` and `~`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, cast, runtime_checkable

import torch
from torch import Tensor

Value = Any  # a Python number, a Tensor, or a traced symbol


class SpikeFunction(Protocol):
    """What `spike` needs of a surrogate (see `rheobase.surrogate`)."""

    smooth: ClassVar[bool]

    def derivative(self, x: Value) -> Value: ...

    def primitive(self, x: Value) -> Value: ...


@runtime_checkable
class Traced(Protocol):
    """A value that records the operators applied to it."""

    def record(self, name: str, *arguments: Value) -> Value: ...


def _apply(name: str, numeric: Callable[..., Any], tensor: Callable[..., Any], *args: Value) -> Value:
    for arg in args:
        if isinstance(arg, Traced):
            return arg.record(name, *args)
    if any(isinstance(arg, Tensor) for arg in args):
        return tensor(*args)
    return numeric(*args)


def exp(x: Value) -> Value:
    """e to the power of x.

    >>> exp(0.0)
    1.0
    """
    return _apply("exp", math.exp, torch.exp, x)


def log(x: Value) -> Value:
    """Natural logarithm."""
    return _apply("log", math.log, torch.log, x)


def sqrt(x: Value) -> Value:
    """Square root."""
    return _apply("sqrt", math.sqrt, torch.sqrt, x)


def tanh(x: Value) -> Value:
    """Hyperbolic tangent."""
    return _apply("tanh", math.tanh, torch.tanh, x)


def atan(x: Value) -> Value:
    """Inverse tangent."""
    return _apply("atan", math.atan, torch.atan, x)


def erf(x: Value) -> Value:
    """Error function."""
    return _apply("erf", math.erf, torch.erf, x)


def absolute(x: Value) -> Value:
    """Absolute value; its derivative at 0 is 0."""
    return _apply("absolute", abs, torch.abs, x)


def where(condition: Value, yes: Value, no: Value) -> Value:
    """`yes` where `condition` holds, else `no`; gradients flow through the chosen branch only.

    >>> where(True, 1.0, 2.0)
    1.0
    """
    return _apply("where", lambda c, a, b: a if c else b, _where, condition, yes, no)


def _where(condition: Value, yes: Value, no: Value) -> Tensor:
    if not isinstance(condition, Tensor):
        return cast(Tensor, yes if condition else no)
    return torch.where(condition, yes, no)


def maximum(a: Value, b: Value) -> Value:
    """The larger of two; at a tie the gradient goes to `a`.

    >>> maximum(1.0, 2.0)
    2.0
    """
    return where(a >= b, a, b)


def minimum(a: Value, b: Value) -> Value:
    """The smaller of two; at a tie the gradient goes to `a`."""
    return where(a <= b, a, b)


def stop_gradient(x: Value) -> Value:
    """x, as a constant for every derivative."""
    return _apply("stop_gradient", float, torch.Tensor.detach, x)


def spike(x: Value, surrogate: SpikeFunction, strict: bool = True) -> Value:
    """1 where x > 0 (`strict`) or x >= 0, else 0; differentiated by the surrogate's derivative.

    A surrogate with `smooth = True` replaces the step itself by the surrogate's primitive, which
    makes the whole network differentiable (used to check gradients by finite differences).
    """
    if surrogate.smooth:
        return surrogate.primitive(x)
    if isinstance(x, Traced):
        return x.record("spike", x, surrogate, strict)
    if not isinstance(x, Tensor):
        return float(x > 0 if strict else x >= 0)
    return _Spike.apply(x, surrogate, strict)  # type: ignore[no-untyped-call]


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, surrogate: SpikeFunction, strict: bool) -> Tensor:
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)
        ctx.surrogate = surrogate
        return (x > 0 if strict else x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradient: Any) -> Any:
        (x,) = ctx.saved_tensors
        return gradient[0] * ctx.surrogate.derivative(x), None, None

    @staticmethod
    def jvp(ctx: Any, *tangent: Any) -> Any:
        (x,) = ctx.saved_tensors
        return tangent[0] * ctx.surrogate.derivative(x)
