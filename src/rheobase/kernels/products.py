"""Dense products through the fastest correct path per shape.

torch multiplies with MKL or with oneDNN, which it both contains. Neither is best everywhere:

- With few outputs (a read-out of 10 classes) MKL reaches 8 to 40 GFLOP/s where oneDNN reaches 60
  (3200 x 1000 by 1000 x 10, two cores of an AMD EPYC 7003).
- On AMD processors with AVX-512, MKL does not use it: 220 against 430 to 480 GFLOP/s (128 x 784 by
  784 x 1000, its weight gradient, and 8000 x 512 by 512 x 512, two cores of a Zen 5).
- Where few inputs are not zero (spikes), adding the weights of those beats both (see `events`).
- Where a batch of inputs with many zeros meets a large layer, panels of its weights do (see `panels`).
- Weight gradients of spikes are sums of outer products with most of their factors zero (see `outer`).

The choice depends on the shapes, the share of zeros and the processor, never on a timing, so that a
run repeats bit for bit. Paths differ in rounding.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rheobase.kernels import events, outer, panels
from rheobase.kernels.settled import settled
from rheobase.kernels.workspace import empty

FEW = 32  # outputs up to which oneDNN is preferred on any processor
SCATTERED = 0.01  # density below which a weight gradient is scattered
LARGE = 1 << 22  # multiplications from which oneDNN is preferred on AMD processors with AVX-512


@functools.cache
def amd_with_avx512() -> bool:
    """Whether this is a processor on which MKL leaves AVX-512 unused."""
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return "AMD" in platform.processor()


def prefers_onednn(rows: int, inputs: int, outputs: int, dtype: torch.dtype) -> bool:
    """Whether the product of `[rows, inputs]` and `[outputs, inputs]` transposed goes through oneDNN."""
    if dtype != torch.float32 or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if outputs <= FEW or rows <= FEW:
        return outputs <= FEW < rows
    return rows * inputs * outputs >= LARGE and amd_with_avx512()


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x W^T + b for `x` `[M, inputs]`, `weight` `[outputs, inputs]`, `bias` `[outputs]` or None.

    >>> linear(torch.ones(2, 3), torch.ones(4, 3), None)[0, 0].item()
    3.0
    """
    if torch.compiler.is_compiling() or type(x) not in (Tensor, torch.nn.Parameter):
        traced: Tensor = torch.ops.rheobase.linear(x, weight, bias)
        return traced
    # A custom operator's dispatch costs more than a small product: eager calls go around it.
    eager: Tensor = _EagerLinear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return eager


@torch.library.custom_op("rheobase::linear", mutates_args=())
def _forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return multiply(x, weight, bias)


def multiply(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    out: Tensor | None = None,
    known: events.Shares | None = None,
) -> Tensor:
    """`linear` without gradients; into `out` if it is given. What is found out about x is `known` then."""
    if x.device.type != "cpu":
        result = torch.nn.functional.linear(x, weight, bias)
        return result if out is None else out.copy_(result)
    listed = settled(panels.worth_listing, x, weight.shape[0], known=known)
    sparse = not listed and settled(events.worth_gathering, x, weight.shape[0], known=known)
    if not sparse and not listed and prefers_onednn(x.shape[0], x.shape[1], weight.shape[0], x.dtype):
        product = _onednn(x.contiguous(), weight.contiguous(), bias)
        return product if out is None else out.copy_(product)
    if out is None:
        out = empty((x.shape[0], weight.shape[0]), x.dtype)
    if sparse:
        return events.multiply(x, weight, bias, out)
    if listed:
        return panels.multiply(x, weight, bias, out)
    if bias is None:
        return torch.mm(x, weight.t(), out=out)
    return torch.addmm(bias, x, weight.t(), out=out)


@_forward.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty((x.shape[0], weight.shape[0]))


@torch.library.custom_op("rheobase::linear_backward", mutates_args=())
def linear_backward(gradient: Tensor, x: Tensor, weight: Tensor, wanted: list[bool]) -> list[Tensor]:
    """Derivatives of `linear` by x, weight and bias, those that are `wanted`."""
    return _derivatives(gradient, x, weight, wanted)


def _derivatives(
    gradient: Tensor, x: Tensor, weight: Tensor, wanted: list[bool], known: events.Shares | None = None
) -> list[Tensor]:
    by_x, by_weight, by_bias = wanted
    results = []
    if by_x:
        results.append(_input_gradient(gradient, weight))
    total = None
    if by_weight:
        product, total = _weight_gradient(gradient, x, known)
        results.append(product)
    if by_bias:
        results.append(gradient.sum(0) if total is None else total)
    return results


@linear_backward.register_fake
def _(gradient: Tensor, x: Tensor, weight: Tensor, wanted: list[bool]) -> list[Tensor]:
    results = (torch.empty_like(x), torch.empty_like(weight), weight.new_empty(weight.shape[0]))
    return [result for result, want in zip(results, wanted, strict=True) if want]


def _input_gradient(gradient: Tensor, weight: Tensor) -> Tensor:
    (rows, outputs), inputs = gradient.shape, weight.shape[1]
    if gradient.device.type != "cpu":
        return gradient @ weight
    if inputs > FEW and prefers_onednn(rows, outputs, inputs, gradient.dtype):
        return _onednn(gradient.contiguous(), weight.t(), None)
    return torch.mm(gradient, weight, out=empty((rows, inputs), gradient.dtype))


def weight_gradient(gradient: Tensor, x: Tensor) -> Tensor:
    """gradient^T x: the sum over rows of outer products, `[outputs, inputs]`."""
    return _weight_gradient(gradient, x, None)[0]


def _weight_gradient(
    gradient: Tensor, x: Tensor, known: events.Shares | None
) -> tuple[Tensor, Tensor | None]:
    """`weight_gradient`, and the gradient's sum over rows where that costs nothing."""
    (rows, outputs), inputs = gradient.shape, x.shape[1]
    if inputs <= FEW < outputs:  # 2500 x 2 and 2500 x 100: eight times faster than the other way round
        return (x.t() @ gradient).t().contiguous(), None
    if settled(panels.worth_listing, x, outputs, known=known):
        return panels.weight_gradient(gradient, x)
    sparse = settled(_sparse_gradient, x, outputs, known=known)
    if sparse is not None:
        return sparse(gradient, x), None
    if not _transposed_onednn(rows, inputs, outputs, x):
        return gradient.t() @ x, None
    # oneDNN wants its first factor's rows side by side, and would make fresh memory for them.
    across = empty((outputs, rows), x.dtype).copy_(gradient.t())
    return _onednn(across, x.t(), None), None


def _sparse_gradient(
    x: Tensor, outputs: int, known: events.Shares | None = None
) -> Callable[[Tensor, Tensor], Tensor] | None:
    """What makes the weight gradient where few of the inputs are not zero; None where many are."""
    if outputs <= FEW:
        return None
    density = events.density(x, known)
    if density < SCATTERED:
        return events.weight_gradient
    return outer.weight_gradient if density < outer.limit(amd_with_avx512()) else None


def _transposed_onednn(rows: int, inputs: int, outputs: int, x: Tensor) -> bool:
    """Whether oneDNN makes the weight gradient.

    For one or two outputs, or few inputs, MKL is as fast: 50176 x 10 and 50176 x 220 took it 4.4 ms of a
    Zen 5 core, oneDNN 2.7, but 50176 x 1 both 1.2.
    """
    if x.device.type != "cpu" or inputs <= FEW:
        return False
    if outputs <= FEW:
        # The roles of outputs and inputs do not matter here, only that one of them is few.
        return (
            outputs > 2
            and rows * inputs >= events.WORTHWHILE
            and prefers_onednn(inputs, rows, outputs, x.dtype)
        )
    return prefers_onednn(outputs, rows, inputs, x.dtype)


class _EagerLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)
        ctx.known = {}
        return multiply(x, weight, bias, None, ctx.known)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, weight = ctx.saved_tensors
        wanted = list(ctx.needs_input_grad)
        results = iter(_derivatives(gradients[0], x, weight, wanted, ctx.known))
        return tuple(next(results) if want else None for want in wanted)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        (x, weight), (dx, dweight, dbias) = ctx.saved_tensors, tangents
        terms = [] if dx is None else [multiply(dx, weight, None)]
        terms += [] if dweight is None else [multiply(x, dweight, None)]
        terms += [] if dbias is None else [dbias]
        return sum(terms[1:], terms[0])


def _setup(ctx: Any, inputs: Any, output: Tensor) -> None:
    x, weight, _ = inputs
    ctx.save_for_backward(x, weight)


def _backward(ctx: Any, gradient: Tensor) -> Any:
    x, weight = ctx.saved_tensors
    wanted = [bool(want) for want in ctx.needs_input_grad]
    results = iter(torch.ops.rheobase.linear_backward(gradient, x, weight, wanted))
    return tuple(next(results) if want else None for want in wanted)


_forward.register_autograd(_backward, setup_context=_setup)
