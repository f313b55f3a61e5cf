"""A layer of neurons and the small dense connection behind it (a read-out, say) as one operation.

Whole-sequence tensors `[T, B, N]` of the hidden layer are the largest of a network. If nobody asks
for them, they need not exist (see `rheobase.kernels.fused_source`): memory for the layer no longer
grows with T, and the time to move it is saved.

The neurons' results are the same to the last bit as in separate operations; the connection's sums
differ in rounding. Sums over samples are made in a number of parts that depends on the shapes alone, so that
the result does not depend on the number of threads.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rheobase.kernels.bound import Bound, Form, Room, bits
from rheobase.kernels.fused_backward import groups
from rheobase.kernels.fused_forward import GROUP
from rheobase.kernels.fused_source import VECTORS, Pair
from rheobase.kernels.moves import Move, Moves
from rheobase.kernels.passes import NAMES, Grid, addresses, coefficient_forms, reduce_to
from rheobase.kernels.program import PROGRAMS, Program
from rheobase.kernels.source import Layout
from rheobase.kernels.workspace import apart, empty

FEW = 32  # outputs up to which the connection is multiplied in the kernel; more is the BLAS's work
LONG = 2048  # steps from which a block no longer fits the cache
SMALL = 1 << 15  # elements of `[T, B, N]` below which a kernel of their own is not worth compiling
PARTS = 32  # pieces of the backward pass, at least: blocks of neurons, of parts of the samples
KEPT = 640  # steps of samples whose sums a thread of the forward pass makes at once
LINES = 32  # 32-bit numbers that two threads do not share: two cache lines


class NeuronsThenDense(torch.autograd.Function):
    """currents -> neurons -> x W^T + b. `rest` is (coefficient numbers, program, steps)."""

    @staticmethod
    def forward(
        ctx: Any, rest: Any, current: Tensor, weight: Tensor, bias: Tensor | None, *given: Any
    ) -> tuple[Tensor, ...]:
        numbers, key, steps = rest
        p = PROGRAMS[key]
        state: list[Tensor | float] = list(given[: len(p.states)])
        tensors: list[Tensor] = list(given[len(p.states) :])
        coefficients = p.merge(numbers, tensors)
        shape = tuple(current.shape if p.constant else current.shape[1:])
        grid = Grid.by_row(shape, coefficients)
        dtype = current.dtype
        sums = current.new_empty((steps, grid.rows, weight.shape[0]))
        last = [current.new_empty(shape) for _ in state]
        start = _Start.of(state)
        s = _Shape(dtype, grid.kinds, grid.rows, grid.columns, steps, len(weight))
        threads = torch.get_num_threads()
        call, room = _forward_call(key, s, threads)
        memory, ready = room.empty(), torch.zeros((threads, LINES), dtype=torch.int32)
        arrays = [
            current.contiguous(),
            *start.arguments(),
            *grid.values(coefficients, dtype),
            weight.contiguous(),
            weight.new_zeros(len(weight)) if bias is None else bias.contiguous(),
            sums,
            *last,
        ]
        call.run([*addresses(arrays), *room.addresses(memory), ready.data_ptr(), steps])
        ctx.set_materialize_grads(False)
        ctx.rest = (numbers, p, grid, s, bias is not None, start.numbers)
        ctx.save_for_backward(current, weight, *start.tensors, *tensors)
        return (sums, *last)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        numbers, p, grid, s, biased, at_rest = ctx.rest
        current, weight, *saved = ctx.saved_tensors
        start = _Start(saved[: len(p.states)], at_rest)
        tensors = saved[len(p.states) :]
        want_current = bool(ctx.needs_input_grad[1])
        by_sums = gradients[0]
        if by_sums is None:
            by_sums = current.new_zeros((s.steps, s.rows, s.outputs))
        lam = [None if g is None else g.contiguous() for g in gradients[1:]]
        by_current = empty(tuple(current.shape), s.dtype) if want_current else None
        wanted = ctx.needs_input_grad[4 : 4 + len(p.states)]
        by_state = [
            torch.empty_like(x) if want and x is not None else None
            for want, x in zip(wanted, start.tensors, strict=True)
        ]
        call, room, parts = _backward_call(p.key, s, want_current, torch.get_num_threads())
        several = (parts,) if parts > 1 else ()
        by_weight = weight.new_empty((*several, *weight.shape))
        by_bias = weight.new_empty((*several, s.outputs))
        by_tensor = [current.new_empty(current.shape if p.constant else current.shape[1:]) for _ in tensors]
        memory = room.empty()
        arrays = [
            current.contiguous(),
            *start.arguments(),
            *grid.values(p.merge(numbers, tensors), s.dtype),
            weight.contiguous(),
            by_sums.contiguous(),
            *(0 if x is None else x for x in lam),
            *([] if by_current is None else [by_current]),
            *(0 if x is None else x for x in by_state),
            by_weight,
            by_bias,
            *by_tensor,
        ]
        places = [*addresses(arrays), *room.addresses(memory)]
        call.run([*places, _bits(lam), _bits(by_state), s.steps])
        totals = [reduce_to(total, t) for total, t in zip(by_tensor, tensors, strict=True)]
        if several:
            whole = weight.new_empty(weight.shape), weight.new_empty(s.outputs)
            parts_of = by_weight.data_ptr(), by_bias.data_ptr()
            _over_parts(s.dtype, parts, *weight.shape).run(parts_of, [x.data_ptr() for x in whole])
            by_weight, by_bias = whole
        return (None, by_current, by_weight, by_bias if biased else None, *by_state, *totals)


class _Start(NamedTuple):
    """The states before the first step: tensors, or numbers for all neurons."""

    tensors: list[Tensor | None]
    numbers: list[float]

    @classmethod
    def of(cls, states: Sequence[Tensor | float]) -> _Start:
        return cls(
            [x if isinstance(x, Tensor) else None for x in states],
            [0.0 if isinstance(x, Tensor) else x for x in states],
        )

    def arguments(self) -> list[Tensor | int]:
        """As the kernels take them (`Pair.starts`)."""
        arrays: list[Tensor | int] = [0 if x is None else x.contiguous() for x in self.tensors]
        return [*arrays, *map(bits, self.numbers), _bits(self.tensors)]


@functools.lru_cache(maxsize=256)
def _over_parts(dtype: torch.dtype, parts: int, outputs: int, columns: int) -> Moves:
    """The sums over parts of the derivatives by weights and biases."""
    by_weight = Move(outputs, columns, columns, columns, parts=parts, apart=outputs * columns)
    return Moves([by_weight, Move(1, outputs, outputs, outputs, parts=parts, apart=outputs)], dtype)


def _bits(given: Sequence[Tensor | None]) -> int:
    """Bit k is set if the k-th is there."""
    return sum(1 << k for k, x in enumerate(given) if x is not None)


class _Shape(NamedTuple):
    """What settles a call besides the program."""

    dtype: torch.dtype
    kinds: str
    rows: int
    columns: int
    steps: int
    outputs: int

    def pair(self, p: Program) -> Pair:
        return Pair(p.trace, Layout(NAMES[self.dtype], self.kinds, p.constant, ()), self.outputs)

    def parts(self, pair: Pair) -> int:
        """Parts of the samples over which the weights' derivative is summed."""
        return min(-(-PARTS // pair.blocks(self.columns)), self.rows)

    def start(self, p: Program) -> list[Form | None]:
        """The first arguments: the input, states, coefficients and weights."""
        over_time = Form(self.dtype, (1 if p.constant else self.steps, self.rows, self.columns))
        weight = Form(self.dtype, (self.outputs, self.columns))
        numbers = [Form(self.dtype) for _ in p.states]
        states = [*self.states(p), *numbers, None]
        return [over_time, *states, *coefficient_forms(self.kinds, self.columns, self.dtype), weight]

    def states(self, p: Program) -> list[Form]:
        return [Form(self.dtype, (self.rows, self.columns)) for _ in p.states]

    def for_threads(self, threads: int, size: int) -> Form:
        return Form(self.dtype, (threads, *apart((size,), self.dtype.itemsize)))

    @property
    def sums(self) -> Form:
        return Form(self.dtype, (self.steps, self.rows, self.outputs))

    @property
    def work(self) -> int:
        return self.rows * self.columns * self.steps


@functools.lru_cache(maxsize=256)
def _forward_call(key: str, s: _Shape, threads: int) -> tuple[Bound, Room]:
    """The forward kernel, and its working memory."""
    p = PROGRAMS[key]
    pair, kernel = s.pair(p), p.forward_into_kernel(NAMES[s.dtype], s.kinds, s.outputs)
    if pair.spikes:
        filled = pair.sums * pair.lanes  # numbers of one sample's outputs at one step
        laid = pair.blocks(s.columns) * pair.width * filled
        table = pair.width // GROUP * 2**GROUP * filled
        work = max(1, KEPT // s.steps) * s.steps * filled
    else:
        laid, table = pair.blocks(s.columns) * pair.width * s.outputs, pair.lanes
        work = s.steps * s.outputs * pair.lanes
    memory = [s.for_threads(threads, size) for size in (laid, table, work)]
    ready = Form(torch.int32, (threads, LINES))
    forms = [*s.start(p), Form(s.dtype, (s.outputs,)), s.sums, *s.states(p), *memory, ready, None]
    return Bound(kernel, forms, s.rows, s.work), Room(memory, s.dtype)


@functools.lru_cache(maxsize=256)
def _backward_call(key: str, s: _Shape, want_current: bool, threads: int) -> tuple[Bound, Room, int]:
    """The backward kernel, its working memory, and the number of parts (see `_Shape.parts`)."""
    p = PROGRAMS[key]
    pair, kernel = s.pair(p), p.backward_into_kernel(NAMES[s.dtype], s.kinds, s.outputs, want_current)
    start, parts = s.start(p), s.parts(pair)
    history = s.for_threads(threads, s.steps * pair.width)
    words = Form(torch.int32, (threads, *apart((s.steps * VECTORS,), 4)))
    tile = s.for_threads(threads, s.outputs * pair.width)
    kept = [words if p.saved_dtype(n, s.dtype) == torch.bool else history for n in p.own]
    g, partial = (s.for_threads(threads, s.steps * size) for size in (2 * pair.sums * pair.lanes, pair.lanes))
    memory = [g, tile, tile, words if pair.spikes else history, *kept]
    memory += [partial] if len(groups(s.outputs)) > 1 else []
    forms = [
        *start,
        s.sums,
        *s.states(p),
        *start[: int(want_current)],
        *s.states(p),
        Form(s.dtype, (parts, s.outputs, s.columns)),
        Form(s.dtype, (parts, s.outputs)),
        *(Form(s.dtype, (1, s.rows, s.columns)) for _ in p.tensors),
        *memory,
        *(None, None, None),
    ]
    return Bound(kernel, forms, parts * pair.blocks(s.columns), s.work), Room(memory, s.dtype), parts
