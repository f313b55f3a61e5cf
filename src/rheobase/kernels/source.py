"""Numba source for a traced step and its adjoint: one function per pass over a whole sequence.

Arrays are `[T, R, C]`: R rows share their per-neuron coefficients, C columns lie side by side in
memory. A chunk of columns keeps its state in the first-level cache while time runs; the innermost
loop is over columns, without calls or index arithmetic, so that LLVM vectorises it. The forward
pass allows no re-association or contraction: it rounds as the reference does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rheobase.kernels.adjoint import Adjoint
from rheobase.kernels.trace import Trace

CHUNK = 1024

HEADER = '''"""{title}

Made by rheobase from the neuron's equations; safe to delete.
"""

import math

import numba
import numpy as np

F = np.{dtype}
ZERO = F(0.0)
ONE = F(1.0)


@numba.njit(cache=True, nogil=True, error_model="numpy"{flags})
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
class _Body:
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
            text = self._expression(n)
            self.names[n] = f"x{n}"
            self.lines.append(f"x{n} = {text}")

    def _expression(self, n: int) -> str:
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


def _indent(lines: Sequence[str], by: int) -> str:
    return "".join(f"{'    ' * by}{line}\n" for line in lines)


def _chunk_slices(t: Trace, layout: Layout) -> list[str]:
    lines = [f"c{j} = c{j}_all[a:b]" for j, kind in enumerate(layout.kinds) if kind == "v"]
    if layout.constant:
        lines.append("current = current_all[0, r, a:b]")
    return lines


def _coefficient_args(layout: Layout) -> list[str]:
    return [f"c{j}_all" if kind == "v" else f"c{j}" for j, kind in enumerate(layout.kinds)]


def forward_source(t: Trace, layout: Layout, saved: Sequence[int], title: str) -> str:
    """The forward kernel.

    Arguments: current, initial states, coefficients, then the arrays to fill: emitted, one per
    recorded state, one per saved value, final states; then steps and the part of rows and columns.
    """
    states = list(t.states)
    body = _Body(t, layout)
    for i, name in enumerate(states):
        body.load(t.states[name], f"s{i}_old", f"s{i}[k]")
    body.load(t.current, "inp", "current[k]")
    body.emit(t.live([*t.new_states.values(), t.emitted, *saved]))
    body.lines.append(f"out[k] = {body.ref(t.emitted)}")
    body.lines += [f"r{i}[k] = {body.ref(t.new_states[n])}" for i, n in enumerate(layout.record)]
    body.lines += [f"k{i}[k] = {body.ref(n)}" for i, n in enumerate(saved)]
    body.lines += [f"s{i}[k] = {body.ref(t.new_states[n])}" for i, n in enumerate(states)]

    filled = ["out", *(f"r{i}" for i in range(len(layout.record))), *(f"k{i}" for i in range(len(saved)))]
    args = [
        "current_all", *(f"s{i}_init" for i in range(len(states))), *_coefficient_args(layout),
        *(f"{name}_all" for name in filled), *(f"s{i}_last" for i in range(len(states))),
        "steps", "row_low", "row_high", "low", "high",
    ]  # fmt: skip
    per_step = [f"{name} = {name}_all[t, r, a:b]" for name in filled]
    if not layout.constant:
        per_step.insert(0, "current = current_all[t, r, a:b]")
    count = max(len(states), 1)
    text = HEADER.format(title=title, dtype=layout.dtype, flags="")
    text += f"def forward({', '.join(args)}):\n"
    text += _indent([f"buffer = np.empty(({count}, {CHUNK}), F)", "for r in range(row_low, row_high):"], 1)
    text += _indent([f"for a in range(low, high, {CHUNK}):"], 2)
    text += _indent(
        [
            f"b = min(a + {CHUNK}, high)",
            "n = b - a",
            *_chunk_slices(t, layout),
            *(f"s{i} = buffer[{i}, :n]" for i in range(len(states))),
            *(f"start{i} = s{i}_init[r, a:b]" for i in range(len(states))),
            "for k in range(n):",
            *([f"    s{i}[k] = start{i}[k]" for i in range(len(states))] or ["    pass"]),
            "for t in range(steps):",
        ],
        3,
    )
    text += _indent([*per_step, "for k in range(n):"], 4) + _indent(body.lines, 5)
    text += _indent([f"end{i} = s{i}_last[r, a:b]" for i in range(len(states))], 3)
    text += _indent(
        ["for k in range(n):", *([f"    end{i}[k] = s{i}[k]" for i in range(len(states))] or ["    pass"])], 3
    )
    return text


@dataclass(frozen=True)
class Incoming:
    """Which derivatives come in, which are wanted, and whether the input current is at hand."""

    emitted: bool
    traces: tuple[str, ...]
    current: bool
    coefficients: tuple[int, ...]
    keeps_current: bool


def backward_source(
    t: Trace, adj: Adjoint, layout: Layout, saved: Sequence[int], incoming: Incoming, title: str
) -> str:
    """The backward kernel.

    Arguments: current, emitted, recorded states, saved values, coefficients; the derivatives by
    what was emitted, by each trace in `incoming.traces`, by the final states; then the arrays to
    fill: by the current, by the initial states, by each wanted coefficient (per row and column);
    then steps and the part of rows and columns.
    """
    states = list(t.states)
    tape = t.tape
    body = _Body(t, layout)
    loads: dict[str, str] = {}

    available = {n: f"k{i}" for i, n in enumerate(saved)}
    available |= {t.new_states[name]: f"r{i}" for i, name in enumerate(layout.record)}
    available |= {t.emitted: "out"}
    if incoming.keeps_current or layout.constant:
        available[t.current] = "current"
    live: set[int] = set()
    stack = adj.roots()
    while stack:
        n = stack.pop()
        if n in live:
            continue
        live.add(n)
        if n in available and tape.varying[n]:
            loads[available[n]] = available[n]
            body.load(n, f"{available[n]}_k", f"{available[n]}[k]")
        else:
            stack.extend(tape.nodes[n].args)
    for i, name in enumerate(states):
        text = f"lam{i}[k]"
        if name in incoming.traces:
            text += f" + gr{incoming.traces.index(name)}[k]"
        body.load(adj.seeds[f"state.{name}"], f"lam{i}_new", text)
    if incoming.emitted:
        body.load(adj.seeds["emitted"], "gout_k", "gout[k]")
    body.emit([n for n in sorted(live) if n not in body.names])
    if adj.current is not None:
        body.lines.append(f"gcur[k] {'+=' if layout.constant else '='} {body.ref(adj.current)}")
    elif incoming.current and not layout.constant:
        body.lines.append("gcur[k] = ZERO")
    for j in incoming.coefficients:
        n = t.coefficients[j]
        if n in adj.coefficients:
            body.lines.append(f"gc{j}[k] += {body.ref(adj.coefficients[n])}")
    for i, name in enumerate(states):
        value = body.ref(adj.states[name]) if name in adj.states else "ZERO"
        body.lines.append(f"lam{i}[k] = {value}")

    kept = ["out", *(f"r{i}" for i in range(len(layout.record))), *(f"k{i}" for i in range(len(saved)))]
    gradients = (["gout"] if incoming.emitted else []) + [f"gr{i}" for i in range(len(incoming.traces))]
    sums = [f"gc{j}" for j in incoming.coefficients] + (
        ["gcur"] if incoming.current and layout.constant else []
    )
    args = [
        "current_all", *(f"{name}_all" for name in kept), *_coefficient_args(layout),
        *(f"{name}_all" for name in gradients), *(f"lam{i}_init" for i in range(len(states))),
        *(["gcur_all"] if incoming.current else []), *(f"lam{i}_last" for i in range(len(states))),
        *(f"gc{j}_all" for j in incoming.coefficients),
        "steps", "row_low", "row_high", "low", "high",
    ]  # fmt: skip
    per_step = [
        f"{name} = {name}_all[t, r, a:b]" for name in [*sorted(loads), *gradients] if name != "current"
    ]
    if "current" in loads and not layout.constant:
        per_step.append("current = current_all[t, r, a:b]")
    if incoming.current and not layout.constant:
        per_step.append("gcur = gcur_all[t, r, a:b]")
    lam = range(len(states))
    text = HEADER.format(title=title, dtype=layout.dtype, flags=', fastmath={"contract", "reassoc", "nsz"}')
    text += f"def backward({', '.join(args)}):\n"
    text += _indent(
        [f"buffer = np.empty(({max(len(states), 1)}, {CHUNK}), F)", "for r in range(row_low, row_high):"], 1
    )
    text += _indent([f"for a in range(low, high, {CHUNK}):"], 2)
    text += _indent(
        [
            f"b = min(a + {CHUNK}, high)",
            "n = b - a",
            *_chunk_slices(t, layout),
            *(f"lam{i} = buffer[{i}, :n]" for i in lam),
            *(f"start{i} = lam{i}_init[r, a:b]" for i in lam),
            *(f"{name} = {name}_all[0, r, a:b]" for name in sums),
            "for k in range(n):",
            *[f"    lam{i}[k] = start{i}[k]" for i in lam],
            *[f"    {name}[k] = ZERO" for name in sums],
            *([] if states or sums else ["    pass"]),
            "for t in range(steps - 1, -1, -1):",
        ],
        3,
    )
    text += _indent([*per_step, "for k in range(n):"], 4) + _indent(body.lines or ["pass"], 5)
    text += _indent([f"end{i} = lam{i}_last[r, a:b]" for i in lam], 3)
    text += _indent(["for k in range(n):", *([f"    end{i}[k] = lam{i}[k]" for i in lam] or ["    pass"])], 3)
    return text
