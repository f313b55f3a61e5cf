"""Running the recurrent kernels on tensors: forward, backward, and time chunks with recomputation.

Samples are independent: blocks of them are shared out among the threads, and each block is run over all
steps. Where gradients of weights are summed on the way, it is in a fixed number of parts. Results do not
depend on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rheobase.kernels.attached import LIVELY, PARTS, SAMPLED, Attached, fits, worth_it
from rheobase.kernels.cache import Kernel
from rheobase.kernels.connections import Connections, history_gradient, weight_gradient
from rheobase.kernels.events import share_of_events
from rheobase.kernels.native import NUMBER
from rheobase.kernels.passes import chunks, reduce_to
from rheobase.kernels.products import weight_gradient as product
from rheobase.kernels.recurrent_forms import Population, backward_kernel, forward_kernel
from rheobase.kernels.recurrent_source import samples_per_block
from rheobase.kernels.recurrent_text import Around, Sizes, working_memory
from rheobase.kernels.vectors import BYTES
from rheobase.kernels.workspace import empty, for_threads


class Adjoints(NamedTuple):
    """What `Sweep.backward` returns.

    Attributes:
        by_current: Derivatives by the currents `[T, B, M]`.
        by_states: Those by the initial states, group by group.
        by_coefficients: Those by the coefficients that are tensors, group by group.
        sums: Partial sums of weights' gradients that were made on the way: "before", "behind", "recurrent".
    """

    by_current: Tensor
    by_states: list[Tensor]
    by_coefficients: list[Tensor]
    sums: dict[str, Tensor]


@dataclass
class Sweep:
    """One layer over one sequence.

    Attributes:
        populations: The groups of neurons.
        connections: Weights and delays.
        current: `[T, B, M]` for M inputs, or `[B, M]` if it does not change; what comes into the connection
            before, `[T, B, K]`, if there is one.
        emissions: What was emitted, `[D + T, B, N]`; the first D steps are given.
        records: Recorded states `[T, B, n]`, group by group.
        every: Steps per chunk of recomputation; 0 for none.
        cut: Whether no derivative passes along the connections.
        before, behind: Dense connections that are run along.
    """

    populations: Sequence[Population]
    connections: Connections
    current: Tensor
    emissions: Tensor
    records: list[Tensor]
    steps: int
    every: int
    cut: bool = False
    before: Attached | None = None
    behind: Attached | None = None

    @classmethod
    def begin(
        cls,
        populations: Sequence[Population],
        connections: Connections,
        current: Tensor,
        history: Tensor,
        steps: int,
        every: int,
        before: Attached | None = None,
        behind: Attached | None = None,
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
        return cls(
            populations, connections, current, emissions, records, steps, every, before=before, behind=behind
        )

    @property
    def depth(self) -> int:
        """The number of steps D of history."""
        return self.emissions.shape[0] - self.steps

    @property
    def moving(self) -> bool:
        """Whether the input changes in time."""
        return self.current.dim() == 3

    def forward(
        self, states: Sequence[Tensor], save: bool, sums: Tensor | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """All steps from `states` (`[B, n]`, group by group), with the connection behind into `sums`.

        Returns:
            The final states, and what the backward pass needs: the saved values `[T, B, n]`, or the states
            `[chunks, B, n]` at the chunks' starts.
        """
        now = [s.detach().clone() for s in states]
        if not save or not self.every:
            kept = self._kept(self.steps) if save else []
            self._forward(now, kept, save, 0, self.steps, sums)
            return now, kept
        parts = list(chunks(self.steps, self.every))
        starts = [s.new_empty((len(parts), *s.shape)) for s in now]
        for i, (low, high) in enumerate(parts):
            for start, state in zip(starts, now, strict=True):
                start[i] = state
            self._forward(now, [], False, low, high, sums)
        return now, starts

    def backward(
        self,
        kept: Sequence[Tensor],
        by_emitted: Tensor | None,
        by_records: Sequence[Tensor | None],
        by_states: Sequence[Tensor],
        by_sums: Tensor | None = None,
        tally: bool = True,
    ) -> Adjoints:
        """The adjoint of `forward`.

        Args:
            kept: What `forward` returned.
            by_emitted: Derivative by what was emitted, `[T, B, N]`.
            by_records: Derivatives by the recorded states.
            by_states: Derivatives by the final states.
            by_sums: Derivative by what the connection behind made, `[T, B, O]`.
            tally: Whether the weights' gradients are wanted.
        """
        lam = [g.clone() for g in by_states]
        shape = (self.steps, self.emissions.shape[1], self.recurrent.outputs)
        # Its rows are read in whole vectors, the last one beyond its end.
        size = math.prod(shape)
        by_current = empty((size + BYTES,), self.dtype)[:size].view(shape)
        totals = [
            lam[0].new_zeros(self.emissions.shape[1], p.high - p.low)
            for p in self.populations
            for _ in p.program.tensors
        ]
        parts = min(PARTS, self._blocks)
        sums = {
            name: connection.sums(parts)
            for name, connection in (
                ("before", self.before),
                ("behind", self.behind if by_sums is not None else None),
                ("recurrent", self.recurrent if tally and self._worth_tallying() else None),
            )
            if connection is not None
        }
        given = {"emitted": by_emitted, "sums": by_sums}
        for i, (low, high) in reversed(list(enumerate(chunks(self.steps, self.every)))):
            if self.every:
                values = self._kept(high - low)
                self._forward([start[i].clone() for start in kept], values, True, low, high, None)
            else:
                values = list(kept)
            self._backward(lam, values, given, by_records, by_current, totals, sums, low, high)
        total = iter(totals)
        by_coefficients = [
            _shared(next(total), p.coefficients[j])
            for p in self.populations
            for j in sorted(p.program.tensors)
        ]
        return Adjoints(by_current, lam, by_coefficients, sums)

    def by_weight(self, adjoints: Adjoints) -> Tensor:
        """Derivatives by the weights, `[K, M, N]`."""
        if "recurrent" in adjoints.sums:
            by, _ = self.recurrent.gradients(adjoints.sums["recurrent"])
            return by.expand(self.connections.weight.shape).contiguous()
        return weight_gradient(adjoints.by_current, self.emissions, self.connections, product)

    @property
    def recurrent(self) -> Attached:
        """The connections as if they had no delays."""
        return Attached(self.connections.weight[0], None)

    @property
    def _blocks(self) -> int:
        """Into how many blocks the samples fall."""
        return -(-self.emissions.shape[1] // samples_per_block(self.connections.way, self.dtype.itemsize))

    def _worth_tallying(self) -> bool:
        """Whether the weights' gradients are sums over events, made on the way."""
        batch, size = self.emissions.shape[1:]
        few = fits(size, self.recurrent.outputs, self.dtype.itemsize) and worth_it(self.steps, batch, size)
        fired = self.emissions.flatten(0, 1)
        along = self.connections.way == "dense" and not self.cut
        return along and few and share_of_events(fired, SAMPLED) <= LIVELY

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

    def _forward(
        self, states: list[Tensor], kept: list[Tensor], save: bool, low: int, high: int, sums: Tensor | None
    ) -> None:
        """The steps from `low` to `high`: fills emissions, records, `kept` and `sums`, changes the states."""
        state, record, keep = iter(states), iter(self.records), iter(kept)
        current = self.current if self.moving else self.current[None]
        arrays: list[Any] = [current.detach(), self.emissions]
        arrays += [] if self.before is None else [self.before.from_each()]
        arrays += [] if self.behind is None or sums is None else [self.behind.from_each(), sums]
        around = Around(before=self.before is not None, behind=sums is not None)
        for p in self.populations:
            arrays += [next(state) for _ in p.program.states]
            arrays += p.arguments(self.dtype)
            arrays += [next(record) for _ in p.program.record]
            arrays += [next(keep) for _ in p.saved] if save else []
        forms = tuple(p.form(self.dtype, save) for p in self.populations)
        kernel = forward_kernel(self.connections.way, forms, around)
        arrays += self.connections.forward()
        self._run(kernel, "forward", self.connections, around, arrays, low, high, self._blocks)

    def _backward(
        self,
        lam: list[Tensor],
        kept: list[Tensor],
        given: Mapping[str, Tensor | None],
        by_records: Sequence[Tensor | None],
        by_current: Tensor,
        totals: list[Tensor],
        sums: Mapping[str, Tensor],
        low: int,
        high: int,
    ) -> None:
        state, record, keep, by_record = iter(lam), iter(self.records), iter(kept), iter(by_records)
        total = iter(totals)
        arrays: list[Any] = [self.emissions, by_current]
        arrays += [] if given["emitted"] is None else [given["emitted"]]
        arrays += [self.current.detach(), sums["before"]] if "before" in sums else []
        if "behind" in sums:
            assert self.behind is not None
            arrays += [given["sums"], self.behind.to_each(), sums["behind"]]
        arrays += [sums["recurrent"]] if "recurrent" in sums else []
        traces = []
        for p in self.populations:
            arrays += [next(state) for _ in p.program.states]
            arrays += p.arguments(self.dtype)
            arrays += [next(record) for _ in p.program.record]
            arrays += [next(keep) for _ in p.saved]
            wanted = {name: g for name in p.program.record if (g := next(by_record)) is not None}
            arrays += [g.contiguous() for g in wanted.values()]
            arrays += [next(total) for _ in p.program.tensors]
            traces.append(tuple(wanted))
        around = Around("before" in sums, "behind" in sums, given["emitted"] is not None, "recurrent" in sums)
        forms = tuple(p.form(self.dtype, True) for p in self.populations)
        along = self.connections.cut() if self.cut else self.connections
        kernel = backward_kernel(along.way, forms, tuple(traces), around)
        parts = len(next(iter(sums.values()))) if sums else self._blocks
        self._run(kernel, "backward", along, around, [*arrays, *along.backward()], low, high, parts)

    def _run(
        self,
        kernel: Kernel,
        direction: str,
        along: Connections,
        around: Around,
        arrays: list[Any],
        low: int,
        high: int,
        parts: int,
    ) -> None:
        """The kernel on all samples, part by part."""
        batch, size = self.emissions.shape[1:]
        dtype = self.dtype
        sizes = Sizes(
            size=size,
            columns=along.weight.shape[1],
            longest=max(along.delays()),
            itemsize=dtype.itemsize,
            inputs=0 if self.before is None else self.before.inputs,
            outputs=0 if self.behind is None else self.behind.outputs,
        )
        number = np.dtype(NUMBER[dtype])
        work = [
            for_threads(shape, number if kind == "F" else kind)
            for kind, shape in working_memory(direction, along.way, around, sizes).values()
        ]
        ends = [self.depth, int(self.moving), low, high, batch, parts]
        kernel.run([*arrays, *work, *ends], parts, (high - low) * batch * size)


def _shared(total: Tensor, coefficient: float | Tensor) -> Tensor:
    assert isinstance(coefficient, Tensor)
    return reduce_to(total, coefficient)
