"""A layer of neurons and the small dense connection behind it (a read-out, say) as one operation.

Whole-sequence tensors `[T, B, N]` of the hidden layer are the largest of a network. If nobody asks
for them, they need not exist (see `rheobase.kernels.fused_source`): memory for the layer no longer
grows with T, and the time to move it is saved.

The neurons' results are the same to the last bit as in separate operations; the connection's sums
differ in rounding. Sums over samples are made in a fixed number of parts, so that the result does
not depend on the number of threads.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rheobase.kernels.bound import Bound, Form
from rheobase.kernels.cache import Kernel
from rheobase.kernels.fused_source import LINE
from rheobase.kernels.passes import NAMES, Grid, addresses, coefficient_forms, reduce_to
from rheobase.kernels.program import PROGRAMS, Program
from rheobase.kernels.workspace import empty

FEW = 32  # outputs up to which the connection is multiplied in the kernel; more is the BLAS's work
LONG = 2048  # steps from which a chunk no longer fits the cache
SMALL = 1 << 18  # elements of `[T, B, N]` below which separate operations serve as well
PARTS = 16  # partial sums of the weights' derivative
CACHED = 32768  # elements of one array that a thread keeps over a chunk of columns


class NeuronsThenDense(torch.autograd.Function):
    """currents -> neurons -> x W^T + b. `rest` is (coefficient numbers, program, steps)."""

    @staticmethod
    def forward(
        ctx: Any, rest: Any, current: Tensor, weight: Tensor, bias: Tensor | None, *given: Tensor
    ) -> tuple[Tensor, ...]:
        numbers, key, steps = rest
        p = PROGRAMS[key]
        state, tensors = list(given[: len(p.states)]), list(given[len(p.states) :])
        coefficients = p.merge(numbers, tensors)
        grid = Grid.by_row(tuple(current.shape if p.constant else current.shape[1:]), coefficients)
        dtype = current.dtype
        sums = current.new_zeros((steps, grid.rows, weight.shape[0]))
        if bias is not None:
            sums += bias
        last = [torch.empty_like(s) for s in state]
        s = _Shape(dtype, grid.kinds, grid.rows, grid.columns, steps, len(weight))
        arrays = [
            current.contiguous(),
            *(x.contiguous() for x in state),
            *grid.values(coefficients, dtype),
            _padded(weight),
            sums,
            *last,
            *_working_memory(s, len(state) + 1, [dtype]),
            steps,
        ]
        _forward_call(key, s).run(addresses(arrays))
        ctx.set_materialize_grads(False)
        ctx.rest = (numbers, key, steps, bias is not None)
        ctx.save_for_backward(current, weight, *state, *tensors)
        return (sums, *last)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        numbers, key, steps, biased = ctx.rest
        p = PROGRAMS[key]
        current, weight, *saved = ctx.saved_tensors
        state, tensors = saved[: len(p.states)], saved[len(p.states) :]
        coefficients = p.merge(numbers, tensors)
        shape = tuple(current.shape if p.constant else current.shape[1:])
        grid = Grid.by_row(shape, coefficients)
        dtype = current.dtype
        want_current = bool(ctx.needs_input_grad[1])
        s = _Shape(dtype, grid.kinds, grid.rows, grid.columns, steps, len(weight))
        by_sums = gradients[0]
        if by_sums is None:
            by_sums = current.new_zeros((steps, grid.rows, weight.shape[0]))
        lam = [torch.zeros_like(x) if g is None else g for x, g in zip(state, gradients[1:], strict=True)]
        by_current = torch.empty(current.shape, dtype=dtype) if want_current else None
        by_state = [torch.empty(shape, dtype=dtype) for _ in state]
        by_weight = weight.new_zeros((min(PARTS, grid.rows), weight.shape[0], _whole_lines(weight.shape[1])))
        by_tensor = [current.new_empty(shape) for _ in tensors]
        arrays = [
            current.contiguous(),
            *(x.contiguous() for x in state),
            *grid.values(coefficients, dtype),
            _padded(weight),
            by_sums.contiguous(),
            *(x.contiguous() for x in lam),
            *([] if by_current is None else [by_current]),
            *by_state,
            by_weight,
            *by_tensor,
            *_working_memory(s, *_carried(p, s)),
            steps,
        ]
        _backward_call(key, s, want_current).run(addresses(arrays))
        totals = [reduce_to(total, t) for total, t in zip(by_tensor, tensors, strict=True)]
        by_bias = by_sums.sum((0, 1)) if biased else None
        return None, by_current, by_weight.sum(0)[:, : weight.shape[1]], by_bias, *by_state, *totals


class _Shape(NamedTuple):
    """What settles a call besides the program."""

    dtype: torch.dtype
    kinds: str
    rows: int
    columns: int
    steps: int
    outputs: int

    @property
    def parts(self) -> int:
        """Partial sums of the weights' derivative."""
        return min(PARTS, self.rows)

    def start(self, p: Program) -> list[Form | None]:
        """The first arguments: the input, states, coefficients, weights and sums."""
        over_time = Form(self.dtype, (1 if p.constant else self.steps, self.rows, self.columns))
        weight = Form(self.dtype, (self.outputs, _whole_lines(self.columns)))
        sums = Form(self.dtype, (self.steps, self.rows, self.outputs))
        coefficients = coefficient_forms(self.kinds, self.columns, self.dtype)
        return [over_time, *self.states(p), *coefficients, weight, sums]

    def states(self, p: Program) -> list[Form]:
        return [Form(self.dtype, (self.rows, self.columns)) for _ in p.states]

    def work(self, carried: int, over_time: Sequence[torch.dtype]) -> list[Form]:
        """What a thread works in: `carried` rows, and arrays over all steps of a chunk of columns."""
        chunk = min(max(64, min(1024, CACHED // self.steps // LINE * LINE)), _whole_lines(self.columns))
        rows = [Form(self.dtype, (1, carried, chunk))]
        return rows + [Form(kind, (1, self.steps, chunk)) for kind in over_time]

    def bind(self, kernel: Kernel, forms: Sequence[Form | None], size: int) -> Bound:
        return Bound(kernel, [*forms, None], size, self.rows * self.columns * self.steps)


@functools.lru_cache(maxsize=256)
def _forward_call(key: str, s: _Shape) -> Bound:
    p = PROGRAMS[key]
    kernel = p.forward_into_kernel(NAMES[s.dtype], s.kinds)
    return s.bind(kernel, [*s.start(p), *s.states(p), *s.work(len(p.states) + 1, [s.dtype])], s.rows)


@functools.lru_cache(maxsize=256)
def _backward_call(key: str, s: _Shape, want_current: bool) -> Bound:
    p = PROGRAMS[key]
    kernel = p.backward_into_kernel(NAMES[s.dtype], s.kinds, want_current)
    start = s.start(p)
    weights = Form(s.dtype, (s.parts, s.outputs, _whole_lines(s.columns)))
    sums = [Form(s.dtype, (1, s.rows, s.columns)) for _ in p.tensors]
    forms = [*start, *s.states(p), *start[: int(want_current)], *s.states(p), weights, *sums]
    return s.bind(kernel, [*forms, *s.work(*_carried(p, s))], s.parts)


def _carried(p: Program, s: _Shape) -> tuple[int, list[torch.dtype]]:
    """Of the backward pass: rows (states, sums over time, the current), and types of what is kept."""
    kept = [p.saved_dtype(n, s.dtype) for n in p.own]
    return len(p.states) + len(p.tensors) + 2, [s.dtype, s.dtype, *kept]


def _whole_lines(columns: int) -> int:
    return -(-columns // LINE) * LINE


def _padded(weight: Tensor) -> Tensor:
    """The weights, with rows of whole cache lines."""
    padded = weight.new_zeros((weight.shape[0], _whole_lines(weight.shape[1])))
    padded[:, : weight.shape[1]] = weight.detach()
    return padded


def _working_memory(s: _Shape, carried: int, over_time: Sequence[torch.dtype]) -> list[Tensor]:
    """What threads work in (`_Shape.work`)."""
    threads = torch.get_num_threads()
    return [empty((threads, *form.shape[1:]), form.dtype) for form in s.work(carried, over_time)]
