"""Numba source for neurons and the small dense connection behind them, in one.

The layer's whole-sequence tensors (what it emitted, what its adjoint needs, the derivative by what it
emitted) never exist: a chunk of columns of one sample is run over all steps with its values in the
first- or second-level cache, and each step's weighted sums are made on the spot. The backward kernel
runs the chunk forward again, then back. All loops over columns vectorise.
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

#: The chunk: small enough that `steps` rows of it stay in the cache.
SIZE = "max(64, min(1024, CACHED // steps // 16 * 16))"

PRELUDE = """
CACHED = 16384  # elements of one array that is kept over a chunk


# Five rows at a time: each value is loaded once for five products.
@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
def add_dots(x, weights, a, b, total):
    # total[j] += sum_k x[k] weights[j, a + k]
    j = 0
    while j + 5 <= weights.shape[0]:
        w0, w1, w2 = weights[j, a:b], weights[j + 1, a:b], weights[j + 2, a:b]
        w3, w4 = weights[j + 3, a:b], weights[j + 4, a:b]
        s0, s1, s2, s3, s4 = ZERO, ZERO, ZERO, ZERO, ZERO
        for k in range(x.shape[0]):
            s0 += x[k] * w0[k]
            s1 += x[k] * w1[k]
            s2 += x[k] * w2[k]
            s3 += x[k] * w3[k]
            s4 += x[k] * w4[k]
        total[j] += s0
        total[j + 1] += s1
        total[j + 2] += s2
        total[j + 3] += s3
        total[j + 4] += s4
        j += 5
    while j < weights.shape[0]:
        w0 = weights[j, a:b]
        s0 = ZERO
        for k in range(x.shape[0]):
            s0 += x[k] * w0[k]
        total[j] += s0
        j += 1


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def add_rows(factors, rows, a, b, y):
    # y[k] += sum_j factors[j] rows[j, a + k]
    j = 0
    while j + 5 <= rows.shape[0]:
        w0, w1, w2 = rows[j, a:b], rows[j + 1, a:b], rows[j + 2, a:b]
        w3, w4 = rows[j + 3, a:b], rows[j + 4, a:b]
        f0, f1, f2, f3, f4 = factors[j], factors[j + 1], factors[j + 2], factors[j + 3], factors[j + 4]
        for k in range(y.shape[0]):
            y[k] += f0 * w0[k] + f1 * w1[k] + f2 * w2[k] + f3 * w3[k] + f4 * w4[k]
        j += 5
    while j < rows.shape[0]:
        w0 = rows[j, a:b]
        f0 = factors[j]
        for k in range(y.shape[0]):
            y[k] += f0 * w0[k]
        j += 1


"""


def _header(t: Trace, layout: Layout, title: str) -> str:
    text = HEADER.format(title=title, explanation=explain(t), dtype=layout.dtype, flags="")
    constants, decorator = text.rsplit("\n@numba", 1)
    return f"{constants.rstrip()}\n{PRELUDE}@numba{decorator}"


def _coefficients(layout: Layout) -> tuple[list[str], list[str]]:
    """Arguments, and what is sliced from them per chunk."""
    kinds = list(enumerate(layout.kinds))
    args = [f"c{j}_all" if kind == "v" else f"c{j}" for j, kind in kinds]
    return args, [f"c{j} = c{j}_all[a:b]" for j, kind in kinds if kind == "v"]


def forward_into_source(t: Trace, layout: Layout, title: str) -> str:
    """The forward kernel.

    Arguments: current, initial states, coefficients, weights `[J, N]`, the sums to add to `[T, R, J]`,
    final states, steps, first and last row.
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
        "steps",
        "row_low",
        "row_high",
    ]
    fetch = "current = current_all[{}, r, a:b]"
    chunk = [
        "b = min(a + size, columns)",
        "n = b - a",
        *slices,
        *([fetch.format(0)] if layout.constant else []),
        *(f"{name} = buffer[{i}, :n]" for i, name in enumerate(carried)),
        *(f"{name}_start = {name}_init[r, a:b]" for name in carried),
        "out = emitted[:n]",
    ]
    return (
        _header(t, layout, title)
        + f"def forward({', '.join(args)}):\n"
        + indent(
            [
                "columns = weights.shape[1]",
                f"size = {SIZE}",
                f"buffer = np.empty(({max(len(carried), 1)}, size), F)",
                "emitted = np.empty(size, F)",
                "for r in range(row_low, row_high):",
                "    for a in range(0, columns, size):",
            ],
            1,
        )
        + indent([*chunk, "for k in range(n):"], 3)
        + indent([f"{name}[k] = {name}_start[k]" for name in carried] or ["pass"], 4)
        + indent(["for t in range(steps):"], 3)
        + indent([*([] if layout.constant else [fetch.format("t")]), "for k in range(n):"], 4)
        + indent(forward_body(t, layout, ()), 5)
        + indent(["add_dots(out, weights, a, b, sums[t, r])"], 4)
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
    weights `[parts, J, N]` (zero at the start), by each wanted coefficient; then steps, first and last part.
    """
    states = list(t.states)
    lam = [f"lam_{name}" for name in states]
    coefficients, slices = _coefficients(layout)
    by_current = ["by_current"] if incoming.current else []
    by_coefficient = [f"by_c{j}" for j in incoming.coefficients]
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
        "steps",
        "part_low",
        "part_high",
    ]
    booleans = {i for i, n in enumerate(saved) if t.tape.is_boolean(n)}
    kept = [f"kept{i}" for i in range(len(saved))]
    rows = [
        "columns = weights.shape[1]",
        "rows = by_sums.shape[1]",
        "parts = by_weights.shape[0]",
        f"size = {SIZE}",
        f"buffer = np.empty(({max(len(states), 1)}, size), F)",
        "g_out_buffer = np.empty(size, F)",
        "by_sum = np.empty(steps, F)",
        "out_all = np.empty((steps, size), F)",
        *(
            f"{name}_all = np.empty((steps, size), {'np.bool_' if i in booleans else 'F'})"
            for i, name in enumerate(kept)
        ),
        "for part in range(part_low, part_high):",
        "    for r in range(part * rows // parts, (part + 1) * rows // parts):",
        "        for a in range(0, columns, size):",
    ]
    sums = [*by_coefficient, *(by_current if layout.constant else [])]
    chunk = [
        "b = min(a + size, columns)",
        "n = b - a",
        *slices,
        *(["current = current_all[0, r, a:b]"] if layout.constant else []),
        *(f"s_{name} = buffer[{i}, :n]" for i, name in enumerate(states)),
        *(f"s_{name}_start = s_{name}_init[r, a:b]" for name in states),
        *(f"{name}_start = {name}_init[r, a:b]" for name in lam),
        *(f"{name} = {name}_all[0, r, a:b]" for name in sums),
    ]
    fetch = [] if layout.constant else ["current = current_all[t, r, a:b]"]
    step = [f"{name} = {name}_all[t, :n]" for name in ("out", *kept)]
    changing = [] if layout.constant else [f"{name} = {name}_all[t, r, a:b]" for name in by_current]
    zeros = [f"{name}[k] = ZERO" for name in sums]
    body, _ = adjoint_body(t, adj, layout, saved, incoming)
    return (
        # No contraction: the forward steps that are run again must round as they did.
        _header(t, layout, title)
        + f"def backward({', '.join(args)}):\n"
        + indent(rows, 1)
        + indent([*chunk, "for k in range(n):"], 4)
        + indent([*(f"s_{n}[k] = s_{n}_start[k]" for n in states), *zeros] or ["pass"], 5)
        + indent(["for t in range(steps):"], 4)
        + indent([*fetch, *step, "for k in range(n):"], 5)
        + indent(forward_body(t, layout, saved), 6)
        + indent([f"lam_{name} = buffer[{i}, :n]" for i, name in enumerate(states)], 4)
        + indent(["for k in range(n):"], 4)
        + indent([f"{name}[k] = {name}_start[k]" for name in lam] or ["pass"], 5)
        + indent(["g_out = g_out_buffer[:n]", "for step in range(steps):"], 4)
        + indent([BACKWARDS, *fetch, *step, *changing, "for k in range(n):", "    g_out[k] = ZERO"], 5)
        + indent(["add_rows(by_sums[t, r], weights, a, b, g_out)", "for k in range(n):"], 5)
        + indent(body or ["pass"], 6)
        + indent(["for j in range(weights.shape[0]):"], 4)
        + indent(["for t in range(steps):", "    by_sum[t] = by_sums[t, r, j]"], 5)
        + indent(["add_rows(by_sum, out_all, 0, n, by_weights[part, j, a:b])"], 5)
        + indent([f"{name}_end = {name}_last[r, a:b]" for name in lam], 4)
        + indent(["for k in range(n):"], 4)
        + indent([f"{name}_end[k] = {name}[k]" for name in lam] or ["pass"], 5)
    )
