"""A linear system of a few states, over a sequence: filters, and membranes below threshold.

    s[t] = A s[t-1] + b x[t],    y[t] = c s[t]

and its adjoint, which runs from the end,

    q[t] = A^T q[t+1] + c g[t],  p[t] = b q[t]

so that, s[-1] being the state before the first step, and whatever x and g are,

    sum_t g[t] y[t] = sum_t p[t] x[t] + (A^T q[0]) s[-1].

Thus a sum over time of filtered values times anything is a sum over the values themselves: of a filtered
spike train, a sum over its spikes. Cost: a few operations per step and column, with no product of matrices.

On the CPU in single and double precision a fused kernel runs; elsewhere the equations, step by step.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rheobase.kernels.cache import Kernel
from rheobase.kernels.linear_source import Form, adjoint_source, numbers_of, respond_source
from rheobase.kernels.workspace import empty

_DTYPES = (torch.float32, torch.float64)


@dataclass(frozen=True)
class LinearSystem:
    """A, b and c of a system of S states.

    Attributes:
        matrix: A, row by row.
        given: b, what an input adds to each state.
        read: c, what of each state is put out.

    >>> leak = LinearSystem(matrix=((0.5,),), given=(1.0,), read=(1.0,))
    >>> respond(leak, torch.tensor([1.0, 0.0, 0.0]))[0].tolist()
    [1.0, 0.5, 0.25]
    """

    matrix: tuple[tuple[float, ...], ...]
    given: tuple[float, ...]
    read: tuple[float, ...]

    def __post_init__(self) -> None:
        size = len(self.given)
        if size == 0 or len(self.read) != size or [len(row) for row in self.matrix] != [size] * size:
            raise ValueError(
                f"LinearSystem: got a matrix of rows {[len(row) for row in self.matrix]}, {size} inputs and "
                f"{len(self.read)} outputs, wanted a square matrix and as many of both"
            )

    @property
    def size(self) -> int:
        """The number of states."""
        return len(self.given)

    def decays(self, steps: int, dtype: torch.dtype) -> Tensor:
        """What is left in each state after the last of `steps` steps of an input at each: `[S, steps]`."""
        impulse = torch.zeros(steps, dtype=torch.float64)
        if steps:
            impulse[0] = 1.0
        rows = [respond(_reading(self, i), impulse)[0].flip(0) for i in range(self.size)]
        return torch.stack(rows).to(dtype)

    def advance(self, state: Tensor) -> Tensor:
        """The state `[S, ...]` one step later, without input."""
        later: Tensor = torch.tensordot(torch.tensor(self.matrix, dtype=state.dtype), state, 1)
        return later

    def power(self, steps: int, dtype: torch.dtype) -> Tensor:
        """A to the power of `steps`, `[S, S]`."""
        matrix = torch.tensor(self.matrix, dtype=torch.float64)
        result: Tensor = torch.linalg.matrix_power(matrix, steps)
        return result.to(dtype)


def respond(system: LinearSystem, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The response `[T, ...]` to `x` `[T, ...]`, and the state `[S, ...]` after the last step.

    Differentiable, also by `state` `[S, ...]`, the one before the first step (zero if None).
    """
    start = _start(system, x, state, "state")
    y, last = _Respond.apply(system, x, start)  # type: ignore[no-untyped-call]
    return y, last


def respond_adjoint(system: LinearSystem, g: Tensor, end: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The derivatives by x `[T, ...]` and by the state before the first step `[S, ...]`.

    Args:
        system: The system.
        g: The derivatives by the response, `[T, ...]`.
        end: The derivatives by the state after the last step, `[S, ...]`; zero if None.
    """
    return _run(system, g.detach(), _start(system, g, end, "end").detach(), "adjoint")


class _Respond(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, system: LinearSystem, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        ctx.system = system
        return _run(system, x, state, "respond")

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        by_x, by_state = respond_adjoint(ctx.system, gradients[0], gradients[1])
        return None, by_x, by_state


def _start(system: LinearSystem, x: Tensor, state: Tensor | None, what: str) -> Tensor:
    if x.dim() == 0 or not x.is_floating_point():
        raise ValueError(
            f"linear system: got values of shape {tuple(x.shape)} and {x.dtype}, wanted floating point "
            "[T, ...]"
        )
    shape = (system.size, *x.shape[1:])
    if state is None:
        return x.new_zeros(shape)
    if tuple(state.shape) != shape:
        raise ValueError(f"linear system: got {what} of shape {tuple(state.shape)}, wanted {shape}")
    return state


def _run(system: LinearSystem, x: Tensor, state: Tensor, function: str) -> tuple[Tensor, Tensor]:
    if x.device.type != "cpu" or x.dtype not in _DTYPES:
        return _plain(system, x, state, function)
    x = x.contiguous()
    y = empty(tuple(x.shape), x.dtype)
    after = state.to(x.dtype).clone(memory_format=torch.contiguous_format)
    columns = after[0].numel()
    if x.numel() == 0:
        return y, after
    form, numbers = _form(system, x.dtype)
    arrays = [x.numpy().reshape(len(x), columns), y.numpy().reshape(len(x), columns)]
    arrays += [after.numpy().reshape(system.size, columns), numbers]
    _kernel(form, function).run(arrays, columns, x.numel())
    return y, after


def _plain(system: LinearSystem, x: Tensor, state: Tensor, function: str) -> tuple[Tensor, Tensor]:
    """The equations, step by step."""
    dtype = x.dtype
    matrix, given, read = (
        torch.tensor(v, dtype=dtype, device=x.device) for v in (system.matrix, system.given, system.read)
    )
    shape = (-1, *(1,) * (x.dim() - 1))
    results = []
    if function == "respond":
        for value in x.unbind(0):
            state = torch.tensordot(matrix, state, 1) + given.reshape(shape) * value
            results.append(torch.tensordot(read, state, 1))
        return torch.stack(results), state
    for value in reversed(x.unbind(0)):
        costate = state + read.reshape(shape) * value
        results.append(torch.tensordot(given, costate, 1))
        state = torch.tensordot(matrix.t(), costate, 1)
    return torch.stack(results[::-1]), state


@functools.lru_cache(maxsize=256)
def _form(system: LinearSystem, dtype: torch.dtype) -> tuple[Form, Any]:
    entries = (tuple(v for row in system.matrix for v in row), system.given, system.read)
    flags = [tuple(v != 0.0 for v in row) for row in entries]
    form: Form = (flags[0], flags[1], flags[2])
    number = np.float32 if dtype == torch.float32 else np.float64
    return form, np.array(numbers_of(form, entries), number)


@functools.cache
def _kernel(form: Form, function: str) -> Kernel:
    source = respond_source(form) if function == "respond" else adjoint_source(form)
    return Kernel(source, function, f"linear system, {len(form[1])} states, {function}")


def _reading(system: LinearSystem, state: int) -> LinearSystem:
    """The same system, of which one state is put out."""
    read = tuple(float(i == state) for i in range(system.size))
    return LinearSystem(system.matrix, system.given, read)
