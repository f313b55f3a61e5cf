"""Numba source for one step of a traced neuron and of its adjoint: the innermost loop's statements.

The loops around them are those of `sequence_source`, and of the fused and recurrent kernels.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rheobase.kernels.adjoint import Adjoint
from rheobase.kernels.trace import Trace

CHUNK = 1024

#: Time runs down by a counter that runs up: LLVM does not vectorise what is inside a falling range.
BACKWARDS = "t = steps - 1 - step"

HEADER = '''"""{title}

{explanation}

Made by rheobase from the neuron's equations; safe to delete.
"""

import math

import numba
import numpy as np

F = np.{dtype}
ZERO = F(0.0)
ONE = F(1.0)


@numba.njit(nogil=True, error_model="numpy"{flags})
'''

_INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/",
    "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!=",
    "and": "&", "or": "|",
}  # fmt: skip
_CALLS = {
    "exp": "math.exp", "log": "math.log", "sqrt": "math.sqrt", "tanh": "math.tanh",
    "atan": "math.atan", "erf": "math.erf", "absolute": "abs",
}  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """What of a kernel's form depends on its arguments rather than on the neuron.

    `kinds` has a letter per coefficient: "s" for one number, "v" for one per column.
    """

    dtype: str
    kinds: str
    constant: bool
    record: tuple[str, ...]


@dataclass
class Body:
    """Statements of the innermost loop, and how to refer to each node in them."""

    trace: Trace
    layout: Layout
    names: dict[int, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def ref(self, n: int) -> str:
        node = self.trace.tape.nodes[n]
        if n in self.names:
            return self.names[n]
        if node.op == "const":
            return {0.0: "ZERO", 1.0: "ONE"}.get(node.value, f"F({node.value!r})")
        j = self.trace.coefficients.index(n)
        return f"c{j}[k]" if self.layout.kinds[j] == "v" else f"c{j}"

    def load(self, n: int, name: str, text: str) -> None:
        self.names[n] = name
        self.lines.append(f"{name} = {text}")

    def emit(self, ids: Sequence[int]) -> None:
        """Statements that compute the varying nodes `ids`, given in order of execution."""
        for n in ids:
            if n in self.names or not self.trace.tape.varying[n]:
                continue
            text = self.expression(n)
            self.names[n] = f"x{n}"
            self.lines.append(f"x{n} = {text}")

    def expression(self, n: int) -> str:
        """The text of an operation on what was computed before."""
        node = self.trace.tape.nodes[n]
        args = [self.ref(a) for a in node.args]
        if node.op in _INFIX:
            return f"{args[0]} {_INFIX[node.op]} {args[1]}"
        if node.op in _CALLS:
            return f"{_CALLS[node.op]}({args[0]})"
        if node.op == "where":
            return f"{args[1]} if {args[0]} else {args[2]}"
        if node.op == "spike":
            return f"ONE if {args[0]} {'>' if node.value[1] else '>='} ZERO else ZERO"
        simple = {
            "neg": "-{0}",
            "not": "not {0}",
            "stop_gradient": "{0}",
            "pow": "{0} ** F(" + repr(node.value) + ")",
        }
        return simple[node.op].format(*args)


def slices_of(t: Trace) -> dict[str, str]:
    """The kernels' names for a chunk of each input: `current` if it is the only one, else `in_<name>`."""
    if len(t.inputs) == 1:
        return dict.fromkeys(t.inputs, "current")
    return {name: f"in_{name}" for name in t.inputs}


def indent(lines: Sequence[str], by: int) -> str:
    return "".join(f"{'    ' * by}{line}\n" for line in lines)


def explain(t: Trace) -> str:
    """What the coefficients c0, c1, ... are, in the neuron's parameters."""
    lines = [f"    c{j} = {_formula(t, n)}" for j, n in enumerate(t.coefficients)]
    return "\n".join(["Coefficients:", *lines]) if lines else "No coefficients."


def _formula(t: Trace, n: int) -> str:
    node = t.tape.nodes[n]
    args = [_formula(t, a) for a in node.args]
    if node.op in ("const", "param"):
        return f"{node.value}"
    if node.op in _INFIX:
        return f"({args[0]} {_INFIX[node.op]} {args[1]})"
    if node.op == "pow":
        return f"{args[0]} ** {node.value}"
    return f"{node.op}({', '.join(args)})"


def forward_body(t: Trace, layout: Layout, saved: Sequence[int], there: Collection[int] = ()) -> list[str]:
    """One step of one column: from `s_<state>` and `current` to `out`, records, `kept<i>`, `s_<state>`.

    A neuron with several inputs reads `in_<name>` for each instead of `current` (see `slices_of`). Saved
    nodes that are `there` have been kept before.
    """
    body = Body(t, layout)
    for name, n in t.states.items():
        body.load(n, f"{name}_old", f"s_{name}[k]")
    for name, piece in slices_of(t).items():
        body.load(t.inputs[name], "inp" if piece == "current" else f"inp_{name}", f"{piece}[k]")
    fresh = {i: n for i, n in enumerate(saved) if n not in there}
    body.emit(t.live([*t.new_states.values(), t.emitted, *fresh.values()]))
    body.lines.append(f"out[k] = {body.ref(t.emitted)}")
    body.lines += [f"r_{name}[k] = {body.ref(t.new_states[name])}" for name in layout.record]
    body.lines += [f"kept{i}[k] = {body.ref(n)}" for i, n in fresh.items()]
    body.lines += [f"s_{name}[k] = {body.ref(n)}" for name, n in t.new_states.items()]
    return body.lines


def start_body(t: Trace, layout: Layout, saved: Sequence[int], there: Collection[int]) -> list[str]:
    """Before the first step: saved nodes that are made of the states alone, to `kept<i>`."""
    body = Body(t, layout)
    for name, n in t.states.items():
        body.load(n, f"{name}_old", f"s_{name}[k]")
    body.emit(t.live(list(there)))
    body.lines += [f"kept{i}[k] = {body.ref(n)}" for i, n in enumerate(saved) if n in there]
    return body.lines


class Incoming(NamedTuple):
    """Which derivatives come in, which are wanted, and whether the input current is at hand.

    `uniform`: the derivative by what was emitted is one number (as that of a sum is).
    """

    emitted: bool
    traces: tuple[str, ...]
    current: bool
    coefficients: tuple[int, ...]
    keeps_current: bool
    uniform: bool = False


def adjoint_body(
    t: Trace, adj: Adjoint, layout: Layout, saved: Sequence[int], incoming: Incoming
) -> tuple[list[str], list[str]]:
    """One step back of one column, and the names of the kept arrays that it reads.

    From `lam_<state>`, `g_out`, `g_<record>` and what was kept to `by_current`, `by_c<j>`, `lam_<state>`.
    A neuron with several inputs has `in_<name>` and `by_in_<name>` for each (see `slices_of`).
    """
    body = Body(t, layout)
    available = _available(t, layout, saved)
    if incoming.keeps_current or layout.constant:
        available |= {t.inputs[name]: piece for name, piece in slices_of(t).items()}
    live = _load_available(body, adj.roots(), available)
    read = sorted({available[n] for n in live if n in body.names})
    for name in t.states:
        trace_share = f" + g_{name}[k]" if name in incoming.traces else ""
        body.load(adj.seeds[f"state.{name}"], f"lam_{name}_new", f"lam_{name}[k]{trace_share}")
    if incoming.emitted:
        body.load(adj.seeds["emitted"], "g_out_k", "g_out" if incoming.uniform else "g_out[k]")
    body.emit(live)
    for name, piece in slices_of(t).items() if incoming.current else ():
        if name in adj.inputs:
            body.lines.append(
                f"by_{piece}[k] {'+=' if layout.constant else '='} {body.ref(adj.inputs[name])}"
            )
        elif not layout.constant:
            body.lines.append(f"by_{piece}[k] = ZERO")
    for j in incoming.coefficients:
        n = t.coefficients[j]
        if n in adj.coefficients:
            body.lines.append(f"by_c{j}[k] += {body.ref(adj.coefficients[n])}")
    for name in t.states:
        value = body.ref(adj.states[name]) if name in adj.states else "ZERO"
        body.lines.append(f"lam_{name}[k] = {value}")
    return body.lines, read


def gate_body(t: Trace, gates: Sequence[int], layout: Layout, saved: Sequence[int]) -> list[str]:
    """Of one column at one step: `mark` is 1 where a gate is open (see `rheobase.kernels.gates`).

    From what was kept, as `adjoint_body`.
    """
    body = Body(t, layout)
    live = _load_available(body, gates, _available(t, layout, saved))
    body.emit(live)
    tape = t.tape
    opened = " or ".join(body.ref(n) if tape.is_boolean(n) else f"{body.ref(n)} != ZERO" for n in gates)
    body.lines.append(f"mark[k] = ONE if {opened} else mark[k]")
    return body.lines


def _available(t: Trace, layout: Layout, saved: Sequence[int]) -> dict[int, str]:
    """Arrays of what is at hand of the step: what was kept, recorded and emitted."""
    found = {n: f"kept{i}" for i, n in enumerate(saved)}
    return found | {t.new_states[name]: f"r_{name}" for name in layout.record} | {t.emitted: "out"}


def _load_available(body: Body, roots: Sequence[int], available: dict[int, str]) -> list[int]:
    """Load what the roots need and is at hand; all nodes met on the way, in order of execution."""
    live, met = reach(body.trace, roots, available)
    for n in met:
        body.load(n, f"{available[n]}_k", f"{available[n]}[k]")
    return live


def reach(t: Trace, roots: Sequence[int], available: Collection[int]) -> tuple[list[int], list[int]]:
    """The nodes between what is available and the roots, in order of execution; of those, which are met."""
    live: set[int] = set()
    met: list[int] = []
    stack = list(roots)
    while stack:
        n = stack.pop()
        if n in live:
            continue
        live.add(n)
        if n in available and t.tape.varying[n]:
            met.append(n)
        else:
            stack.extend(t.tape.nodes[n].args)
    return sorted(live), met
