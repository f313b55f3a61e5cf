"""Running a program's kernels on tensors: forward, backward, and time chunks with recomputation.

With K steps per chunk, the forward pass keeps only the state at each chunk's start; the backward
pass runs each chunk forward again before differentiating it. Memory for saved values falls from T
to K + T/K steps. Results are the same to the last bit, but for sums over time (derivatives by parameters
and by a constant input), which are then added up chunk by chunk.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rheobase.kernels.bound import Bound, Form, bits
from rheobase.kernels.cache import Kernel
from rheobase.kernels.program import PROGRAMS, Program
from rheobase.kernels.source import CHUNK, Incoming
from rheobase.kernels.workspace import apart, empty

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

    def values(self, coefficients: Sequence[Any], dtype: torch.dtype) -> list[Tensor | int]:
        """Coefficients as a bound kernel takes them: flat arrays, and the bits of numbers."""
        return [
            v.detach().to(dtype).reshape(-1).contiguous()
            if kind == "v"
            else bits(v.item() if isinstance(v, Tensor) else v)
            for kind, v in zip(self.kinds, coefficients, strict=True)
        ]


@functools.lru_cache(maxsize=512)
def _of_numbers(shape: tuple[int, ...], numbers: tuple[float, ...], ports: int) -> tuple[Grid, list[int]]:
    return Grid(shape, numbers, ports), [bits(number) for number in numbers]


def _lay_out(
    p: Program, shape: tuple[int, ...], coefficients: Sequence[Any], dtype: torch.dtype
) -> tuple[Grid, Sequence[Tensor | int]]:
    """The grid for neurons of this shape, and the coefficients as a bound kernel takes them."""
    if not p.tensors:
        return _of_numbers(shape, tuple(coefficients), p.ports)
    grid = Grid(shape, coefficients, p.ports)
    return grid, grid.values(coefficients, dtype)


def coefficient_forms(kinds: str, columns: int, dtype: torch.dtype) -> list[Form]:
    """What `Grid.values` are."""
    return [Form(dtype, (columns,) if kind == "v" else ()) for kind in kinds]


def addresses(values: Sequence[Tensor | int]) -> list[int]:
    """Where these (contiguous) tensors are, and numbers and integers as they are."""
    return [x if isinstance(x, int) else x.data_ptr() for x in values]


class _Shape(NamedTuple):
    """What settles a call besides the program: type, kinds of coefficients, rows, columns and steps."""

    dtype: torch.dtype
    kinds: str
    rows: int
    columns: int
    steps: int

    @classmethod
    def of(cls, grid: Grid, dtype: torch.dtype, steps: int) -> _Shape:
        return cls(dtype, grid.kinds, grid.rows, grid.columns, steps)

    def one(self) -> Form:
        return Form(self.dtype, (self.rows, self.columns))

    def over_time(self, dtype: torch.dtype | None = None) -> Form:
        return Form(dtype or self.dtype, (self.steps, self.rows, self.columns))

    def given(self, p: Program) -> Form:
        """The input."""
        return Form(self.dtype, (1 if p.constant else self.steps, self.rows, p.ports * self.columns))

    def bind(self, p: Program, kernel: Kernel, forms: Sequence[Form | None]) -> Bound:
        """The kernel on all rows and columns, with what a thread carries from step to step, and the steps."""
        size = self.rows if self.rows > 1 else self.columns
        carried = Form(self.dtype, (1, *_for_thread(p, self.dtype)))
        return Bound(kernel, [*forms, carried, None], size, self.rows * self.columns * self.steps)


@functools.lru_cache(maxsize=512)
def _forward_call(key: str, s: _Shape, save: bool) -> Bound:
    p = PROGRAMS[key]
    kernel = p.forward_kernel(NAMES[s.dtype], s.kinds, save)
    states = [s.one()] * len(p.states)
    kept = [s.over_time(p.saved_dtype(n, s.dtype)) for n in p.own] if save else []
    filled = [s.over_time()] * (1 + len(p.record)) + kept
    coefficients = coefficient_forms(s.kinds, s.columns, s.dtype)
    return s.bind(p, kernel, [s.given(p), *states, *coefficients, *filled, *states])


@functools.lru_cache(maxsize=512)
def _backward_call(key: str, s: _Shape, incoming: Incoming) -> Bound:
    p = PROGRAMS[key]
    kernel = p.backward_kernel(NAMES[s.dtype], s.kinds, incoming)
    states = [s.one()] * len(p.states)
    kept = [s.over_time()] * (1 + len(p.record)) + [s.over_time(p.saved_dtype(n, s.dtype)) for n in p.own]
    emitted = [Form(s.dtype) if incoming.uniform else s.over_time()] if incoming.emitted else []
    forms = [s.given(p), *kept, *coefficient_forms(s.kinds, s.columns, s.dtype), *emitted]
    forms += [s.over_time() for _ in incoming.traces] + states
    forms += [s.given(p)] if incoming.current else []
    forms += states + [Form(s.dtype, (1, s.rows, s.columns)) for _ in incoming.coefficients]
    return s.bind(p, kernel, forms)


def _carried(p: Program, dtype: torch.dtype) -> Tensor:
    """What threads carry from step to step."""
    return torch.empty((torch.get_num_threads(), *_for_thread(p, dtype)), dtype=dtype)


def _for_thread(p: Program, dtype: torch.dtype) -> tuple[int, ...]:
    return apart((max(len(p.states), 1), CHUNK), dtype.itemsize)


def chunks(steps: int, every: int) -> list[tuple[int, int]]:
    """(start, end) of each chunk of `every` steps; one chunk if `every` is 0.

    >>> chunks(5, 2), chunks(5, 0)
    ([(0, 2), (2, 4), (4, 5)], [(0, 5)])
    """
    size = every or steps
    return [(start, min(start + size, steps)) for start in range(0, steps, size)]


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
    full, dtype = (steps, *shape), current.dtype
    grid, values = _lay_out(p, shape, coefficients, dtype)
    kernel_save = save and not every
    emitted = empty(full, dtype)
    traces = [empty(full, dtype) for _ in p.record]
    saved = [empty(full, p.saved_dtype(n, dtype)) for n in p.own] if kernel_save else []
    parts = chunks(steps, every)
    starts = [current.new_empty((len(parts), *shape)) for _ in p.states] if save and every else []
    current, before = current.contiguous(), [x.contiguous() for x in state]
    for i, (low, high) in enumerate(parts):
        for all_starts, value in zip(starts, before, strict=False):
            all_starts[i] = value
        after = [torch.empty(shape, dtype=dtype) for _ in p.states]
        filled = [emitted, *traces, *saved]
        given = current if p.constant or not every else current[low:high]
        call = _forward_call(p.key, _Shape.of(grid, dtype, high - low), kernel_save)
        filled = [x[low:high] for x in filled] if every else filled
        arrays = [given, *before, *values, *filled, *after, _carried(p, dtype), high - low]
        call.run(addresses(arrays))
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
    dtype = emitted.dtype
    grid, values = _lay_out(p, shape, coefficients, dtype)
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
    gradients = [g.contiguous() for g in by_traces if g is not None]
    number: list[int] = []
    if by_emitted is not None and uniform:
        number.append(bits(by_emitted[(0,) * by_emitted.dim()].item()))
    elif by_emitted is not None:
        gradients.insert(0, by_emitted.contiguous())
    lam = [emitted.new_zeros(shape) if g is None else g.contiguous() for g in by_state]
    by_current = empty(tuple(current.shape), dtype) if want_current else None
    by_coefficient = {j: emitted.new_zeros(shape) for j in wanted}
    current = current.contiguous()
    parts = chunks(steps, every)
    for i in reversed(range(len(parts))):
        low, high = parts[i]
        part = slice(low, high)
        given = current[part] if every and not p.constant else current
        if every:
            again = run_forward(p, given, [k[i] for k in kept], coefficients, high - low, 0, True)
            out, records, saved = again[0], again[2], again[3]
        else:
            out, records, saved = (
                emitted.contiguous(),
                [x.contiguous() for x in traces],
                [x.contiguous() for x in kept],
            )
        before = [torch.empty(shape, dtype=dtype) for _ in p.states]
        sums = [torch.empty(shape, dtype=dtype) for _ in wanted]
        filled = []
        if by_current is not None:
            # A constant input's derivative is a sum over time: one per chunk, added up below.
            piece = torch.empty_like(current) if p.constant else by_current
            filled.append(piece[part] if every and not p.constant else piece)
        arrays = [
            given,
            *(out, *records, *saved),
            *values,
            *number,
            *(g[part] if every else g for g in gradients),
            *lam,
            *filled,
            *before,
            *sums,
            _carried(p, dtype),
            high - low,
        ]
        _backward_call(p.key, _Shape.of(grid, dtype, high - low), incoming).run(addresses(arrays))
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
