"""The loops of the recurrent kernels over time and samples, as text around the neurons' own equations.

See `rheobase.kernels.recurrent_source`, which fills them in: `step`, a group's equations; `current`, where
the currents come from; `behind` and `given`, the connection behind; `tally`, gradients event by event.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from rheobase.kernels import vectors

#: Steps for which rows are held at most whose share in a weight gradient is added up at once (see
#: `rheobase.kernels.sheaves`).
HELD = 8

#: Steps that a window of past values moves before it is copied back to the start of its buffer.
SLACK = 64


#: `moving` is 0 where the input does not change in time. Samples are run in `parts`, of one block or more.
ENDS = ["depth", "moving", "low_step", "high_step", "batch", "parts", "thread", "low_part", "high_part"]
CONNECTIONS = {"dense": ["weights", "delay"], "taps": ["weights", "offsets", "starts", "longest"]}


class Around(NamedTuple):
    """What a kernel does besides the neurons.

    Attributes:
        before: Whether the currents are made from inputs, by a dense connection.
        behind: Whether a dense connection behind the neurons is run, too.
        given: Whether derivatives by what was emitted come in (backward).
        tally: Whether the gradient of the recurrent weights is summed (backward, "dense" only), and how: each
            event by itself, or those of several steps together. Empty if not.
    """

    before: bool = False
    behind: bool = False
    given: bool = True
    tally: Literal["", "each", "together"] = ""


class Sizes(NamedTuple):
    """Numbers that settle how much memory a thread works in.

    Attributes:
        size: The number of neurons.
        columns: Their number of inputs.
        longest: The longest delay in steps.
        itemsize: Bytes of a number.
        inputs: Inputs of the connection before.
        outputs: Outputs of the connection behind.
    """

    size: int = 1
    columns: int = 1
    longest: int = 1
    itemsize: int = 4
    inputs: int = 0
    outputs: int = 0


def working_memory(
    direction: str, way: str, around: Around, n: Sizes
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Names of the arrays that a kernel works in, with their kind and their shape for each thread.

    "F" is the computation's own dtype.
    """
    forward = direction == "forward"
    lanes, window = vectors.lanes(n.itemsize), n.longest + max(SLACK, n.longest)
    reach, width = n.size + 64, vectors.padded(n.columns, n.itemsize)  # read in whole vectors, beyond the end
    memory: dict[str, tuple[str, tuple[int, ...]]]
    if way == "taps":
        here, there = (n.columns, n.size) if forward else (n.size, n.columns)
        memory = {
            "past_all": ("F", (window * there * lanes,)),
            "pulled_all": ("F", (here * lanes,)),
            "row_all": ("F", (vectors.padded(here, n.itemsize),)),
        }
    elif forward:
        memory = {
            "y_rows": ("F", (4, width)),
            "z_rows": ("F", (4, reach)),
            "either_all": ("F", (reach,)),
            "found_rows": ("int32", (5, reach)),
            "counts_all": ("int64", (4,)),
        }
    else:
        memory = {
            "g_rows": ("F", (4, vectors.padded(n.size, n.itemsize))),
            "everyone_all": ("int32", (n.columns,)),
        }
    if around.before:
        memory["active_row"] = ("int32", (vectors.padded(n.inputs, 4) + lanes,))
    if around.tally == "together":
        memory["sheaf_rows"] = ("int64", (2, vectors.PAIRS))
        memory["words_row"] = ("int32", (reach,))
    if around.behind or around.tally == "each":
        memory["firing_row"] = ("int32", (reach,))
    if around.behind:
        memory["sums_row"] = ("F", (vectors.padded(n.outputs, n.itemsize),))
    if around.behind and not forward:
        memory["outputs_row"] = ("int32", (n.outputs,))
    return memory


def work_names(direction: str, way: str, around: Around) -> list[str]:
    return list(working_memory(direction, way, around, Sizes()))


def prologue(way: str, around: Around, *, forward: bool) -> list[str]:
    """Before the first part: a thread's memory by its names, and lists that do not change."""
    block = "4" if way == "dense" else "LANES"
    lines = [f"blocks = (batch + {block} - 1) // {block}", "size = out_all.shape[2]"]
    if around.before:
        lines += ["inputs, active = current_all.shape[2], active_row[thread]"]
    if around.tally == "together":
        lines += ["sheaf, words, tied, held = sheaf_rows[thread], words_row[thread], 0, 0"]
    if around.behind or around.tally == "each":
        lines += ["firing = firing_row[thread]"]
    if around.behind:
        lines += [f"outputs = {'' if forward else 'g_'}sums_all.shape[2]", "sums = sums_row[thread]"]
    if around.behind and not forward:
        lines += ["all_outputs = outputs_row[thread]", "for k in range(outputs):", "    all_outputs[k] = k"]
    return lines


def tallies(around: Around) -> list[str]:
    """At step t of sample r, once `by` is known: each event's share in the weights' gradients."""
    lines = ["by = by_all[t % window, r]"] if around.before or around.tally == "each" else []
    if around.before:
        lines += [*_ARRIVED, "spread_rows(active, count, x, by, tally_before[part])"]
        lines += ["total = tally_before[part, inputs]", "for k in range(columns):", "    total[k] += by[k]"]
    if around.tally == "each":
        lines += [*_emitted("t - delay"), "spread_rows(firing, count, z, by, tally_weights[part])"]
    if around.tally == "together":
        lines += [
            "sheaf[0, tied] = ((depth + t - delay) * batch + r) * size",
            "sheaf[1, tied] = (t % window * batch + r) * columns",
            "tied += 1",
            f"if tied == {vectors.PAIRS}:",
            f"    {_SPREAD}",
            "    tied = 0",
        ]
    if around.behind:
        lines += ["g_sums, total = g_sums_all[t, r], tally_behind[part, size]"]
        lines += ["for k in range(outputs):", "    sums[k] = g_sums[k]", "    total[k] += g_sums[k]"]
        lines += [*_emitted("t"), "spread_rows(firing, count, z, sums, tally_behind[part])"]
    return lines


def tied(around: Around) -> list[str]:
    """After a step: pairs of rows that are held are added up, before they are written over."""
    if around.tally != "together":
        return []
    return [
        "held += 1",
        f"if held >= window - 1 or tied + high - low > {vectors.PAIRS} or t == low_step:",
        f"    {_SPREAD}",
        "    tied, held = 0, 0",
    ]


def _emitted(step: str) -> list[str]:
    """What a sample's neurons emitted at a step, and where it is not zero."""
    return [f"z = out_all[depth + {step}, r]", "count = find(z, size, firing)"]


_SPREAD = "spread_sheaf(out_all, by_all, sheaf, tied, words, size, tally_weights[part])"
_ARRIVED = ["x = current_all[t, r]", "count = find(x, inputs, active)"]
CURRENT = ["x = current_all[t * moving, r]", "for k in range(columns):", "    y[k] = x[k]"]
CURRENT_BEFORE = [
    *_ARRIVED,
    "bias = weights_before[inputs]",
    "for k in range(columns):",
    "    y[k] = bias[k]",
    "add_rows(active, count, x, weights_before, y)",
]
BEHIND = [
    *_emitted("t"),
    "bias = weights_behind[size]",
    "for k in range(outputs):",
    "    sums[k] = bias[k]",
    "add_rows(firing, count, z, weights_behind, sums)",
    "to = sums_all[t, r]",
    "for k in range(outputs):",
    "    to[k] = sums[k]",
]
GIVEN = ["given = g_out_all[t, r]", "for k in range(size):", "    g_all[k] = given[k]"]
NOTHING = ["for k in range(size):", "    g_all[k] = ZERO"]
FROM_BEHIND = ["add_rows(all_outputs, outputs, g_sums_all[t, r], weights_behind, g_all)"]

FORWARD = {
    "dense": """\
    columns = {columns}
    y_all, z_all, either = y_rows[thread], z_rows[thread], either_all[thread]
    found, together, counts = found_rows[thread], found_rows[thread, 4], counts_all[thread]
    for part in range(low_part, high_part):
        low, high = part * blocks // parts * 4, min((part + 1) * blocks // parts * 4, batch)
        for t in range(low_step, high_step):
            for first in range(low, high, 4):
                last = min(first + 4, high)
                for i in range(last - first, 4):
                    for k in range(size):
                        z_all[i, k] = ZERO
                for r in range(first, last):
                    z = out_all[depth + t - delay, r]
                    y = y_all[r - first]
                    row = z_all[r - first]
                    for k in range(size):
                        row[k] = z[k]
{current}
                for k in range(size):
                    either[k] = abs(z_all[0, k]) + abs(z_all[1, k]) + abs(z_all[2, k]) + abs(z_all[3, k])
                rows = find(either, size, together)
                alone = False
                if weights.size * weights.itemsize <= {cache}:
                    events = 0
                    for i in range(last - first):
                        counts[i] = find(z_all[i], size, found[i])
                        events += counts[i]
                    alone = rows > {shared} * events
                if alone:
                    for i in range(last - first):
                        add_rows(found[i], counts[i], z_all[i], weights, y_all[i])
                else:
                    multiply(z_all, 0, last - first, together, rows, weights, y_all)
                for r in range(first, last):
                    y = y_all[r - first]
{step}{behind}""",
    "taps": """\
    columns = {columns}
    past, pulled, y = past_all[thread], pulled_all[thread], row_all[thread]
    move = past.shape[0] // (size * LANES) - longest
    for part in range(low_part, high_part):
        low, high = part * blocks // parts * LANES, min((part + 1) * blocks // parts * LANES, batch)
        for first in range(low, high, LANES):
            last = min(first + LANES, high)
            for d in range(longest):
                for r in range(first, last):
                    z = out_all[depth + low_step - longest + d, r]
                    for k in range(size):
                        past[(d * size + k) * LANES + r - first] = z[k]
            at = longest
            for t in range(low_step, high_step):
                if at == longest + move:
                    for k in range(longest * size * LANES):
                        past[k] = past[move * size * LANES + k]
                    at = longest
                for i in range(columns):
                    add_taps(
                        weights, offsets, starts[i], starts[i + 1], past, at * size * LANES, pulled, i * LANES
                    )
                for r in range(first, last):
{current}
                    for k in range(columns):
                        y[k] += pulled[k * LANES + r - first]
{step}
                    z = out_all[depth + t, r]
                    for k in range(size):
                        past[(at * size + k) * LANES + r - first] = z[k]
{behind}
                at += 1
""",
}

BACKWARD = {
    "dense": """\
    steps, window, columns = out_all.shape[0] - depth, by_all.shape[0], by_all.shape[2]
    rows, everyone = g_rows[thread], everyone_all[thread]
    for k in range(columns):
        everyone[k] = k
    for part in range(low_part, high_part):
        low, high = part * blocks // parts * 4, min((part + 1) * blocks // parts * 4, batch)
        for step in range(high_step - low_step):
            t = high_step - 1 - step
            for first in range(low, high, 4):
                last = min(first + 4, high)
                for r in range(first, last):
                    g_all = rows[r - first]
{given}
                if t + delay < steps:
                    multiply(by_all[(t + delay) % window], first, last, everyone, columns, weights, rows)
                for r in range(first, last):
                    g_all = rows[r - first]
{step}{tally}{tied}""",
    "taps": """\
    steps, window, columns = out_all.shape[0] - depth, by_all.shape[0], by_all.shape[2]
    past, pulled, g_all = past_all[thread], pulled_all[thread], row_all[thread]
    move = past.shape[0] // (columns * LANES) - longest
    for part in range(low_part, high_part):
        low, high = part * blocks // parts * LANES, min((part + 1) * blocks // parts * LANES, batch)
        for first in range(low, high, LANES):
            last = min(first + LANES, high)
            for d in range(longest):
                t = high_step + longest - 1 - d
                for r in range(first, last):
                    by = by_all[t % window, r]
                    for k in range(columns):
                        past[(d * columns + k) * LANES + r - first] = by[k] if t < steps else ZERO
            at = longest
            for step in range(high_step - low_step):
                t = high_step - 1 - step
                if at == longest + move:
                    for k in range(longest * columns * LANES):
                        past[k] = past[move * columns * LANES + k]
                    at = longest
                for j in range(size):
                    add_taps(
                        weights,
                        offsets,
                        starts[j],
                        starts[j + 1],
                        past,
                        at * columns * LANES,
                        pulled,
                        j * LANES,
                    )
                for r in range(first, last):
{given}
                    for k in range(size):
                        g_all[k] += pulled[k * LANES + r - first]
{step}
                    by = by_all[t % window, r]
                    for k in range(columns):
                        past[(at * columns + k) * LANES + r - first] = by[k]
{tally}
                at += 1
""",
}
