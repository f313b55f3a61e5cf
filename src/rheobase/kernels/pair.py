"""A layer of neurons and the small dense connection behind it (a read-out, say) as one operation.

Whole-sequence tensors `[T, B, N]` of the hidden layer are the largest of a network. If nobody asks
for them, they need not exist (see `rheobase.kernels.fused_source`): memory for the layer no longer
grows with T, and the time to move it is saved.

The neurons' results are the same to the last bit as in separate operations; the connection's sums
differ in rounding. Sums over samples are made in a fixed number of parts, so that the result does
not depend on the number of threads.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rheobase.kernels.fused_source import LINE
from rheobase.kernels.passes import NAMES, Grid, reduce_to
from rheobase.kernels.program import PROGRAMS
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
        kernel = p.forward_into_kernel(NAMES[current.dtype], grid.kinds)
        sums = current.new_zeros((steps, grid.rows, weight.shape[0]))
        if bias is not None:
            sums += bias
        last = [torch.empty_like(s) for s in state]
        arrays = [
            grid.over_time(current[None] if p.constant else current),
            *(grid.view(s) for s in state),
            *grid.coefficients(coefficients, current.dtype),
            _padded(weight),
            sums,
            *(grid.view(s) for s in last),
            *_working_memory(len(state) + 1, steps, grid.columns, current.dtype, [current.dtype]),
            steps,
        ]
        kernel.run(arrays, grid.rows, grid.rows * grid.columns * steps)
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
        want_current = bool(ctx.needs_input_grad[1])
        kernel = p.backward_into_kernel(NAMES[current.dtype], grid.kinds, want_current)
        by_sums = gradients[0]
        if by_sums is None:
            by_sums = current.new_zeros((steps, grid.rows, weight.shape[0]))
        lam = [
            torch.zeros_like(s) if g is None else g.contiguous()
            for s, g in zip(state, gradients[1:], strict=True)
        ]
        by_current = torch.empty_like(current) if want_current else None
        by_state = [torch.empty_like(s) for s in state]
        width = _whole_lines(weight.shape[1])
        by_weight = weight.new_zeros((min(PARTS, grid.rows), weight.shape[0], width))
        by_tensor = [current.new_empty(shape) for _ in tensors]
        rows = len(state) + len(tensors) + 2  # carried states, sums over time, the current
        saved_types = [p.saved_dtype(n, current.dtype) for n in p.own]
        filled = [] if by_current is None else [by_current[None] if p.constant else by_current]
        arrays = [
            grid.over_time(current[None] if p.constant else current),
            *(grid.view(s) for s in state),
            *grid.coefficients(coefficients, current.dtype),
            _padded(weight),
            by_sums.contiguous(),
            *(grid.view(x) for x in lam),
            *(grid.over_time(x) for x in filled),
            *(grid.view(x) for x in by_state),
            by_weight,
            *(grid.over_time(x[None]) for x in by_tensor),
            *_working_memory(rows, steps, grid.columns, current.dtype, [current.dtype] * 2 + saved_types),
            steps,
        ]
        kernel.run(arrays, by_weight.shape[0], grid.rows * grid.columns * steps)
        totals = [reduce_to(total, t) for total, t in zip(by_tensor, tensors, strict=True)]
        by_bias = by_sums.sum((0, 1)) if biased else None
        return None, by_current, by_weight.sum(0)[:, : weight.shape[1]], by_bias, *by_state, *totals


def _whole_lines(columns: int) -> int:
    return -(-columns // LINE) * LINE


def _padded(weight: Tensor) -> Tensor:
    """The weights, with rows of whole cache lines."""
    padded = weight.new_zeros((weight.shape[0], _whole_lines(weight.shape[1])))
    padded[:, : weight.shape[1]] = weight.detach()
    return padded


def _working_memory(
    carried: int, steps: int, columns: int, dtype: torch.dtype, over_time: list[torch.dtype]
) -> list[Tensor]:
    """What a thread works in: `carried` rows, and arrays over all steps of a chunk of columns."""
    threads = torch.get_num_threads()
    size = min(max(64, min(1024, CACHED // steps // LINE * LINE)), _whole_lines(columns))
    buffers = torch.empty((threads, carried, size), dtype=dtype)
    return [buffers, *(empty((threads, steps, size), kind) for kind in over_time)]
