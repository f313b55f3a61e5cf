"""A neuron's compiled form: its trace, what it keeps, and its kernels per layout.

Programs are found by a text key, because a torch operator takes only tensors, numbers and texts.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rheobase.kernels.adjoint import adjoint
from rheobase.kernels.cache import Kernel
from rheobase.kernels.fused_backward import backward_into_source
from rheobase.kernels.fused_forward import forward_into_source
from rheobase.kernels.fused_source import Pair
from rheobase.kernels.gates import gates
from rheobase.kernels.jacobian import Jacobian, linearised, varying
from rheobase.kernels.saved import choose_saved
from rheobase.kernels.sequence_source import backward_source, forward_source
from rheobase.kernels.source import Incoming, Layout
from rheobase.kernels.trace import Trace, fingerprint, trace
from rheobase.neurons.base import Neuron
from rheobase.registry import name_of


@dataclass(frozen=True)
class Program:
    """One neuron, one way of feeding it (`constant` or changing input), one set of recorded states.

    `tensors` are the positions of the coefficients that may need a gradient. What the forward pass keeps of
    each step is what the adjoint reads, or the step's derivatives themselves (`linear`).
    """

    key: str
    neuron: Neuron
    constant: bool
    record: tuple[str, ...]
    tensors: frozenset[int]
    linear: bool = False

    @functools.cached_property
    def trace(self) -> Trace:
        return linearised(self.neuron)[0] if self.linear else trace(self.neuron)

    @functools.cached_property
    def jacobian(self) -> Jacobian:
        """The step's derivatives, on the trace of a `linear` program."""
        return linearised(self.neuron)[1]

    def merge(self, numbers: Sequence[float], tensors: Sequence[Tensor]) -> list[float | Tensor]:
        """Coefficients in the program's order, from those that are numbers and those that are tensors."""
        if not self.tensors:
            return list(numbers)
        n, t = iter(numbers), iter(tensors)
        return [next(t) if j in self.tensors else next(n) for j in range(len(self.trace.coefficients))]

    @functools.cached_property
    def states(self) -> tuple[str, ...]:
        return tuple(self.trace.states)

    @functools.cached_property
    def saved(self) -> tuple[int, ...]:
        """Nodes kept at every step in arrays of their own (input, output and records aside)."""
        if self.linear:
            return varying(self.trace, self.jacobian.nodes())
        t = trace(self.neuron)
        wanted = frozenset(t.coefficients[j] for j in self.tensors)
        adj = adjoint(t, emitted=True, coefficients=wanted)
        kept = frozenset([t.emitted, *(t.new_states[n] for n in self.record)])
        return tuple(choose_saved(t, adj, kept=kept, constant=self.constant))

    @functools.cached_property
    def own(self) -> tuple[int, ...]:
        """The saved nodes that need an array: those that no input or output holds already."""
        t = self.trace
        if self.linear:
            return self.saved
        held = {*t.inputs.values(), t.emitted, *(t.new_states[n] for n in self.record)}
        return tuple(n for n in self.saved if n not in held)

    @functools.cached_property
    def gated(self) -> bool:
        """Whether there may be neurons that no derivative gets into (see `rheobase.kernels.gates`)."""
        t = trace(self.neuron)
        return bool(gates(t, adjoint(t, emitted=True)))

    @functools.cached_property
    def keeps_current(self) -> bool:
        """Whether the adjoint reads the input."""
        return any(n in self.saved for n in self.trace.inputs.values())

    @functools.cached_property
    def ports(self) -> int:
        """The number of inputs per neuron."""
        return len(self.trace.inputs)

    def shape(self, current: Tensor) -> tuple[int, ...]:
        """The shape `[B, N]` (or `[B, ...]`) of the neurons that `current` is for."""
        batch, first, *rest = current.shape if self.constant else current.shape[1:]
        return (batch, first // self.ports, *rest)

    def saved_dtype(self, node: int, dtype: torch.dtype) -> torch.dtype:
        """bool for a kept condition, else the dtype of the computation."""
        return torch.bool if self.trace.tape.is_boolean(node) else dtype

    @functools.cache  # noqa: B019 - programs live as long as the process
    def forward_kernel(self, dtype: str, kinds: str, save: bool) -> Kernel:
        layout = Layout(dtype, kinds, self.constant, self.record)
        title = f"Forward pass of {name_of(type(self.neuron))}."
        source = forward_source(self.trace, layout, self.own if save else (), title)
        return Kernel(source, "forward", f"{name_of(type(self.neuron))} forward")

    @functools.cache  # noqa: B019
    def backward_kernel(self, dtype: str, kinds: str, incoming: Incoming) -> Kernel:
        t = trace(self.neuron)  # the adjoint grows the tape: a tape of its own
        wanted = frozenset(t.coefficients[j] for j in incoming.coefficients)
        adj = adjoint(t, emitted=incoming.emitted, current=incoming.current, coefficients=wanted)
        layout = Layout(dtype, kinds, self.constant, self.record)
        title = f"Backward pass of {name_of(type(self.neuron))}."
        source = backward_source(t, adj, layout, self.own, incoming, title)
        return Kernel(source, "backward", f"{name_of(type(self.neuron))} backward")

    @functools.cache  # noqa: B019
    def forward_into_kernel(self, dtype: str, kinds: str, outputs: int) -> Kernel:
        pair = Pair(self.trace, Layout(dtype, kinds, self.constant, ()), outputs)
        title = f"Forward pass of {name_of(type(self.neuron))} and the dense connection behind it."
        source = forward_into_source(pair, title)
        return Kernel(source, "forward", f"{name_of(type(self.neuron))} forward, into dense,")

    @functools.cache  # noqa: B019
    def backward_into_kernel(self, dtype: str, kinds: str, outputs: int, want_current: bool) -> Kernel:
        t = trace(self.neuron)
        positions = tuple(sorted(self.tensors))
        wanted = frozenset(t.coefficients[j] for j in positions)
        adj = adjoint(t, emitted=True, current=want_current, coefficients=wanted)
        incoming = Incoming(True, (), want_current, positions, keeps_current=True)
        pair = Pair(t, Layout(dtype, kinds, self.constant, ()), outputs)
        title = f"Backward pass of {name_of(type(self.neuron))} and the dense connection behind it."
        source = backward_into_source(pair, adj, self.own, incoming, title)
        return Kernel(source, "backward", f"{name_of(type(self.neuron))} backward, into dense,")

    def source(self, dtype: str) -> str:
        """Both kernels as text, for sequences as input and all gradients wanted."""
        kinds = "".join("v" if j in self.tensors else "s" for j in range(len(self.trace.coefficients)))
        incoming = Incoming(True, self.record, True, tuple(sorted(self.tensors)), self.keeps_current)
        forward = self.forward_kernel(dtype, kinds, True)
        return f"{forward.source}\n\n{self.backward_kernel(dtype, kinds, incoming).source}"


PROGRAMS: dict[str, Program] = {}


def program(
    neuron: Neuron, *, constant: bool, record: Sequence[str], tensors: Sequence[int], linear: bool = False
) -> Program:
    """The program of a neuron, made at first use.

    Args:
        neuron: The model with its fixed options.
        constant: Whether the input is one value for all time steps.
        record: State variables to record at every step.
        tensors: Positions of the coefficients that are tensors.
        linear: Whether each step's derivatives are kept.
    """
    text = f"{fingerprint(trace(neuron))}|{constant}|{tuple(record)}|{tuple(tensors)}|{linear}"
    key = f"{name_of(type(neuron))}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    if key not in PROGRAMS:
        PROGRAMS[key] = Program(key, neuron, constant, tuple(record), frozenset(tensors), linear)
    return PROGRAMS[key]
