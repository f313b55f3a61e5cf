"""Groups of neurons as the recurrent kernels see them, and the kernels for them, made once."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rheobase.kernels.adjoint import adjoint
from rheobase.kernels.bound import bits
from rheobase.kernels.cache import Kernel
from rheobase.kernels.connections import Way
from rheobase.kernels.native import NUMBER
from rheobase.kernels.passes import NAMES
from rheobase.kernels.program import PROGRAMS, Program
from rheobase.kernels.recurrent_around import Around
from rheobase.kernels.recurrent_source import Part, backward_source, forward_source
from rheobase.kernels.saved import places
from rheobase.kernels.source import Incoming, Layout
from rheobase.kernels.trace import trace
from rheobase.registry import name_of


@dataclass(frozen=True)
class Population:
    """A group as the kernels see it: its program, its place (see `Part`), and its coefficients."""

    program: Program
    low: int
    high: int
    column: int
    coefficients: tuple[float | Tensor, ...]

    @functools.cached_property
    def kinds(self) -> str:
        """A letter per coefficient: "v" for one value per neuron, "s" for one number."""
        return "".join("v" if isinstance(c, Tensor) and c.dim() else "s" for c in self.coefficients)

    @functools.cached_property
    def saved(self) -> tuple[int, ...]:
        """Nodes kept at every step in arrays of their own (the summed current among them)."""
        p = self.program
        if p.linear:
            return p.saved
        held = {p.trace.emitted, *(p.trace.new_states[n] for n in p.record)}
        return tuple(n for n in p.saved if n not in held)

    def kept(self, dtype: torch.dtype) -> list[tuple[int, torch.dtype]]:
        """See `kept_arrays`."""
        return kept_arrays(self.program.key, self.saved, dtype)

    @property
    def size(self) -> int:
        """The number of neurons."""
        return self.high - self.low

    def form(self, dtype: torch.dtype, save: bool) -> tuple[Any, ...]:
        """What the forward kernel's form depends on."""
        place = (self.low, self.high, self.column)
        return (self.program.key, NAMES[dtype], self.kinds, self.saved if save else (), place)

    def values(self, dtype: torch.dtype) -> list[Tensor | int]:
        """The coefficients, as a bound kernel takes them: tensors, and the bits of numbers."""
        return self._bits or [x if isinstance(x, Tensor) else bits(x) for x in self.arguments(dtype)]

    @functools.cached_property
    def _bits(self) -> list[Tensor | int] | None:
        """The bits of all coefficients, if they are numbers; None if some are tensors."""
        numbers = [c for c in self.coefficients if not isinstance(c, Tensor)]
        return [bits(c) for c in numbers] if len(numbers) == len(self.coefficients) else None

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


def places_of(p: Program, saved: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Where nodes are kept (see `places`); each by itself where they are the step's derivatives."""
    return tuple((i, 0) for i in range(len(saved))) if p.linear else places(p.trace, saved)


@functools.lru_cache(maxsize=256)
def kept_arrays(key: str, saved: tuple[int, ...], dtype: torch.dtype) -> list[tuple[int, torch.dtype]]:
    """Arrays of what a program keeps over time: how many rows more than steps, and the type."""
    p = PROGRAMS[key]
    found: dict[int, tuple[int, torch.dtype]] = {}
    for node, (array, later) in zip(saved, places_of(p, saved), strict=True):
        more, _ = found.get(array, (0, dtype))
        found[array] = (max(more, later), p.saved_dtype(node, dtype))
    return [found[array] for array in sorted(found)]


def _title(keys: Sequence[str]) -> str:
    return " and ".join(dict.fromkeys(name_of(type(PROGRAMS[key].neuron)) for key in keys))


@functools.cache
def forward_kernel(way: Way, forms: tuple[tuple[Any, ...], ...], around: Around) -> Kernel:
    parts = []
    for key, dtype, kinds, saved, (low, high, column) in forms:
        p = PROGRAMS[key]
        layout = Layout(dtype, kinds, False, p.record)
        parts.append(Part(p.trace, layout, saved, low, high, column, places=places_of(p, saved)))
    name = f"recurrent {_title([form[0] for form in forms])}"
    source = forward_source(parts, f"Forward pass of {name} neurons.", way, around)
    return Kernel(source, "forward", f"{name} forward")


@functools.cache
def backward_kernel(
    way: Way, forms: tuple[tuple[Any, ...], ...], traces: tuple[tuple[str, ...], ...], around: Around
) -> Kernel:
    parts = []
    for (key, dtype, kinds, saved, (low, high, column)), wanted_traces in zip(forms, traces, strict=True):
        p = PROGRAMS[key]
        t = trace(p.neuron)  # the adjoint grows the tape: a tape of its own
        positions = tuple(sorted(p.tensors))
        adj = adjoint(t, emitted=True, coefficients=frozenset(t.coefficients[j] for j in positions))
        incoming = Incoming(True, wanted_traces, True, positions, keeps_current=False)
        layout = Layout(dtype, kinds, False, p.record)
        parts.append(Part(t, layout, saved, low, high, column, adj, incoming, places_of(p, saved)))
    name = f"recurrent {_title([form[0] for form in forms])}"
    source = backward_source(parts, f"Backward pass of {name} neurons.", way, around)
    return Kernel(source, "backward", f"{name} backward")
