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

from rheobase.kernels.passes import NAMES, Grid, reduce_to
from rheobase.kernels.program import PROGRAMS
from rheobase.kernels.threads import split

FEW = 32  # outputs up to which the connection is multiplied in the kernel; more is the BLAS's work
LONG = 2048  # steps from which a chunk no longer fits the cache
SMALL = 1 << 18  # elements of `[T, B, N]` below which separate operations serve as well
PARTS = 16  # partial sums of the weights' derivative


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
            weight.detach().contiguous().numpy(),
            sums.numpy(),
            *(grid.view(s) for s in last),
            steps,
        ]
        run = kernel.prepare(*arrays, 0, grid.rows)
        split(lambda low, high: run(*arrays, low, high), grid.rows, grid.rows * grid.columns * steps)
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
        by_weight = weight.new_zeros((min(PARTS, grid.rows), *weight.shape))
        by_tensor = [current.new_empty(shape) for _ in tensors]
        filled = [] if by_current is None else [by_current[None] if p.constant else by_current]
        arrays = [
            grid.over_time(current[None] if p.constant else current),
            *(grid.view(s) for s in state),
            *grid.coefficients(coefficients, current.dtype),
            weight.detach().contiguous().numpy(),
            by_sums.contiguous().numpy(),
            *(grid.view(x) for x in lam),
            *(grid.over_time(x) for x in filled),
            *(grid.view(x) for x in by_state),
            by_weight.numpy(),
            *(grid.over_time(x[None]) for x in by_tensor),
            steps,
        ]
        parts = by_weight.shape[0]
        run = kernel.prepare(*arrays, 0, parts)
        split(lambda low, high: run(*arrays, low, high), parts, grid.rows * grid.columns * steps)
        totals = [reduce_to(total, t) for total, t in zip(by_tensor, tensors, strict=True)]
        by_bias = by_sums.sum((0, 1)) if biased else None
        return None, by_current, by_weight.sum(0), by_bias, *by_state, *totals
