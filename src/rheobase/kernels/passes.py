"""Running a program's kernels on tensors: forward, backward, and time chunks with recomputation.

With K steps per chunk, the forward pass keeps only the state at each chunk's start; the backward
pass runs each chunk forward again before differentiating it. Memory for saved values falls from T
to K + T/K steps. Results are the same to the last bit, but for sums over time (derivatives by parameters
and by a constant input), which are then added up chunk by chunk.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from rheobase.kernels.cache import Kernel
from rheobase.kernels.native import NUMBER
from rheobase.kernels.program import Program
from rheobase.kernels.source import CHUNK, Incoming
from rheobase.kernels.workspace import empty

NAMES = {torch.float32: "float32", torch.float64: "float64"}


class Grid:
    """How `[T, B, N]` is laid out for the kernels: `[T, R, C]` (see `rheobase.kernels.source`)."""

    def __init__(self, shape: tuple[int, ...], coefficients: Sequence[Any], ports: int = 1) -> None:
        self.kinds = "".join("v" if isinstance(c, Tensor) and c.dim() else "s" for c in coefficients)
        rows = shape[0] if "v" in self.kinds or ports > 1 else 1  # inputs lie sample by sample
        columns = 1
        for size in shape if rows == 1 else shape[1:]:
            columns *= size
        if rows == 1:  # a batch of one with per-neuron coefficients is a row as well
            self.rows, self.columns = 1, columns
        else:
            self.rows, self.columns = rows, columns

    @classmethod
    def by_row(cls, shape: tuple[int, ...], coefficients: Sequence[Any]) -> Grid:
        """A grid with a row for each sample, whatever the coefficients are."""
        grid = cls(shape, coefficients)
        grid.rows, grid.columns = shape[0], math.prod(shape[1:])
        return grid

    def view(self, x: Tensor) -> Tensor:
        """`[B, N]` as `[R, C]`."""
        return x.detach().reshape(self.rows, self.columns)

    def over_time(self, x: Tensor, ports: int = 1) -> Tensor:
        """`[T, B, N]` as `[T, R, C]`; the input of neurons with P inputs as `[T, R, P * C]`."""
        return x.detach().reshape(x.shape[0], self.rows, ports * self.columns)

    def run(self, kernel: Kernel, arrays: list[Any], states: int, steps: int) -> None:
        """Call the kernel on all rows and columns, on as many threads as are worth it."""
        size = self.rows if self.rows > 1 else self.columns
        carried = max(states, 1)
        buffers = torch.empty((torch.get_num_threads(), carried, CHUNK), dtype=arrays[0].dtype)
        kernel.run([*arrays, buffers, steps], size, self.rows * self.columns * steps)

    def coefficients(self, values: Sequence[Any], dtype: torch.dtype) -> list[Any]:
        """Coefficients as the kernels take them: typed numbers and flat arrays."""
        number = NUMBER[dtype]
        return [
            v.detach().to(dtype).reshape(-1).contiguous()
            if kind == "v"
            else number(v.item() if isinstance(v, Tensor) else v)
            for kind, v in zip(self.kinds, values, strict=True)
        ]


def chunks(steps: int, every: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each chunk of `every` steps; one chunk if `every` is 0."""
    size = every or steps
    for start in range(0, steps, size):
        yield start, min(start + size, steps)


def run_forward(
    p: Program,
    current: Tensor,
    state: list[Tensor],
    coefficients: list[Any],
    steps: int,
    every: int,
    save: bool,
) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
    """One pass over all steps.

    Returns:
        What was emitted `[T, B, N]`, the final states, the recorded states `[T, B, N]`, and what
        is kept for the adjoint: the saved values over time, or the states at the chunks' starts
        `[chunks, B, N]` if `every` is not 0.
    """
    shape = p.shape(current)
    grid = Grid(shape, coefficients, p.ports)
    kernel_save = save and not every
    kernel = p.forward_kernel(NAMES[current.dtype], grid.kinds, kernel_save)
    full, dtype = (steps, *shape), current.dtype
    emitted = empty(full, dtype)
    traces = [empty(full, dtype) for _ in p.record]
    saved = [empty(full, p.saved_dtype(n, dtype)) for n in p.own] if kernel_save else []
    parts = list(chunks(steps, every))
    starts = [current.new_empty((len(parts), *shape)) for _ in p.states] if save and every else []
    values = grid.coefficients(coefficients, current.dtype)
    inputs = grid.over_time(current[None] if p.constant else current, p.ports)
    filled = [grid.over_time(x) for x in (emitted, *traces, *saved)]
    before = state
    for i, (low, high) in enumerate(parts):
        for all_starts, value in zip(starts, before, strict=False):
            all_starts[i] = value
        after = [current.new_empty(shape) for _ in p.states]
        arrays = [
            inputs if p.constant else inputs[low:high],
            *(grid.view(s) for s in before),
            *values,
            *(x[low:high] for x in filled),
            *(grid.view(s) for s in after),
        ]
        grid.run(kernel, arrays, len(p.states), high - low)
        before = after
    return emitted, before, traces, starts if every else saved


def run_backward(
    p: Program,
    current: Tensor,
    coefficients: list[Any],
    emitted: Tensor,
    traces: list[Tensor],
    kept: list[Tensor],
    by_emitted: Tensor | None,
    by_traces: list[Tensor | None],
    by_state: list[Tensor | None],
    every: int,
    want_current: bool,
) -> tuple[Tensor | None, list[Tensor], list[Tensor]]:
    """The adjoint of `run_forward`: derivatives by current, initial states and tensor coefficients."""
    steps, shape = emitted.shape[0], tuple(emitted.shape[1:])
    grid = Grid(shape, coefficients, p.ports)
    dtype = emitted.dtype
    wanted = tuple(sorted(p.tensors))
    # The gradient of a sum is one number, expanded: it need not be written out for all steps.
    uniform = by_emitted is not None and not any(by_emitted.stride())
    incoming = Incoming(
        emitted=by_emitted is not None,
        traces=tuple(n for n, g in zip(p.record, by_traces, strict=True) if g is not None),
        current=want_current,
        coefficients=wanted,
        keeps_current=p.keeps_current,
        uniform=uniform,
    )
    kernel = p.backward_kernel(NAMES[dtype], grid.kinds, incoming)
    values = grid.coefficients(coefficients, dtype)
    gradients = [grid.over_time(g.contiguous()) for g in by_traces if g is not None]
    numbers = []
    if by_emitted is not None and uniform:
        numbers.append(NUMBER[dtype](by_emitted[(0,) * by_emitted.dim()].item()))
    elif by_emitted is not None:
        gradients.insert(0, grid.over_time(by_emitted.contiguous()))
    lam = [emitted.new_zeros(shape) if g is None else g.contiguous() for g in by_state]
    by_current = empty(tuple(current.shape), dtype) if want_current else None
    by_coefficient = {j: emitted.new_zeros(shape) for j in wanted}
    inputs = grid.over_time(current[None] if p.constant else current, p.ports)
    parts = list(chunks(steps, every))
    for i in reversed(range(len(parts))):
        low, high = parts[i]
        part = slice(low, high)
        if every:
            piece = current if p.constant else current[part]
            again = run_forward(p, piece, [k[i] for k in kept], coefficients, high - low, 0, True)
            out, records, saved = again[0], again[2], again[3]
        else:
            out, records, saved = emitted, traces, kept
        before = [emitted.new_empty(shape) for _ in p.states]
        sums = [emitted.new_empty(shape) for _ in wanted]
        filled = []
        if by_current is not None:
            # A constant input's derivative is a sum over time: one per chunk, added up below.
            piece = torch.empty_like(current) if p.constant else by_current[part]
            filled.append(grid.over_time(piece[None] if p.constant else piece, p.ports))
        arrays = [
            inputs if p.constant else inputs[part],
            *(grid.over_time(x) for x in (out, *records, *saved)),
            *values,
            *numbers,
            *(g[part] for g in gradients),
            *(grid.view(x) for x in lam),
            *filled,
            *(grid.view(x) for x in before),
            *(grid.over_time(x[None]) for x in sums),
        ]
        grid.run(kernel, arrays, len(p.states), high - low)
        lam = before
        if by_current is not None and p.constant:
            by_current = piece if i == len(parts) - 1 else by_current.add_(piece)
        for j, part_sum in zip(wanted, sums, strict=True):
            by_coefficient[j] += part_sum
    return by_current, lam, [reduce_to(by_coefficient[j], coefficients[j]) for j in wanted]


def reduce_to(total: Tensor, coefficient: Tensor) -> Tensor:
    """Sum over the columns that share a coefficient, in float64."""
    wide = total.double()
    summed = wide.sum(0).reshape(coefficient.shape) if coefficient.dim() else wide.sum()
    return summed.to(coefficient.dtype)
