"""Running the recurrent kernels on tensors: forward, backward, and time chunks with recomputation.

Samples are independent: blocks of them are shared out among the threads, and each block is run over all
steps. Results do not depend on the number of threads.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rheobase.kernels.adjoint import adjoint
from rheobase.kernels.cache import Kernel
from rheobase.kernels.connections import Connections, Way, history_gradient, weight_gradient
from rheobase.kernels.native import NUMBER
from rheobase.kernels.passes import NAMES, chunks, reduce_to
from rheobase.kernels.products import weight_gradient as product
from rheobase.kernels.program import PROGRAMS, Program
from rheobase.kernels.recurrent_source import (
    Part,
    backward_source,
    forward_source,
    samples_per_block,
    working_memory,
)
from rheobase.kernels.source import Incoming, Layout
from rheobase.kernels.trace import trace
from rheobase.kernels.workspace import empty
from rheobase.registry import name_of


@dataclass(frozen=True)
class Population:
    """A group as the kernels see it: its program, its place (see `Part`), and its coefficients."""

    program: Program
    low: int
    high: int
    column: int
    coefficients: tuple[float | Tensor, ...]

    @property
    def kinds(self) -> str:
        """A letter per coefficient: "v" for one value per neuron, "s" for one number."""
        return "".join("v" if isinstance(c, Tensor) and c.dim() else "s" for c in self.coefficients)

    @property
    def saved(self) -> tuple[int, ...]:
        """Nodes kept at every step in arrays of their own (the summed current among them)."""
        p = self.program
        if p.linear:
            return p.saved
        held = {p.trace.emitted, *(p.trace.new_states[n] for n in p.record)}
        return tuple(n for n in p.saved if n not in held)

    def form(self, dtype: torch.dtype, save: bool) -> tuple[Any, ...]:
        """What the forward kernel's form depends on."""
        place = (self.low, self.high, self.column)
        return (self.program.key, NAMES[dtype], self.kinds, self.saved if save else (), place)

    def arguments(self, dtype: torch.dtype) -> list[Any]:
        """The coefficients, typed."""
        number = NUMBER[dtype]
        values: list[Any] = []
        for c in self.coefficients:
            if isinstance(c, Tensor) and c.dim():
                values.append(c.detach().to(dtype).expand(self.high - self.low).contiguous())
            else:
                values.append(number(c.item() if isinstance(c, Tensor) else c))
        return values


def _title(keys: Sequence[str]) -> str:
    return " and ".join(dict.fromkeys(name_of(type(PROGRAMS[key].neuron)) for key in keys))


@functools.cache
def _forward_kernel(way: Way, forms: tuple[tuple[Any, ...], ...]) -> Kernel:
    parts = [
        Part(PROGRAMS[key].trace, Layout(dtype, kinds, False, PROGRAMS[key].record), saved, *place)
        for key, dtype, kinds, saved, place in forms
    ]
    name = f"recurrent {_title([form[0] for form in forms])}"
    source = forward_source(parts, f"Forward pass of {name} neurons.", way)
    return Kernel(source, "forward", f"{name} forward")


@functools.cache
def _backward_kernel(
    way: Way, forms: tuple[tuple[Any, ...], ...], traces: tuple[tuple[str, ...], ...]
) -> Kernel:
    parts = []
    for (key, dtype, kinds, saved, (low, high, column)), wanted_traces in zip(forms, traces, strict=True):
        p = PROGRAMS[key]
        t = trace(p.neuron)  # the adjoint grows the tape: a tape of its own
        positions = tuple(sorted(p.tensors))
        adj = adjoint(t, emitted=True, coefficients=frozenset(t.coefficients[j] for j in positions))
        incoming = Incoming(True, wanted_traces, True, positions, keeps_current=False)
        layout = Layout(dtype, kinds, False, p.record)
        parts.append(Part(t, layout, saved, low, high, column, adj, incoming))
    name = f"recurrent {_title([form[0] for form in forms])}"
    source = backward_source(parts, f"Backward pass of {name} neurons.", way)
    return Kernel(source, "backward", f"{name} backward")


@dataclass
class Sweep:
    """One layer over one sequence.

    Attributes:
        populations: The groups of neurons.
        connections: Weights and delays.
        current: `[T, B, M]` for M inputs, or `[B, M]` if it does not change.
        emissions: What was emitted, `[D + T, B, N]`; the first D steps are given.
        records: Recorded states `[T, B, n]`, group by group.
        every: Steps per chunk of recomputation; 0 for none.
        cut: Whether no derivative passes along the connections.
    """

    populations: Sequence[Population]
    connections: Connections
    current: Tensor
    emissions: Tensor
    records: list[Tensor]
    steps: int
    every: int
    cut: bool = False

    @classmethod
    def begin(
        cls,
        populations: Sequence[Population],
        connections: Connections,
        current: Tensor,
        history: Tensor,
        steps: int,
        every: int,
    ) -> Sweep:
        """A layer before its first step, after `history` `[D, B, N]`."""
        depth, batch, size = history.shape
        emissions = empty((depth + steps, batch, size), current.dtype)
        emissions[:depth] = history
        records = [
            empty((steps, batch, p.high - p.low), current.dtype)
            for p in populations
            for _ in p.program.record
        ]
        return cls(populations, connections, current, emissions, records, steps, every)

    @property
    def depth(self) -> int:
        """The number of steps D of history."""
        return self.emissions.shape[0] - self.steps

    @property
    def moving(self) -> bool:
        """Whether the input changes in time."""
        return self.current.dim() == 3

    def forward(self, states: Sequence[Tensor], save: bool) -> tuple[list[Tensor], list[Tensor]]:
        """All steps from `states` (`[B, n]`, group by group).

        Returns:
            The final states, and what the backward pass needs: the saved values `[T, B, n]`, or the states
            `[chunks, B, n]` at the chunks' starts.
        """
        now = [s.detach().clone() for s in states]
        if not save or not self.every:
            kept = self._kept(self.steps) if save else []
            self._forward(now, kept, save, 0, self.steps)
            return now, kept
        parts = list(chunks(self.steps, self.every))
        starts = [s.new_empty((len(parts), *s.shape)) for s in now]
        for i, (low, high) in enumerate(parts):
            for start, state in zip(starts, now, strict=True):
                start[i] = state
            self._forward(now, [], False, low, high)
        return now, starts

    def backward(
        self,
        kept: Sequence[Tensor],
        by_emitted: Tensor,
        by_records: Sequence[Tensor | None],
        by_states: Sequence[Tensor],
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """The adjoint of `forward`.

        Args:
            kept: What `forward` returned.
            by_emitted: Derivative by what was emitted, `[T, B, N]`.
            by_records: Derivatives by the recorded states.
            by_states: Derivatives by the final states.

        Returns:
            Derivatives by the currents `[T, B, M]`, by the initial states, and by the coefficients that are
            tensors, group by group.
        """
        lam = [g.clone() for g in by_states]
        by_current = empty(
            (self.steps, self.emissions.shape[1], self.connections.weight.shape[1]), self.dtype
        )
        sums = [
            lam[0].new_zeros(self.emissions.shape[1], p.high - p.low)
            for p in self.populations
            for _ in p.program.tensors
        ]
        for i, (low, high) in reversed(list(enumerate(chunks(self.steps, self.every)))):
            if self.every:
                values = self._kept(high - low)
                self._forward([start[i].clone() for start in kept], values, True, low, high)
            else:
                values = list(kept)
            self._backward(lam, values, by_emitted, by_records, by_current, sums, low, high)
        total = iter(sums)
        by_coefficients = [
            _shared(next(total), p.coefficients[j])
            for p in self.populations
            for j in sorted(p.program.tensors)
        ]
        return by_current, lam, by_coefficients

    def by_weight(self, by_current: Tensor) -> Tensor:
        """Derivatives by the weights, given those by the currents."""
        return weight_gradient(by_current, self.emissions, self.connections, product)

    def by_history(self, by_current: Tensor) -> Tensor:
        """Derivatives by the history, given those by the currents."""
        return history_gradient(by_current, self.connections, self.depth)

    @property
    def dtype(self) -> torch.dtype:
        return self.emissions.dtype

    def _kept(self, steps: int) -> list[Tensor]:
        batch = self.emissions.shape[1]
        return [
            empty((steps, batch, p.high - p.low), p.program.saved_dtype(n, self.dtype))
            for p in self.populations
            for n in p.saved
        ]

    def _forward(self, states: list[Tensor], kept: list[Tensor], save: bool, low: int, high: int) -> None:
        """The steps from `low` to `high`: fills emissions, records and `kept`, changes the states."""
        state, record, keep = iter(states), iter(self.records), iter(kept)
        current = self.current if self.moving else self.current[None]
        arrays: list[Any] = [current.detach(), self.emissions]
        for p in self.populations:
            arrays += [next(state) for _ in p.program.states]
            arrays += p.arguments(self.dtype)
            arrays += [next(record) for _ in p.program.record]
            arrays += [next(keep) for _ in p.saved] if save else []
        forms = tuple(p.form(self.dtype, save) for p in self.populations)
        kernel = _forward_kernel(self.connections.way, forms)
        self._run(kernel, "forward", self.connections, [*arrays, *self.connections.forward()], low, high)

    def _backward(
        self,
        lam: list[Tensor],
        kept: list[Tensor],
        by_emitted: Tensor,
        by_records: Sequence[Tensor | None],
        by_current: Tensor,
        sums: list[Tensor],
        low: int,
        high: int,
    ) -> None:
        state, record, keep, by_record = iter(lam), iter(self.records), iter(kept), iter(by_records)
        total = iter(sums)
        arrays: list[Any] = [self.emissions, by_emitted, by_current]
        traces = []
        for p in self.populations:
            arrays += [next(state) for _ in p.program.states]
            arrays += p.arguments(self.dtype)
            arrays += [next(record) for _ in p.program.record]
            arrays += [next(keep) for _ in p.saved]
            given = {name: g for name in p.program.record if (g := next(by_record)) is not None}
            arrays += [g.contiguous() for g in given.values()]
            arrays += [next(total) for _ in p.program.tensors]
            traces.append(tuple(given))
        forms = tuple(p.form(self.dtype, True) for p in self.populations)
        along = self.connections.cut() if self.cut else self.connections
        kernel = _backward_kernel(along.way, forms, tuple(traces))
        self._run(kernel, "backward", along, [*arrays, *along.backward()], low, high)

    def _run(
        self, kernel: Kernel, direction: str, along: Connections, arrays: list[Any], low: int, high: int
    ) -> None:
        """The kernel on all samples, block by block."""
        batch, size = self.emissions.shape[1:]
        way, dtype = along.way, self.dtype
        memory = working_memory(
            direction,
            way,
            size=size,
            columns=along.weight.shape[1],
            longest=max(along.delays()),
            itemsize=dtype.itemsize,
        )
        threads = torch.get_num_threads()
        number = np.dtype(NUMBER[dtype])
        work = [
            np.zeros((threads, *shape), number if kind == "F" else kind) for kind, shape in memory.values()
        ]
        ends = [self.depth, int(self.moving), low, high, batch]
        block = samples_per_block(way, dtype.itemsize)
        kernel.run([*arrays, *work, *ends], -(-batch // block), (high - low) * batch * size)


def _shared(total: Tensor, coefficient: float | Tensor) -> Tensor:
    assert isinstance(coefficient, Tensor)
    return reduce_to(total, coefficient)
