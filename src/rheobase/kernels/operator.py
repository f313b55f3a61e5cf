"""The kernels as torch operators, with shapes for tracing compilers and gradients for autograd.

`rheobase::scan` runs a program over a whole sequence. Its outputs, in one list, are what was
emitted, the final states, the recorded states, and what the backward pass needs. It is what
`torch.compile` and `torch.export` see. Eager calls go to the same passes by a plain autograd
function: a custom operator's dispatch costs several times as much as a small kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rheobase.kernels.passes import chunks, run_backward, run_forward
from rheobase.kernels.program import PROGRAMS


@torch.library.custom_op("rheobase::scan", mutates_args=())
def scan(
    current: Tensor,
    state: list[Tensor],
    tensors: list[Tensor],
    numbers: list[float],
    program: str,
    steps: int,
    every: int,
    save: bool,
) -> list[Tensor]:
    """A neuron over a whole sequence; see `rheobase.kernels.sequence` for the public face."""
    p = PROGRAMS[program]
    coefficients = p.merge(numbers, tensors)
    emitted, last, traces, kept = run_forward(p, current, state, coefficients, steps, every, save)
    return [emitted, *last, *traces, *kept]


@scan.register_fake
def _(
    current: Tensor,
    state: list[Tensor],
    tensors: list[Tensor],
    numbers: list[float],
    program: str,
    steps: int,
    every: int,
    save: bool,
) -> list[Tensor]:
    p = PROGRAMS[program]
    shape = p.shape(current)
    over_time = [current.new_empty((steps, *shape)) for _ in range(1 + len(p.record))]
    last = [current.new_empty(shape) for _ in p.states]
    kept: list[Tensor] = []
    if save and every:
        kept = [current.new_empty((len(chunks(steps, every)), *shape)) for _ in p.states]
    elif save:
        kept = [current.new_empty((steps, *shape), dtype=p.saved_dtype(n, current.dtype)) for n in p.own]
    return [over_time[0], *last, *over_time[1:], *kept]


@torch.library.custom_op("rheobase::scan_backward", mutates_args=())
def scan_backward(
    current: Tensor,
    emitted: Tensor,
    traces: list[Tensor],
    kept: list[Tensor],
    tensors: list[Tensor],
    by_emitted: Tensor | None,
    by_traces: list[Tensor | None],
    by_state: list[Tensor | None],
    numbers: list[float],
    program: str,
    every: int,
    want_current: bool,
) -> list[Tensor]:
    """The adjoint of `scan`: by the current (if wanted), the initial states and `tensors`."""
    p = PROGRAMS[program]
    by_current, lam, sums = run_backward(
        p,
        current,
        p.merge(numbers, tensors),
        emitted,
        traces,
        kept,
        by_emitted,
        by_traces,
        by_state,
        every,
        want_current,
    )
    # An operator's results may not be its arguments.
    lam = [x.clone() for x in lam] if emitted.shape[0] == 0 else lam
    return [*([] if by_current is None else [by_current]), *lam, *sums]


@scan_backward.register_fake
def _(
    current: Tensor,
    emitted: Tensor,
    traces: list[Tensor],
    kept: list[Tensor],
    tensors: list[Tensor],
    by_emitted: Tensor | None,
    by_traces: list[Tensor | None],
    by_state: list[Tensor | None],
    numbers: list[float],
    program: str,
    every: int,
    want_current: bool,
) -> list[Tensor]:
    p = PROGRAMS[program]
    lam = [emitted.new_empty(emitted.shape[1:]) for _ in p.states]
    by_current = [torch.empty_like(current)] if want_current else []
    return [*by_current, *lam, *(torch.empty_like(x) for x in tensors)]


class _EagerScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rest: Any, current: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        numbers, key, steps, every = rest
        p = PROGRAMS[key]
        n = len(p.states)
        tensors = list(given[n:])
        coefficients = p.merge(numbers, tensors)
        emitted, last, traces, kept = run_forward(
            p, current, list(given[:n]), coefficients, steps, every, True
        )
        ctx.set_materialize_grads(False)  # what has no gradient stays None, and costs nothing
        ctx.rest = rest
        ctx.counts = (len(traces), len(kept))
        ctx.save_for_backward(current, emitted, *traces, *kept, *tensors)
        return (emitted, *last, *traces)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        numbers, key, _, every = ctx.rest
        p = PROGRAMS[key]
        n, (m, k) = len(p.states), ctx.counts
        current, emitted, *rest = ctx.saved_tensors
        by_current, by_state, by_tensors = run_backward(
            p,
            current,
            p.merge(numbers, rest[m + k :]),
            emitted,
            rest[:m],
            rest[m : m + k],
            gradients[0],
            list(gradients[1 + n :]),
            list(gradients[1 : 1 + n]),
            every,
            ctx.needs_input_grad[1],
        )
        return None, by_current, *by_state, *by_tensors


def dispatch(
    current: Tensor,
    state: list[Tensor],
    tensors: list[Tensor],
    numbers: Sequence[float],
    key: str,
    steps: int,
    every: int,
) -> list[Tensor]:
    """Run a program: what was emitted, the final states, the recorded states."""
    save = torch.is_grad_enabled() and any(x.requires_grad for x in (current, *state, *tensors))
    if torch.compiler.is_compiling() or type(current) not in (Tensor, torch.nn.Parameter):
        p = PROGRAMS[key]
        results = torch.ops.rheobase.scan(current, state, tensors, list(numbers), key, steps, every, save)
        return list(results[: 1 + len(p.states) + len(p.record)])
    if save:
        rest = (numbers, key, steps, every)
        return list(_EagerScan.apply(rest, current, *state, *tensors))  # type: ignore[no-untyped-call]
    p = PROGRAMS[key]
    coefficients = p.merge(numbers, tensors)
    emitted, last, traces, _ = run_forward(p, current, state, coefficients, steps, every, False)
    return [emitted, *last, *traces]


def _setup(ctx: Any, inputs: Any, output: list[Tensor]) -> None:
    current, _state, tensors, numbers, key, _steps, every, _save = inputs
    p = PROGRAMS[key]
    n, m = len(p.states), len(p.record)
    traces, kept = output[1 + n : 1 + n + m], output[1 + n + m :]
    ctx.counts = (m, len(kept), len(tensors))
    ctx.rest = (numbers, key, every)
    ctx.want_current = bool(ctx.needs_input_grad[0])
    ctx.set_materialize_grads(False)  # what has no gradient stays None, and costs nothing
    ctx.save_for_backward(current, output[0], *traces, *kept, *tensors)


def _backward(ctx: Any, gradients: list[Tensor | None]) -> Any:
    m, k, _ = ctx.counts
    numbers, key, every = ctx.rest
    p = PROGRAMS[key]
    current, emitted, *rest = ctx.saved_tensors
    traces, kept, tensors = rest[:m], rest[m : m + k], rest[m + k :]
    n = len(p.states)
    results = torch.ops.rheobase.scan_backward(
        current,
        emitted,
        traces,
        kept,
        tensors,
        gradients[0],
        gradients[1 + n : 1 + n + m],
        gradients[1 : 1 + n],
        numbers,
        key,
        every,
        ctx.want_current,
    )
    by_current = results[0] if ctx.want_current else None
    first = 1 if ctx.want_current else 0
    by_state, by_tensors = results[first : first + n], results[first + n :]
    no_numbers: list[None] | None = None if numbers else []  # torch takes an empty list for a list of tensors
    return by_current, by_state, by_tensors, no_numbers, None, None, None, None


scan.register_autograd(_backward, setup_context=_setup)
