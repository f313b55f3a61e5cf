"""Running the recurrent kernels on tensors: forward, backward, and time chunks with recomputation.

Samples are independent: blocks of them are shared out among the threads, and each block is run over all
steps. Where gradients of weights are summed on the way, it is in a fixed number of parts. Results do not
depend on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from rheobase.kernels.attached import NARROW, Attached, fits, way_to_tally, worth_it
from rheobase.kernels.connections import Connections, history_gradient, weight_gradient
from rheobase.kernels.passes import chunks, reduce_to
from rheobase.kernels.products import weight_gradient as product
from rheobase.kernels.recurrent_around import Around
from rheobase.kernels.recurrent_calls import Ready, Setting, backward_call, forward_call
from rheobase.kernels.recurrent_forms import Population
from rheobase.kernels.settled import settled
from rheobase.kernels.vectors import BYTES, ROWS, padded, pairs, spaced
from rheobase.kernels.workspace import empty


class Adjoints(NamedTuple):
    """What `Sweep.backward` returns.

    Attributes:
        by_current: Derivatives by the currents `[T, B, M]`, or what is left of them if they are not wanted.
        by_states: Those by the initial states, group by group.
        by_coefficients: Those by the coefficients that are tensors, group by group.
        by_weight: Those by the weights, if they are wanted: see `weight_gradient`.
        by_around: Those by weight and bias of the connection before and of the one behind.
    """

    by_current: Tensor
    by_states: list[Tensor]
    by_coefficients: list[Tensor]
    by_weight: Tensor | None
    by_around: tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]


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
        setting: What shapes settle of it.
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
    setting: Setting
    cut: bool = False
    before: Attached | None = None
    behind: Attached | None = None

    @classmethod
    def begin(
        cls,
        populations: Sequence[Population],
        connections: Connections,
        current: Tensor,
        history: Tensor | int,
        steps: int,
        every: int,
        before: Attached | None = None,
        behind: Attached | None = None,
    ) -> Sweep:
        """A layer before its first step, after `history` `[D, B, N]`, or so many steps of silence."""
        depth = history if isinstance(history, int) else len(history)
        batch, size = current.shape[-2], populations[-1].high
        emissions = _of_rows((depth + steps, batch, size), current.dtype)
        first = emissions[:depth]
        first.zero_() if isinstance(history, int) else first.copy_(history)
        records = [
            empty((steps, batch, p.size), current.dtype) for p in populations for _ in p.program.record
        ]
        setting = Setting(
            forms=tuple([p.form(current.dtype, True) for p in populations]),
            dtype=current.dtype,
            batch=batch,
            steps=every or steps,
            depth=depth,
            total=steps,
            moving=current.dim() == 3,
            size=size,
            columns=connections.columns,
            longest=max(connections.delays()),
            inputs=0 if before is None else before.inputs,
            outputs=0 if behind is None else behind.outputs,
            biased=(
                before is not None and before.bias is not None,
                behind is not None and behind.bias is not None,
            ),
            masked=connections.mask is not None,
            threads=torch.get_num_threads(),
        )
        return cls(
            populations,
            connections,
            current,
            emissions,
            records,
            steps,
            every,
            setting,
            before=before,
            behind=behind,
        )

    @property
    def depth(self) -> int:
        """The number of steps D of history."""
        return self.emissions.shape[0] - self.steps

    def forward(
        self, states: Sequence[Tensor | float], save: bool, sums: Tensor | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """All steps from `states`, with the connection behind into `sums`.

        States are `[B, n]`, or one number for all neurons, group by group.

        Returns:
            The final states, and what the backward pass needs: the saved values `[T, B, n]`, or the states
            `[chunks, B, n]` at the chunks' starts.
        """
        now = self._own(states)
        if not save or not self.every:
            kept = self._kept(self.steps) if save else []
            self._forward(now, kept, save, 0, self.steps, sums)
            return now, kept
        parts = chunks(self.steps, self.every)
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
        by_states: Sequence[Tensor | None],
        by_sums: Tensor | None = None,
        tally: bool = True,
        whole: bool = True,
    ) -> Adjoints:
        """The adjoint of `forward`.

        Args:
            kept: What `forward` returned.
            by_emitted: Derivative by what was emitted, `[T, B, N]`.
            by_records: Derivatives by the recorded states.
            by_states: Derivatives by the final states; None for zeros.
            by_sums: Derivative by what the connection behind made, `[T, B, O]`.
            tally: Whether the weights' gradients are wanted.
            whole: Whether the derivatives by the currents are wanted.
        """
        batch = self.emissions.shape[1]
        along = self.connections.cut() if self.cut else self.connections
        lam = self._own([0.0 if g is None else g for g in by_states])
        totals = [
            self.emissions.new_zeros(batch, p.size) for p in self.populations for _ in p.program.tensors
        ]
        around = Around(
            before=self.before is not None,
            behind=self.behind is not None and by_sums is not None,
            narrow=by_sums is not None and by_sums.shape[2] <= NARROW,
            given=by_emitted is not None,
            tally=self._way_to_tally() if tally else "",
            gated=along.way == "dense" and any(p.program.gated for p in self.populations),
        )
        # What is summed on the way is wanted until it has arrived and is added up, no longer.
        held = pairs(self.connections.columns, self.dtype.itemsize) // ROWS
        window = max(held, *along.delays()) + 1
        window, pitch = min(window, self.steps), self.connections.columns
        if whole or (tally and not around.tally):
            window = self.steps
        else:
            pitch = padded(pitch, self.dtype.itemsize)
        by_current = _of_rows((window, batch, pitch), self.dtype)
        ready = backward_call(self.setting, along.way, around, self._traces(by_records), window, pitch)
        memory = ready.room.zeros()
        places = ready.room.addresses(memory)
        behind = self.behind if around.behind else None
        weights = _contiguous(
            None if behind is None else behind.weight,
            along.whole() if along.way == "dense" else None,
            dtype=self.dtype,
        )
        ready.pack(places, [x.data_ptr() for x in weights], self._mask_at)
        taps = along.backward() if along.way == "taps" else []
        for i, (low, high) in reversed(list(enumerate(chunks(self.steps, self.every)))):
            values = list(kept)
            if self.every:
                values = self._kept(high - low)
                self._forward([start[i].clone() for start in kept], values, True, low, high, None)
            state, record, keep, by_record = iter(lam), iter(self.records), iter(values), iter(by_records)
            total = iter(totals)
            arrays: list[Any] = [self.emissions, by_current]
            arrays += [] if by_emitted is None else [by_emitted]
            arrays += [self.current, places[ready.places["tally_before"]]] if around.before else []
            if around.behind:
                arrays += [by_sums, places[ready.places["behind"]], places[ready.places["tally_behind"]]]
            arrays += [places[ready.places["tally"]]] if around.tally else []
            for p in self.populations:
                arrays += [next(state) for _ in p.program.states]
                arrays += p.values(self.dtype)
                arrays += [next(record) for _ in p.program.record]
                arrays += [next(keep) for _ in p.kept(self.dtype)]
                arrays += [g for _ in p.program.record if (g := next(by_record)) is not None]
                arrays += [next(total) for _ in p.program.tensors]
            self._run(ready, places, arrays, along, taps, low, high)
        total = iter(totals)
        by_coefficients = [
            _shared(next(total), p.coefficients[j])
            for p in self.populations
            for j in sorted(p.program.tensors)
        ]
        by_weight, by_around = self._gradients(ready, places, around)
        if tally and by_weight is None:
            by_weight = weight_gradient(by_current, self.emissions, self.connections, product)
        return Adjoints(by_current, lam, by_coefficients, by_weight, by_around)

    def _gradients(
        self, ready: Ready, places: list[int], around: Around
    ) -> tuple[Tensor | None, tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]]:
        """Derivatives by weights that were summed on the way, those of the connections around behind them."""
        found: list[Tensor | None] = []
        for connection, summed in ((self.before, around.before), (self.behind, around.behind)):
            for x in connection or (None, None):
                found.append(torch.empty(x.shape, dtype=self.dtype) if x is not None and summed else None)
        shape = self.connections.given.shape[-2:]
        by_weight = torch.empty(shape, dtype=self.dtype) if around.tally else None
        ready.unpack(places, [x.data_ptr() for x in (*found, by_weight) if x is not None], self._mask_at)
        return by_weight, (found[0], found[1], found[2], found[3])

    def _own(self, states: Sequence[Tensor | float]) -> list[Tensor]:
        """States `[B, n]` that a kernel may change, from given ones or numbers, group by group."""
        batch, sizes = self.emissions.shape[1], [p.size for p in self.populations for _ in p.program.states]
        return [
            s.detach().clone(memory_format=torch.contiguous_format)
            if isinstance(s, Tensor)
            else torch.full((batch, n), s, dtype=self.dtype)
            for s, n in zip(states, sizes, strict=True)
        ]

    def _way_to_tally(self) -> Literal["", "each", "together"]:
        """Whether the weights' gradients are sums over events, made on the way, and how."""
        batch, size = self.emissions.shape[1:]
        few = fits(size, self.connections.columns, self.dtype.itemsize) and worth_it(self.steps, batch, size)
        if not few or self.connections.way != "dense" or self.cut:
            return ""
        return settled(way_to_tally, self.emissions.flatten(0, 1))

    def by_history(self, by_current: Tensor) -> Tensor:
        """Derivatives by the history, given those by the currents."""
        return history_gradient(by_current, self.connections, self.depth)

    @property
    def dtype(self) -> torch.dtype:
        return self.emissions.dtype

    def _kept(self, steps: int) -> list[Tensor]:
        batch = self.emissions.shape[1]
        return [
            empty((steps + more, batch, spaced(p.size, dtype.itemsize)), dtype)
            for p in self.populations
            for more, dtype in p.kept(self.dtype)
        ]

    @property
    def _mask_at(self) -> int:
        """The address of the mask; 0 if there is none."""
        mask = self.connections.mask
        return 0 if mask is None else mask.data_ptr()

    def _traces(self, by_records: Sequence[Tensor | None]) -> tuple[tuple[str, ...], ...]:
        """The recorded states of which there are derivatives, group by group."""
        by_record = iter(by_records)
        return tuple(
            tuple(name for name in p.program.record if next(by_record) is not None) for p in self.populations
        )

    def _forward(
        self, states: list[Tensor], kept: list[Tensor], save: bool, low: int, high: int, sums: Tensor | None
    ) -> None:
        """The steps from `low` to `high`: fills emissions, records, `kept` and `sums`, changes the states."""
        along = self.connections
        around = Around(before=self.before is not None, behind=sums is not None)
        ready = forward_call(self.setting, along.way, around, save)
        memory = ready.room.zeros()
        places = ready.room.addresses(memory)
        weights = _contiguous(
            *(self.before or ()),
            *((self.behind or ()) if around.behind else ()),
            along.whole() if along.way == "dense" else None,
            dtype=self.dtype,
        )
        ready.pack(places, [x.data_ptr() for x in weights], self._mask_at)
        state, record, keep = iter(states), iter(self.records), iter(kept)
        arrays: list[Any] = [self.current, self.emissions]
        arrays += [places[ready.places["before"]]] if around.before else []
        arrays += [places[ready.places["behind"]], sums] if around.behind else []
        for p in self.populations:
            arrays += [next(state) for _ in p.program.states]
            arrays += p.values(self.dtype)
            arrays += [next(record) for _ in p.program.record]
            arrays += [next(keep) for _ in p.kept(self.dtype)] if save else []
        self._run(ready, places, arrays, along, along.forward() if along.way == "taps" else [], low, high)

    def _run(
        self,
        ready: Ready,
        places: list[int],
        arrays: list[Any],
        along: Connections,
        taps: list[Any],
        low: int,
        high: int,
    ) -> None:
        """The kernel on all samples, part by part; `places`: of the room's arrays."""
        values = [x if isinstance(x, int) else x.data_ptr() for x in arrays]
        values += [x.ctypes.data for x in taps] or [places[ready.places["weights"]]]
        values.append(max(along.delays()))
        ends = [self.depth, int(self.setting.moving), low, high, self.emissions.shape[1], ready.parts]
        ready.run(places, values, ends)


def _of_rows(shape: tuple[int, int, int], dtype: torch.dtype) -> Tensor:
    """A tensor whose rows may be read in whole vectors, the last one beyond its end."""
    memory = empty((math.prod(shape) + BYTES,), dtype)
    return memory.as_strided(shape, (shape[1] * shape[2], shape[2], 1))


def _contiguous(*given: Tensor | None, dtype: torch.dtype) -> list[Tensor]:
    """Those that there are, of this type."""
    return [
        x if x.dtype == dtype and x.is_contiguous() else x.detach().to(dtype).contiguous()
        for x in given
        if x is not None
    ]


def _shared(total: Tensor, coefficient: float | Tensor) -> Tensor:
    assert isinstance(coefficient, Tensor)
    return reduce_to(total, coefficient)
