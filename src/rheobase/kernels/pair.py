"""A layer of neurons and the dense connection behind it, in pieces of time that fit the cache.

Whole-sequence tensors `[T, B, N]` of the hidden layer (what it emitted, what its adjoint needs, the
derivative by what it emitted) are the largest of a network. If nobody asks for them, they need not
exist: here a few time steps are run, multiplied while they are in the cache, and forgotten; the
backward pass runs them again from the state at the piece's start. Memory for the layer falls from T
to one piece, and with it the time to move it.

The neurons' results are the same to the last bit; products of pieces may differ in rounding from the
product of the whole, and sums over time are added up piece by piece.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rheobase.kernels.passes import chunks, run_backward, run_forward
from rheobase.kernels.products import multiply, weight_gradient
from rheobase.kernels.program import PROGRAMS
from rheobase.kernels.workspace import empty

PIECE = 1 << 20  # elements of one `[steps, B, N]` piece


def steps_per_piece(steps: int, size: int) -> int:
    """How many steps of `size` elements make a piece; all pieces are about as long."""
    longest = max(PIECE // max(size, 1), 1)
    pieces = -(-steps // longest)
    return -(-steps // pieces)


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
        size = current.numel() if p.constant else current.numel() // max(steps, 1)
        every = steps_per_piece(steps, size)
        rows = (current.shape if p.constant else current.shape[1:])[0]
        out = empty((steps, rows, weight.shape[0]), current.dtype)
        starts = []
        for low, high in chunks(steps, every):
            starts.append(state)
            piece = current if p.constant else current[low:high]
            emitted, state, _, _ = run_forward(p, piece, state, coefficients, high - low, 0, False)
            multiply(emitted.reshape(-1, weight.shape[1]), weight, bias, out[low:high].flatten(0, 1))
        ctx.set_materialize_grads(False)
        ctx.rest = (numbers, key, steps, every, bias is not None)
        flat = [x for start in starts for x in start]
        ctx.save_for_backward(current, weight, *tensors, *flat)
        return (out, *state)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        numbers, key, steps, every, biased = ctx.rest
        p = PROGRAMS[key]
        current, weight, *saved = ctx.saved_tensors
        n, m = len(p.states), len(p.tensors)
        tensors, flat = saved[:m], saved[m:]
        coefficients = p.merge(numbers, tensors)
        wanted = ctx.needs_input_grad
        by_out, lam = gradients[0], list(gradients[1:])
        by_current = torch.empty_like(current) if wanted[1] and not p.constant else None
        by_weight, totals = None, [torch.zeros_like(t) for t in tensors]
        parts = list(chunks(steps, every))
        for i in reversed(range(len(parts))):
            low, high = parts[i]
            piece = current if p.constant else current[low:high]
            start = flat[i * n : (i + 1) * n]
            emitted, _, _, kept = run_forward(p, piece, start, coefficients, high - low, 0, True)
            by_emitted = None
            if by_out is not None:
                g = by_out[low:high].reshape(-1, weight.shape[0])
                by_emitted = empty((g.shape[0], weight.shape[1]), g.dtype)
                torch.mm(g, weight, out=by_emitted)
                by_emitted = by_emitted.reshape(emitted.shape)
                if wanted[2]:
                    share = weight_gradient(g, emitted.reshape(-1, weight.shape[1]))
                    by_weight = share if by_weight is None else by_weight.add_(share)
            by_piece, lam, sums = run_backward(
                p, piece, coefficients, emitted, [], kept, by_emitted, [], lam, 0, bool(wanted[1])
            )
            if by_piece is not None and p.constant:
                by_current = by_piece if by_current is None else by_current.add_(by_piece)
            elif by_piece is not None and by_current is not None:
                by_current[low:high] = by_piece
            totals = [total + s for total, s in zip(totals, sums, strict=True)]
        by_bias = by_out.sum((0, 1)) if biased and by_out is not None else None
        return None, by_current, by_weight, by_bias, *lam, *totals
