"""Numba source of the population kernel for spikes that are few: lists of them, and neurons side by side.

One piece of work is one member on one sample. Time runs innermost; a stage's neurons lie in the lanes of
vectors, and what a spike adds to their currents is a row of weights, which are laid out by rows when a
thread comes to another member. So a step costs as much as there are spikes in one sample, not as much as
there are inputs at which any sample of a block has one. States stay in registers if they are few, else in
the first-level cache.

Neurons of a group fill whole vectors: what lies beyond the last one has no weights, and nothing reads it. A
list has one entry at least, the row behind the last, which is zero: one row is always added, since whether
there is a first spike could not be predicted.

Sums are made in the order of `rheobase.kernels.population_source`, with its results to the last bit (up to
the sign of zero).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rheobase.kernels.lane_body import LaneBody
from rheobase.kernels.population_form import Form, header, result_arguments, stage_arguments
from rheobase.kernels.population_reductions import begin, exact, finish, flush, reduce
from rheobase.kernels.population_rows import LANES, lay_out, whole_vectors, width
from rheobase.kernels.source import Layout, indent

#: Vectors whose currents are made together.
TOGETHER = 8

#: Vectors of states that are at most kept in registers.
RESIDENT = 20

#: Vectors whose spikes are bits of one word.
WORD = 64 // LANES


class Rows(NamedTuple):
    """Rows of a matrix that are added: those numbered in `listed[first : last]`, one at least."""

    listed: str
    first: str
    last: str


def lists_source(form: Form, title: str) -> str:
    """The kernel.

    Arguments: where each sample's spikes begin and the inputs that spiked, what the stages are given, what is
    filled, working memory; for each sum the first step that counts and its levels' power; steps, samples, and
    the part of the range of pieces (member by member).
    """
    sums = [q for q, (_, how) in enumerate(form.reductions) if how == "sum"]
    stages = range(len(form.stages))
    args = [
        "spans",
        "events",
        *(name for at in stages for name in stage_arguments(form, at)),
        *result_arguments(form),
        *list_arguments(form),
        *(f"{name}{q}" for q in sums for name in ("start", "power")),
        *("steps", "samples", "thread", "low", "high"),
    ]
    piece = [
        "p = piece // samples",
        "b = piece - p * samples",
        *(line for at in stages for line in _parameters(form, at)),
        *(line for at in stages for line in lay_out(form, at)),
        "member = p",
        *begin(form),
        "span = spans[b]",
    ]
    in_levels = [q for q in range(len(form.reductions)) if not exact(form, q)]
    step = [line for at in stages for line in _stage(form, at)] + flush(form, in_levels)
    body = [
        *(f"{name.removesuffix('_all')} = {name}[thread]" for name in list_arguments(form)),
        "zero = splat(ZERO)",
        "member = -1",
        "for piece in range(low, high):",
        *_deeper(piece),
        "    for t in range(steps):",
        *_deeper(_deeper(step)),
        *_deeper(finish(form)),
    ]
    return f"{header(form, title)}def forward({', '.join(args)}):\n{indent(body, 1)}"


def list_arguments(form: Form) -> list[str]:
    """Working memory, a row for each thread: weights by rows; lists of spikes; states; sums."""
    args = []
    for at, stage in enumerate(form.stages):
        args.append(f"w{at}_all")
        args += [f"w_right{at}_all", f"w_left{at}_all", f"u{at}_all"] if stage.factored else []
        args += [f"r{at}_all"] if stage.recurrent else []
        if stage.recurrent_factored:
            args += [f"r_right{at}_all", f"r_left{at}_all", f"v{at}_all"]
        args += [f"found{at}_all", f"count{at}_all"] if lists_spikes(form, at) else []
        if not resident(form):
            args += [f"s{at}_{g}_{name}_all" for g, t in enumerate(stage.traces) for name in t.states]
    return args + [f"sums{q}_all" for q, (_, how) in enumerate(form.reductions) if how == "sum"]


def lists_spikes(form: Form, at: int) -> bool:
    """Whether anything asks for a stage's spikes."""
    return at < len(form.stages) - 1 or form.stages[at].recurrent


def resident(form: Form) -> bool:
    """Whether states are kept in registers."""
    return (
        sum(
            vectors * len(t.states) for s in form.stages for vectors, t in zip(s.sizes, s.traces, strict=True)
        )
        <= RESIDENT
    )


def _deeper(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _parameters(form: Form, at: int) -> list[str]:
    """A member's parameters, and the state before the first step."""
    stage, lines = form.stages[at], []
    for name in stage_arguments(form, at):
        if not name.startswith(("size", "delay")):
            lines.append(f"p_{name} = {name}[p if {name}.shape[0] > 1 else 0]")
    for g, t in enumerate(stage.traces):
        for name in t.states:
            rest, state = f"p_init{at}_{g}_{name}", f"s{at}_{g}_{name}"
            if resident(form):
                lines += [f"{state}_{i} = load({rest}, {i})" for i in range(stage.sizes[g])]
            else:
                lines += [
                    f"for i in range({stage.sizes[g]}):",
                    f"    store(load({rest}, i), {state}, i)",
                ]
    if stage.recurrent:  # nothing was emitted before
        lines += [
            f"for d in range(delay{at} + 1):",
            f"    found{at}[d, 0] = {_silent(form, at)}",
            f"    count{at}[d] = 1",
        ]
    return lines


def _silent(form: Form, at: int) -> int:
    """The number of the row that is zero, behind those of a stage's neurons."""
    return sum(form.stages[at].sizes) * LANES


def _stage(form: Form, at: int) -> list[str]:
    """One step of one stage."""
    stage, lines = form.stages[at], []
    rows, past = _rows(form, at), Rows("past", "0", "past_number")
    if stage.recurrent:
        lines += [
            f"slot{at} = t % (delay{at} + 1)",
            f"then = (t + 1) % (delay{at} + 1)",
            f"past, past_number = found{at}[then], count{at}[then]",
        ]
        if stage.recurrent_factored:
            lines += _factor(f"recurrent_right{at}", f"r_right{at}", past, f"v{at}")
    elif lists_spikes(form, at):
        lines.append(f"slot{at} = 0")
    lines += _factor(f"right{at}", f"w_right{at}", rows, f"u{at}") if stage.factored else []
    if lists_spikes(form, at):
        lines.append(f"firing = found{at}[slot{at}]")
    lines += ["fired, first = 0, 0"]
    column = 0
    for g, t in enumerate(stage.traces):
        vectors = stage.sizes[g]
        looped = 0 if resident(form) else vectors // TOGETHER * TOGETHER
        if looped:
            lines.append(f"for start in range(0, {looped}, {TOGETHER}):")
            lines += _deeper(_block(form, at, g, column, range(TOGETHER), rows, past))
        for start in range(looped, vectors, TOGETHER):
            block = range(start, min(start + TOGETHER, vectors))
            lines += [f"start = {start}", *_block(form, at, g, column, block, rows, past)]
        lines.append(f"first += {vectors}")
        column += len(t.inputs) * vectors
    if lists_spikes(form, at):
        lines += [f"firing[fired] = {_silent(form, at)}", f"count{at}[slot{at}] = max(fired, 1)"]
    return lines


def _rows(form: Form, at: int) -> Rows:
    """The rows of a stage's weights that are added at step t."""
    if at == 0:
        return Rows("events", "span[t]", "span[t + 1]")
    return Rows(f"found{at - 1}[slot{at - 1}]", "0", f"count{at - 1}[slot{at - 1}]")


def _first(names: Sequence[str], weights: str, vectors: str, at: str, rows: Rows) -> list[str]:
    """name = W[j] for the first of the rows, and each of the vectors from `at` on."""
    return [
        f"row = {rows.listed}[{rows.first}] * {vectors} + {at}",
        *(f"{name} = load({weights}, row + {r})" for r, name in enumerate(names)),
    ]


def _further(
    names: Sequence[str], weights: str, vectors: str, at: str, rows: Rows, skipped: int = 1
) -> list[str]:
    """name += W[j] over the rows behind the first (or from it on)."""
    return [
        f"for q in range({rows.first} + {skipped}, {rows.last}):",
        f"    row = {rows.listed}[q] * {vectors} + {at}",
        *(f"    {name} = add({name}, load({weights}, row + {r}))" for r, name in enumerate(names)),
    ]


def _factor(matrix: str, weights: str, rows: Rows, target: str) -> list[str]:
    """target = B x"""
    vectors = whole_vectors(f"{matrix}.shape[1]")
    lines = [f(["a"], weights, vectors, "i", rows) for f in (_first, _further)]
    return [f"for i in range({vectors}):", *_deeper([*lines[0], *lines[1], f"store(a, {target}, i)"])]


def _product(names: Sequence[str], matrix: str, weights: str, vectors: int, at: str, x: str) -> list[str]:
    """name += A x"""
    return [
        f"for k in range({matrix}.shape[1]):",
        f"    row = k * {vectors} + {at}",
        *(f"    {name} = fma({x}[k], load({weights}, row + {r}), {name})" for r, name in enumerate(names)),
    ]


def _block(form: Form, at: int, g: int, column: int, block: range, rows: Rows, past: Rows) -> list[str]:
    """One step of some vectors of a group's neurons, from vector `start` of the group on."""
    stage, whole, many = form.stages[at], width(form, at), len(block)
    t, lines = stage.traces[g], []
    for port in range(len(t.inputs)):
        names, here = [f"a{port}_{r}" for r in range(many)], f"{column + port * stage.sizes[g]} + start"
        lines += _first(names, f"w{at}", str(whole), here, rows)
        lines += _further(names, f"w{at}", str(whole), here, rows)
        if stage.factored:
            lines += _product(names, f"right{at}", f"w_left{at}", whole, here, f"u{at}")
        if stage.biased:
            lines += [f"{name} = add({name}, load(p_bias{at}, {here} + {r}))" for r, name in enumerate(names)]
        if stage.recurrent:
            lines += _further(names, f"r{at}", str(whole), here, past, skipped=0)
        if stage.recurrent_factored:
            lines += _product(names, f"recurrent_right{at}", f"r_left{at}", whole, here, f"v{at}")
    for r, vector in enumerate(block):
        lines += [f"i = start + {r}", *_neurons(form, at, g, r, vector)]
        if at == len(form.stages) - 1:
            lines += reduce(form)
        if lists_spikes(form, at):
            bits = f"word(spikes, {r % WORD * LANES})"
            lines.append(f"spiked = {bits}" if r % WORD == 0 else f"spiked |= {bits}")
            if r % WORD == WORD - 1 or r == many - 1:
                lines += _list(f"(first + start + {r // WORD * WORD}) * {LANES}")
    return lines


def _list(base: str) -> list[str]:
    """The numbers of the neurons that spiked, behind what is listed; the first, if any, without a branch."""
    return [
        f"base = {base}",
        "firing[fired] = base + lowest(spiked)",
        "fired += occupied(spiked)",
        "spiked = without_lowest(spiked)",
        "while occupied(spiked):",
        "    firing[fired] = base + lowest(spiked)",
        "    fired += 1",
        "    spiked = without_lowest(spiked)",
    ]


def _neurons(form: Form, at: int, g: int, r: int, vector: int) -> list[str]:
    """One step of vector i of a group, the r-th of a block; `vector`, if its states are in registers."""
    stage = form.stages[at]
    t, in_registers = stage.traces[g], resident(form)
    body = LaneBody(t, Layout(form.dtype, "s" * len(t.coefficients), False, ()))
    for j, wide in enumerate(stage.wide[g]):
        body.lines.append(f"c{j} = " + (f"load(p_c{at}_{g}_{j}, i)" if wide else f"p_c{at}_{g}_{j}[0]"))
    states = {
        name: f"s{at}_{g}_{name}_{vector}" if in_registers else f"load(s{at}_{g}_{name}, i)"
        for name in t.states
    }
    for name, n in t.states.items():
        body.load(n, f"{name}_old", states[name])
    for port, (name, n) in enumerate(t.inputs.items()):
        body.load(n, f"in_{name}", f"a{port}_{r}")
    body.emit(t.live([*t.new_states.values(), t.emitted]))
    body.lines += [f"new_{name} = {body.vector(n)}" for name, n in t.new_states.items()]
    if lists_spikes(form, at):
        body.lines.append(f"spikes = {body.fired(t.emitted)}")
    if at == len(form.stages) - 1:
        body.lines.append(f"out = {body.vector(t.emitted)}")
    body.lines += [
        f"{states[name]} = new_{name}" if in_registers else f"store(new_{name}, s{at}_{g}_{name}, i)"
        for name in t.new_states
    ]
    return body.lines
