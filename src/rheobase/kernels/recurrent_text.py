"""Pieces of the recurrent kernels' text: currents, the connection behind, gradients event by event.

They go into the loops of `rheobase.kernels.recurrent_frames`: see `rheobase.kernels.recurrent_source`.
"""

from __future__ import annotations

from collections.abc import Sequence

from rheobase.kernels.recurrent_around import Around, lists_events

#: Share of the neurons up to which derivatives get into so few that the others are left out, and after how
#: many steps each one looks whether they are more.
FEW, LOOK = 0.8, 8


#: `moving` is 0 where the input does not change in time. Samples are run in `parts`, of one block or more.
ENDS = ["depth", "moving", "low_step", "high_step", "batch", "parts", "thread", "low_part", "high_part"]
CONNECTIONS = {"dense": ["weights", "delay"], "taps": ["weights", "offsets", "starts", "longest"]}


def prologue(way: str, around: Around, *, forward: bool) -> list[str]:
    """Before the first part: a thread's memory by its names, and lists that do not change."""
    block = "4" if way == "dense" else "LANES"
    lines = [f"blocks = (batch + {block} - 1) // {block}", "size = out_all.shape[2]"]
    if around.before:
        lines += ["inputs, active = current_all.shape[2], active_row[thread]"]
    if around.tally == "together":
        lines += ["sheaf, words, tied, held = sheaf_rows[thread], words_rows[thread], 0, 0"]
        lines += ["sheaf_before = sheaf_before_rows[thread]"] if around.before else []
    lists = lists_events("forward" if forward else "backward", way, around)
    if lists or around.tally == "each":
        lines += ["firing = firing_row[thread]"]
    if around.behind:
        lines += [f"outputs = {'' if forward else 'g_'}sums_all.shape[2]"]
    if lists or (around.behind and forward):
        lines += [f"sums = sums_row{'' if lists else 's'}[thread]"]
    if around.behind and not forward:
        lines += ["all_outputs = outputs_row[thread]", "for k in range(outputs):", "    all_outputs[k] = k"]
    if around.gated:
        lines += ["marks, open = marks_row[thread, : g_rows.shape[2]], open_row[thread]"]
    if around.behind and not forward and way == "dense":
        source = "picked_behind_rows[thread]" if around.gated else "weights_behind"
        lines += [f"from_outputs = {source}"]
    return lines


def tallies(around: Around) -> list[str]:
    """At step t of sample r, once `by` is known: its share in the weights' gradients."""
    together = around.tally == "together"
    lines = ["by = by_all[t % window, r]"] if around.before or around.tally == "each" else []
    if around.before:
        lines += ["total = tally_before[part, inputs]", "for k in range(columns):", "    total[k] += by[k]"]
    if around.before and not together:
        lines += [*_ARRIVED, "spread_rows(active, count, x, by, tally_before[part])"]
    if around.before and together:
        lines += ["sheaf_before[0, tied] = (t * batch + r) * inputs"]
        lines += ["sheaf_before[1, tied] = (t % window * batch + r) * by_all.shape[2]"]
    if around.tally == "each":
        lines += [*_emitted("t - delay"), "spread_rows(firing, count, z, by, tally_weights[part])"]
    if together:
        lines += [
            "sheaf[0, tied] = ((depth + t - delay) * batch + r) * size",
            "sheaf[1, tied] = (t % window * batch + r) * by_all.shape[2]",
            "tied += 1",
            "if tied == sheaf.shape[1]:",
            *indented(_spread(around)),
            "    tied = 0",
        ]
    if around.behind and around.narrow:
        lines += ["g_sums, total = g_sums_all[t, r], tally_behind[part, outputs]"]
        lines += ["for k in range(outputs):", "    total[k] += g_sums[k]"]
        lines += ["spread_rows(all_outputs, outputs, g_sums, out_all[depth + t, r], tally_behind[part])"]
    elif around.behind:
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
        "if held >= window - 1 or tied + high - low > sheaf.shape[1] or t == low_step:",
        *indented(_spread(around)),
        "    tied, held = 0, 0",
    ]


def _spread(around: Around) -> list[str]:
    """Add up the pairs of rows that are held."""
    before = "spread_sheaf(current_all, by_all, sheaf_before, tied, words, inputs, tally_before[part])"
    return [
        "spread_sheaf(out_all, by_all, sheaf, tied, words, size, tally_weights[part])",
        *([before] if around.before else []),
    ]


def _emitted(step: str) -> list[str]:
    """What a sample's neurons emitted at a step, and where it is not zero."""
    return [f"z = out_all[depth + {step}, r]", "count = find(z, size, firing)"]


_ARRIVED = ["x = current_all[t, r]", "count = find(x, inputs, active)"]
CURRENT = ["x = current_all[t * moving, r]", "for k in range(columns):", "    y[k] = x[k]"]
CURRENT_BEFORE = [
    *_ARRIVED,
    "bias = weights_before[inputs]",
    "for k in range(columns):",
    "    y[k] = bias[k]",
    "add_rows(active, count, x, weights_before, y)",
]
#: The connection behind, way "taps": at step t of sample r.
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


def behind_lagging(around: Around) -> tuple[list[str], list[str]]:
    """The connection behind, way "dense": once it is known who fired, when that arrives; then the last steps.

    A block's samples are taken together.
    """
    if not around.behind:
        return [], []
    lines = [
        "for r in range(first, last):",
        "    bias, own = weights_behind[size], sums[r - first]",
        "    for k in range(outputs):",
        "        own[k] = bias[k]",
        "multiply(arrived, first, last, together, rows, weights_behind, weights_behind.shape[1], sums)",
        "for r in range(first, last):",
        "    own, to = sums[r - first], sums_all[step, r]",
        "    for k in range(outputs):",
        "        to[k] = own[k]",
    ]
    return ["step = t - delay", "if step >= low_step:", *indented(lines)], [
        "for step in range(max(high_step - delay, low_step), high_step):",
        "    arrived = out_all[depth + step]",
        "    rows = find_any(arrived, first, last, size, together)",
        *indented(lines),
    ]


def given(way: str, around: Around) -> list[str]:
    """Derivatives by what a sample's neurons emitted at step t, from outside: `g_all`."""
    lines = ["given = g_out_all[t, r]", "for k in range(size):", "    g_all[k] = given[k]"]
    if around.gated:
        lines = [lines[0], "pick_out(given, marks, g_all)"]
    if not around.given:
        lines = ["for k in range(g_all.shape[0]):", "    g_all[k] = ZERO"]
    weights = "from_outputs" if way == "dense" else "weights_behind"
    more = [f"add_rows(all_outputs, outputs, g_sums_all[t, r], {weights}, g_all)"]
    return [*lines, *(more if around.behind else [])]


def indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def reached(gates: Sequence[str], ends: Sequence[str], columns: Sequence[str], around: Around) -> list[str]:
    """Before a part's steps: which neurons derivatives get into; if they are few, the weights among them.

    Args:
        gates: Statements that mark neurons whose gate is open at step t of sample r.
        ends: Those that mark neurons of sample r that have derivatives from behind the last step.
        columns: Those that list the columns of all that are marked.
        around: What runs along.
    """
    behind = ["for k in range(outputs):", "    pick_out(weights_behind[k], marks, from_outputs[k])"]
    return [
        "for k in range(marks.shape[0]):",
        "    marks[k] = ZERO",
        "for r in range(low, high):",
        *indented(ends),
        "for step in range(high_step - low_step):",
        "    t = high_step - 1 - step",
        "    for r in range(low, high):",
        *indented(indented(gates)),
        f"    if step % {LOOK} == 0 and find(marks, size, open) > {FEW} * size:",
        "        break",
        "count = find(marks, size, open)",
        f"if count > {FEW} * size:",
        "    for k in range(size):",
        "        marks[k] = ONE",
        "    count = size",
        "width, many = (count + LANES - 1) // LANES * LANES, 0",
        *columns,
        # What is picked is written in whole vectors, into the row behind: rows are written in order.
        "for i in range(many):",
        "    pick_out(weights[listed[i]], marks, to_columns[listed[i]])",
        *(behind if around.behind else []),
    ]


#: Before all parts: derivatives get into all neurons.
EVERYONE = [
    "gathered, to_columns, width, many = rows, weights, weights.shape[1], columns",
    "for k in range(columns):",
    "    listed[k] = k",
]
#: Or into some, whose weights are picked out for each part.
SOME = ["gathered, to_columns = gathered_rows[thread], picked_rows[thread]"]

#: A sample's derivatives by what was emitted, made for the neurons alone that derivatives get into.
PUT_BACK = ["put_back(gathered[r - first], marks, g_all)"]
