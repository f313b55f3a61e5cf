"""Numba source for neurons and the small dense connection behind them, in one.

The layer's whole-sequence tensors (what it emitted, what its adjoint needs, the derivative by what it
emitted) never exist: a chunk of columns of one sample is run over all steps with its values in the
second-level cache, and its share of the weighted sums is made on the spot, in blocks of registers. The
backward kernel runs the chunk forward again, then back. All loops over columns vectorise, and what they read
or write at every step lies on whole cache lines: the weights are N wide, rounded up to `LINE`.
"""

from __future__ import annotations

from collections.abc import Sequence

from rheobase.kernels.adjoint import Adjoint
from rheobase.kernels.source import (
    BACKWARDS,
    HEADER,
    Incoming,
    Layout,
    adjoint_body,
    explain,
    forward_body,
    indent,
)
from rheobase.kernels.trace import Trace

#: Values of a cache line; rows of what is read at every step begin on one.
LINE = 16

#: Rows of a block of products: 5 x 5 values stay in registers, for 10 that are loaded.
BLOCK = 5

_PRELUDE = """
# Blocks of {block} x {block}: each value is loaded once for {block} products.
@numba.njit(nogil=True, error_model="numpy", fastmath={{"contract", "reassoc", "nsz"}})
def add_dots(x, weights, a, b, sums, r):
    # sums[t, r, j] += sum_k x[t, k] weights[j, a + k]
    n = b - a
    steps, rows = x.shape[0], weights.shape[0]
    t_end, j_end = steps // {block} * {block}, rows // {block} * {block}
    for t in range(0, t_end, {block}):
{load_x}
        for j in range(0, j_end, {block}):
{load_w}
{zeros}
            for k in range(n):
{dots}
{store}
    for t in range(steps):
        x0 = x[t, :n]
        for j in range(j_end if t < t_end else 0, rows):
            w0 = weights[j, a:b]
            s00 = ZERO
            for k in range(n):
                s00 += x0[k] * w0[k]
            sums[t, r, j] += s00


@numba.njit(nogil=True, error_model="numpy", fastmath={{"contract"}})
def add_rows(factors, rows, a, y, c, m):
    # y[i, c + k] += sum_j factors[i, j] rows[j, a + k]; k runs to 16 m: a rest would take registers
    n = 16 * m
    i_end, j_end = y.shape[0] // {block} * {block}, rows.shape[0] // {block} * {block}
    for i in range(0, i_end, {block}):
{load_y}
        for j in range(0, j_end, {block}):
{load_rows}
{load_factors}
            for k in range(n):
{products}
    for i in range(y.shape[0]):
        y0 = y[i, c : c + n]
        for j in range(j_end if i < i_end else 0, rows.shape[0]):
            w0 = rows[j, a : a + n]
            f00 = factors[i, j]
            for k in range(n):
                y0[k] += f00 * w0[k]


"""


def _prelude() -> str:
    """The products' source, its blocks written out."""
    one = range(BLOCK)
    both = [(i, j) for i in one for j in one]
    terms = {i: " + ".join(f"f{i}{j} * w{j}[k]" for j in one) for i in one}
    lines: dict[str, tuple[int, list[str]]] = {
        "load_x": (2, [f"x{i} = x[t + {i}, :n]" for i in one]),
        "load_w": (3, [f"w{j} = weights[j + {j}, a:b]" for j in one]),
        "zeros": (3, [f"{' = '.join(f's{i}{j}' for j in one)} = ZERO" for i in one]),
        "dots": (4, [f"s{i}{j} += x{i}[k] * w{j}[k]" for i, j in both]),
        "store": (3, [f"sums[t + {i}, r, j + {j}] += s{i}{j}" for i, j in both]),
        "load_y": (2, [f"y{i} = y[i + {i}, c : c + n]" for i in one]),
        "load_rows": (3, [f"w{j} = rows[j + {j}, a : a + n]" for j in one]),
        "load_factors": (3, [f"f{i}{j} = factors[i + {i}, j + {j}]" for i, j in both]),
        "products": (4, [f"y{i}[k] = y{i}[k] + {terms[i]}" for i in one]),
    }
    text = {name: indent(part, by).rstrip("\n") for name, (by, part) in lines.items()}
    return _PRELUDE.format(block=BLOCK, **text)


def _header(t: Trace, layout: Layout, title: str) -> str:
    text = HEADER.format(title=title, explanation=explain(t), dtype=layout.dtype, flags="")
    constants, decorator = text.rsplit("\n@numba", 1)
    return f"{constants.rstrip()}\n{_prelude()}@numba{decorator}"


def _coefficients(layout: Layout) -> tuple[list[str], list[str]]:
    """Arguments, and what is sliced from them per chunk."""
    kinds = list(enumerate(layout.kinds))
    args = [f"c{j}_all" if kind == "v" else f"c{j}" for j, kind in kinds]
    return args, [f"c{j} = c{j}_all[a:b]" for j, kind in kinds if kind == "v"]


def forward_into_source(t: Trace, layout: Layout, title: str) -> str:
    """The forward kernel.

    Arguments: current, initial states, coefficients, weights `[J, N]`, the sums to add to `[T, R, J]`,
    final states; working memory per thread: the carried states, what is emitted; then steps and the part
    of the rows.
    """
    carried = [f"s_{name}" for name in t.states]
    coefficients, slices = _coefficients(layout)
    args = [
        "current_all",
        *(f"{name}_init" for name in carried),
        *coefficients,
        "weights",
        "sums",
        *(f"{name}_last" for name in carried),
        "buffers",
        "emitted",
        "steps",
        "thread",
        "low",
        "high",
    ]
    constant = ["current"] if layout.constant else []
    chunk = [
        "a = piece * size",
        "b = min(a + size, columns)",
        "n = b - a",
        *slices,
        *(["given = current_all[0, r, a:b]"] if layout.constant else []),
        *(f"{name} = buffer[{i}, :n]" for i, name in enumerate([*carried, *constant])),
        *(f"{name}_start = {name}_init[r, a:b]" for name in carried),
    ]
    first = [f"{name}[k] = {name}_start[k]" for name in carried] + [
        f"{name}[k] = given[k]" for name in constant
    ]
    return (
        _header(t, layout, title)
        + f"def forward({', '.join(args)}):\n"
        + indent(
            [
                "columns = current_all.shape[2]",
                "buffer, out_all = buffers[thread], emitted[thread]",
                "size = out_all.shape[1]",
                "for r in range(low, high):",
                "    for piece in range((columns + size - 1) // size):",
            ],
            1,
        )
        + indent([*chunk, "for k in range(n):"], 3)
        + indent(first or ["pass"], 4)
        + indent(["for t in range(steps):"], 3)
        + indent([*([] if constant else ["current = current_all[t, r, a:b]"]), "out = out_all[t, :n]"], 4)
        + indent(["for k in range(n):"], 4)
        + indent(forward_body(t, layout, ()), 5)
        + indent(["add_dots(out_all, weights, a, b, sums, r)"], 3)
        + indent([f"{name}_end = {name}_last[r, a:b]" for name in carried], 3)
        + indent(["for k in range(n):"], 3)
        + indent([f"{name}_end[k] = {name}[k]" for name in carried] or ["pass"], 4)
    )


def backward_into_source(
    t: Trace, adj: Adjoint, layout: Layout, saved: Sequence[int], incoming: Incoming, title: str
) -> str:
    """The backward kernel.

    Arguments: current, initial states, coefficients, weights `[J, N]`; derivatives by the sums
    `[T, R, J]` and by the final states; then to fill: by the current, by the initial states, by the
    weights `[parts, J, N]` (zero at the start), by each wanted coefficient; working memory per thread: the
    carried states, what is emitted, its derivative, saved values; then steps and which of the parts.
    """
    states = list(t.states)
    lam = [f"lam_{name}" for name in states]
    coefficients, slices = _coefficients(layout)
    by_current = ["by_current"] if incoming.current else []
    by_coefficient = [f"by_c{j}" for j in incoming.coefficients]
    kept = [f"kept{i}" for i in range(len(saved))]
    worked = ["out", "g_out", *kept]
    args = [
        "current_all",
        *(f"s_{name}_init" for name in states),
        *coefficients,
        "weights",
        "by_sums",
        *(f"{name}_init" for name in lam),
        *(f"{name}_all" for name in by_current),
        *(f"{name}_last" for name in lam),
        "by_weights",
        *(f"{name}_all" for name in by_coefficient),
        "buffers",
        *(f"{name}_of" for name in worked),
        "steps",
        "thread",
        "low",
        "high",
    ]
    rows = [
        "columns = current_all.shape[2]",
        "rows = by_sums.shape[1]",
        "parts = by_weights.shape[0]",
        "buffer = buffers[thread]",
        *(f"{name}_all = {name}_of[thread]" for name in worked),
        "size = out_all.shape[1]",
        "for part in range(low, high):",
        "    for r in range(part * rows // parts, (part + 1) * rows // parts):",
        "        for piece in range((columns + size - 1) // size):",
    ]
    sums = [*by_coefficient, *(by_current if layout.constant else [])]
    constant = ["current"] if layout.constant else []
    chunk = [
        "a = piece * size",
        "b = min(a + size, columns)",
        "n = b - a",
        "m = (n + 15) // 16",
        *slices,
        *(["given = current_all[0, r, a:b]"] if layout.constant else []),
        *(f"{name} = buffer[{len(states) + i}, :n]" for i, name in enumerate([*sums, *constant])),
        *(f"s_{name} = buffer[{i}, :n]" for i, name in enumerate(states)),
        *(f"s_{name}_start = s_{name}_init[r, a:b]" for name in states),
        *(f"{name}_start = {name}_init[r, a:b]" for name in lam),
    ]
    fetch = [] if layout.constant else ["current = current_all[t, r, a:b]"]
    step = [f"{name} = {name}_all[t, :n]" for name in ("out", *kept)]
    changing = [] if layout.constant else [f"{name} = {name}_all[t, r, a:b]" for name in by_current]
    start = [f"s_{n}[k] = s_{n}_start[k]" for n in states]
    start += [f"{name}[k] = ZERO" for name in sums] + [f"{name}[k] = given[k]" for name in constant]
    ends = [f"{name}_end = {name}_last[r, a:b]" for name in lam]
    ends += [f"{name}_end = {name}_all[0, r, a:b]" for name in sums]
    body, _ = adjoint_body(t, adj, layout, saved, incoming)
    return (
        # No contraction: the forward steps that are run again must round as they did.
        _header(t, layout, title)
        + f"def backward({', '.join(args)}):\n"
        + indent(rows, 1)
        + indent([*chunk, "for k in range(n):"], 4)
        + indent(start or ["pass"], 5)
        + indent(["for t in range(steps):"], 4)
        + indent([*fetch, *step, "for k in range(n):"], 5)
        + indent(forward_body(t, layout, saved), 6)
        + indent([f"lam_{name} = buffer[{i}, :n]" for i, name in enumerate(states)], 4)
        + indent(["for k in range(n):"], 4)
        + indent([f"{name}[k] = {name}_start[k]" for name in lam] or ["pass"], 5)
        + indent(["g_out_all[:] = ZERO", "add_rows(by_sums[:, r], weights, a, g_out_all, 0, m)"], 4)
        + indent(["for step in range(steps):"], 4)
        + indent([BACKWARDS, *fetch, *step, "g_out = g_out_all[t, :n]", *changing, "for k in range(n):"], 5)
        + indent(body or ["pass"], 6)
        + indent(["add_rows(by_sums[:, r].T, out_all, 0, by_weights[part], a, m)"], 4)
        + indent([*ends, "for k in range(n):"], 4)
        + indent([f"{name}_end[k] = {name}[k]" for name in (*lam, *sums)] or ["pass"], 5)
    )
