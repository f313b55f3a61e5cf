"""Numba source for a traced step and its adjoint: one function per pass over a whole sequence.

Arrays are `[T, R, C]`: R rows share their per-neuron coefficients, C columns lie side by side in
memory. The input of neurons with P inputs is `[T, R, P * C]`, the columns of the first input first. A
chunk of columns keeps its state in the first-level cache while time runs; the innermost loop is over
columns, without calls or index arithmetic, so that LLVM vectorises it. The forward pass allows no
re-association or contraction: it rounds as the reference does.
"""

from __future__ import annotations

from collections.abc import Sequence

from rheobase.kernels.adjoint import Adjoint
from rheobase.kernels.source import (
    BACKWARDS,
    CHUNK,
    HEADER,
    Incoming,
    Layout,
    adjoint_body,
    explain,
    forward_body,
    indent,
    slices_of,
)
from rheobase.kernels.trace import Trace

#: What a thread works on: some of the rows, or some columns of the only row.
PART = [
    "buffer = buffers[thread]",
    "rows, columns = out_all.shape[1], out_all.shape[2]",
    "row_low, row_high = (low, high) if rows > 1 else (0, 1)",
    "left, right = (0, columns) if rows > 1 else (low, high)",
]


def forward_source(t: Trace, layout: Layout, saved: Sequence[int], title: str) -> str:
    """The forward kernel.

    Arguments: current, initial states, coefficients, then the arrays to fill: emitted, one per
    recorded state, one per saved value, final states; then working memory, steps and the part.
    """
    carried = [f"s_{name}" for name in t.states]
    filled = ["out", *(f"r_{name}" for name in layout.record), *(f"kept{i}" for i in range(len(saved)))]
    return _kernel(
        "forward",
        header=HEADER.format(title=title, explanation=explain(t), dtype=layout.dtype, flags=""),
        args=[
            "current_all",
            *(f"{name}_init" for name in carried),
            *_coefficient_args(layout),
            *(f"{name}_all" for name in filled),
            *(f"{name}_last" for name in carried),
        ],
        layout=layout,
        ports=len(t.inputs),
        carried=carried,
        fixed=_fetch(t, "", "0") if layout.constant else [],
        sums=[],
        backwards=False,
        per_step=[*([] if layout.constant else _fetch(t, "", "t")), *_over_time(filled)],
        body=forward_body(t, layout, saved),
    )


def backward_source(
    t: Trace, adj: Adjoint, layout: Layout, saved: Sequence[int], incoming: Incoming, title: str
) -> str:
    """The backward kernel.

    Arguments: current, emitted, recorded states, saved values, coefficients; the derivatives by
    what was emitted, by each trace in `incoming.traces`, by the final states; then the arrays to
    fill: by the current, by the initial states, by each wanted coefficient (per row and column);
    then working memory, steps and the part.
    """
    body, read = adjoint_body(t, adj, layout, saved, incoming)
    carried = [f"lam_{name}" for name in t.states]
    kept = ["out", *(f"r_{name}" for name in layout.record), *(f"kept{i}" for i in range(len(saved)))]
    gradients = [*(["g_out"] if incoming.emitted else []), *(f"g_{name}" for name in incoming.traces)]
    varying = gradients[1:] if incoming.uniform else gradients
    by_current = ["by_current"] if incoming.current else []
    by_coefficient = [f"by_c{j}" for j in incoming.coefficients]
    flags = ', fastmath={"contract", "reassoc", "nsz"}'
    pieces = slices_of(t).values()
    reads = [line for line in _fetch(t, "", "0" if layout.constant else "t") if line.split(" ")[0] in read]
    fills = _fetch(t, "by_", "0" if layout.constant else "t") if incoming.current else []
    sums = [*by_coefficient, *(f"by_{piece}" for piece in pieces if layout.constant and incoming.current)]
    return _kernel(
        "backward",
        header=HEADER.format(title=title, explanation=explain(t), dtype=layout.dtype, flags=flags),
        args=[
            "current_all",
            *(f"{name}_all" for name in kept),
            *_coefficient_args(layout),
            *(name if name not in varying else f"{name}_all" for name in gradients),
            *(f"{name}_init" for name in carried),
            *(f"{name}_all" for name in by_current),
            *(f"{name}_last" for name in carried),
            *(f"{name}_all" for name in by_coefficient),
        ],
        layout=layout,
        ports=len(t.inputs),
        carried=carried,
        fixed=[
            *(f"{name} = {name}_all[0, r, a:b]" for name in by_coefficient),
            *([*reads, *fills] if layout.constant else []),
        ],
        sums=sums,
        backwards=True,
        per_step=[
            *([] if layout.constant else [*reads, *fills]),
            *_over_time([name for name in (*read, *varying) if name not in pieces]),
        ],
        body=body,
    )


def _kernel(
    function: str,
    *,
    header: str,
    args: Sequence[str],
    layout: Layout,
    ports: int,
    carried: Sequence[str],
    fixed: Sequence[str],
    sums: Sequence[str],
    backwards: bool,
    per_step: Sequence[str],
    body: Sequence[str],
) -> str:
    """The loops around a body: rows, chunks of columns, time, columns.

    `carried` variables go from step to step: from `<name>_init` to `<name>_last`. `fixed` are slices
    that serve all steps; those named in `sums` are filled over time.
    """
    pieces = [f"c{j} = c{j}_all[a:b]" for j, kind in enumerate(layout.kinds) if kind == "v"]
    pieces += [f"{name} = buffer[{i}, :n]" for i, name in enumerate(carried)]
    pieces += [f"{name}_start = {name}_init[r, a:b]" for name in carried]
    pieces += fixed
    start = [f"{name}[k] = {name}_start[k]" for name in carried] + [f"{name}[k] = ZERO" for name in sums]
    end = [f"{name}_end[k] = {name}[k]" for name in carried]
    signature = ", ".join([*args, "buffers", "steps", "thread", "low", "high"])
    return (
        f"{header}def {function}({signature}):\n"
        + indent([f"size = current_all.shape[2] // {ports}"] if ports > 1 else [], 1)
        + indent(PART, 1)
        + indent(["for r in range(row_low, row_high):"], 1)
        + indent([f"for a in range(left, right, {CHUNK}):"], 2)
        + indent([f"b = min(a + {CHUNK}, right)", "n = b - a", *pieces, "for k in range(n):"], 3)
        + indent(start or ["pass"], 4)
        + indent(["for step in range(steps):"], 3)
        + indent([BACKWARDS if backwards else "t = step", *per_step, "for k in range(n):"], 4)
        + indent(body or ["pass"], 5)
        + indent([f"{name}_end = {name}_last[r, a:b]" for name in carried], 3)
        + indent(["for k in range(n):"], 3)
        + indent(end or ["pass"], 4)
    )


def _coefficient_args(layout: Layout) -> list[str]:
    return [f"c{j}_all" if kind == "v" else f"c{j}" for j, kind in enumerate(layout.kinds)]


def _over_time(names: Sequence[str]) -> list[str]:
    return [f"{name} = {name}_all[t, r, a:b]" for name in names]


def _fetch(t: Trace, prefix: str, time: str) -> list[str]:
    """Statements that slice each input's chunk at a time from `<prefix>current_all`."""
    starts = ["", "size + ", *(f"{p} * size + " for p in range(2, len(t.inputs)))]
    return [
        f"{prefix}{name} = {prefix}current_all[{time}, r, {start}a:{start}b]"
        for name, start in zip(slices_of(t).values(), starts, strict=False)
    ]
