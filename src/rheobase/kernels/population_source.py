"""Numba source for a whole network over a population: every member on every sample, all steps.

One piece of work is one member on one block of samples, which lie side by side in the lanes of vectors. Time
runs innermost: at each step the piece goes through all stages (a connection and the neurons behind it), and
its states, what its neurons emit and its currents stay in the first-level cache. Nothing of a hidden layer
is ever stored over time, and of the read-out only what the reductions keep.

    y = sum_j W[:, j] x[j] + b (+ sum_j R[:, j] z[t - delay][j])

over the j that any sample of the block emitted, in ascending order, by fused multiply-adds; the bias is
added behind the first sum, the second goes on from there. So sums of spikes are those of oneDNN's and,
mostly, of MKL's products, bit for bit, and those of the recurrent kernels; a term that is zero changes
nothing, so results do not depend on the blocks. A matrix that differs between members in a few directions is
applied as its factors: W x + A (B x).

Sums of a few neurons at a time stay in registers (`BLOCKS`), from which these neurons take them. The neurons'
own equations are those of `rheobase.kernels.source`, written on vectors (`rheobase.kernels.lanes`).
"""

from __future__ import annotations

from collections.abc import Sequence

from rheobase.kernels.lane_body import LaneBody
from rheobase.kernels.population_form import Form, header, result_arguments, stage_arguments, work_arguments
from rheobase.kernels.population_reductions import begin, finish, flush, reduce
from rheobase.kernels.source import Layout, indent

#: Neurons whose sums are made together, by the samples of a block: so many, or one.
BLOCKS = {64: (4, 1), 32: (8, 1), 16: (8, 1)}


def forward_source(form: Form, title: str) -> str:
    """The kernel.

    Arguments: the input (two arrays if it is "shared": the numbers, and their product), what the stages are
    given, what is filled, working memory; for each sum the first step that counts and its levels' power;
    steps, blocks, and the part of the range of pieces (member by member).
    """
    sums = [q for q, (_, how) in enumerate(form.reductions) if how == "sum"]
    args = [
        "inputs",
        *(["product"] if form.feed == "shared" else []),
        *(name for at in range(len(form.stages)) for name in stage_arguments(form, at)),
        *result_arguments(form),
        *work_arguments(form),
        *(f"{name}{q}" for q in sums for name in ("start", "power")),
        "steps",
        "blocks",
        "thread",
        "low",
        "high",
    ]
    work = [name for name in work_arguments(form) if name != "every"]
    body = [
        *(f"{name.removesuffix('_all')} = {name}[thread]" for name in work),
        "zero = splat(ZERO)",
        "for piece in range(low, high):",
        *_deeper(["p = piece // blocks", "b = piece - p * blocks", *_begin(form), *_constant(form)]),
        *_deeper(["for t in range(steps):"]),
        *_deeper(_deeper([line for at in range(len(form.stages)) for line in _stage(form, at)])),
        *_deeper(_deeper(flush(form))),
        *_deeper(finish(form)),
    ]
    return f"{header(form, title)}def forward({', '.join(args)}):\n{indent(body, 1)}"


def _deeper(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _of_member(name: str) -> str:
    """The member's own, or what all share."""
    return f"{name}[p if {name}.shape[0] > 1 else 0]"


def _begin(form: Form) -> list[str]:
    """A member's parameters, and the state before the first step."""
    lines = []
    for at, stage in enumerate(form.stages):
        lines += [
            f"p_{name} = {_of_member(name)}"
            for name in stage_arguments(form, at)
            if not name.startswith(("size", "init", "delay"))
        ]
        for g, t in enumerate(stage.traces):
            for name in t.states:
                lines += [
                    f"rest = {_of_member(f'init{at}_{g}_{name}')}",
                    f"for i in range(size{at}_{g}):",
                    f"    store(splat(rest[i if rest.shape[0] > 1 else 0]), s{at}_{g}_{name}, i)",
                ]
        if not stage.recurrent:
            lines += [f"slot{at} = 0", f"emitted{at}, firing{at} = z{at}[0], found{at}[0]"]
        else:  # nothing was emitted before
            lines += [f"for d in range(delay{at} + 1):", f"    count{at}[d] = 0"]
    if form.feed in ("spikes", "values"):
        lines.append("sequence = inputs[b]")
    return lines + begin(form)


def _sums(names: Sequence[str], weights: str, row: str, among: tuple[str, str, str]) -> list[str]:
    """name += W[row + i] x over the rows of x that were found, for each name i."""
    found, count, source = among
    return [
        f"for q in range({count}):",
        f"    j = {found}[q]",
        f"    x_j = load({source}, j)",
        *(f"    {name} = fma({weights}[{row} + {i}, j], x_j, {name})" for i, name in enumerate(names)),
    ]


def _factor(right: str, among: tuple[str, str, str], blocks: Sequence[int], target: str) -> list[str]:
    """target = B x"""
    lines = ["i = 0", f"while i < {right}.shape[0]:"]
    for n, rows in enumerate(blocks):
        names = [f"a{r}" for r in range(rows)]
        last = rows == 1
        lines += [
            f"    {'else' if last else ('elif' if n else 'if') + f' {right}.shape[0] - i >= {rows}'}:",
            f"        {' = '.join(names)} = zero",
            *_deeper(_deeper(_sums(names, right, "i", among))),
            *(f"        store({name}, {target}, i + {r})" for r, name in enumerate(names)),
            f"        i += {rows}",
        ]
    return lines


def _input(form: Form, at: int) -> tuple[str, str, str]:
    """Where a stage's input is: which rows of it are not zero, how many, and all of its rows."""
    if at:
        before, slot = at - 1, f"slot{at - 1}"
        return f"firing{before}", f"count{before}[{slot}]", f"emitted{before}"
    if form.feed == "spikes":
        return "arrivals", "arrived", "x"
    if form.feed == "values":
        return "every", "sequence.shape[1]", "sequence[t]"
    return "every", "inputs.shape[1]", "inputs[b]"


def _constant(form: Form) -> list[str]:
    """The first stage's currents, where they do not change in time, into `drive`."""
    if form.feed not in ("constant", "shared"):
        return []
    stage, shared = form.stages[0], form.feed == "shared"
    blocks = BLOCKS[form.lanes]
    lines = [f"listed, number, rows = {', '.join(_input(form, 0))}"]
    among = ("listed", "number", "rows")
    lines += _factor("p_right0", among, blocks, "u") if stage.factored else []
    lines += ["i = 0", "while i < drive.shape[0]:"]
    for n, many in enumerate(blocks):
        names = [f"a{r}" for r in range(many)]
        lines.append(
            f"    {'else' if many == 1 else ('elif' if n else 'if') + f' drive.shape[0] - i >= {many}'}:"
        )
        part = [f"a{r} = load(product[b], i + {r})" if shared else f"a{r} = zero" for r in range(many)]
        part += [] if shared else _sums(names, "p_weights0", "i", among)
        part += _sums(names, "p_left0", "i", ("every", "p_right0.shape[0]", "u")) if stage.factored else []
        part += [f"a{r} = add(a{r}, p_bias0[i + {r}])" for r in range(many)] if stage.biased else []
        part += [f"store(a{r}, drive, i + {r})" for r in range(many)]
        lines += _deeper(_deeper([*part, f"i += {many}"]))
    return lines


def _stage(form: Form, at: int) -> list[str]:
    """One step of one stage."""
    stage, lines = form.stages[at], []
    still = at == 0 and form.feed in ("constant", "shared")
    if at == 0 and form.feed == "spikes":
        lines += [
            "arrived, words = 0, sequence[t]",
            "for j in range(words.shape[0]):",
            "    if words[j] != 0:",
            "        store(bits(words[j], ZERO), x, j)",
            "        arrivals[arrived] = j",
            "        arrived += 1",
        ]
    if not still:
        lines.append(f"listed, number, rows = {', '.join(_input(form, at))}")
        if stage.factored:
            lines += _factor(f"p_right{at}", ("listed", "number", "rows"), BLOCKS[form.lanes], "u")
    if stage.recurrent:
        lines += [
            f"slot{at} = t % (delay{at} + 1)",
            f"emitted{at}, firing{at} = z{at}[slot{at}], found{at}[slot{at}]",
            f"then = (t + 1) % (delay{at} + 1)",
            f"past_listed, past_number, past_rows = found{at}[then], count{at}[then], z{at}[then]",
        ]
        if stage.recurrent_factored:
            among = ("past_listed", "past_number", "past_rows")
            lines += _factor(f"p_recurrent_right{at}", among, BLOCKS[form.lanes], "v")
    last = at == len(form.stages) - 1
    lines.append("fired, first, column = 0, 0, 0")
    for g in range(len(stage.programs)):
        size, ports = f"size{at}_{g}", len(stage.traces[g].inputs)
        lines += ["i = 0", f"while i < {size}:"]
        for n, many in enumerate(BLOCKS[form.lanes]):
            lines.append(
                f"    {'else' if many == 1 else ('elif' if n else 'if') + f' {size} - i >= {many}'}:"
            )
            part = _currents(form, at, ports, size, many)
            for r in range(many):
                part += [*_neuron(form, at, g, r), *(reduce(form) if last else [])]
                if stage.recurrent or not last:
                    # Without a branch, which would often be predicted wrong.
                    part += [f"firing{at}[fired] = first + i", "fired += some(out)"]
                part.append("i += 1")
            lines += _deeper(_deeper(part))
        lines += [f"first += {size}", f"column += {ports} * {size}"]
    lines.append(f"count{at}[slot{at}] = fired")
    return lines


def _currents(form: Form, at: int, ports: int, size: str, many: int) -> list[str]:
    """The currents of `many` neurons from i on: a0_0, a0_1, ... at the first input, a1_0, ... at the next."""
    stage, lines = form.stages[at], []
    still = at == 0 and form.feed in ("constant", "shared")
    for port in range(ports):
        names, row = [f"a{port}_{r}" for r in range(many)], f"column + {port} * {size} + i"
        lines.append(f"row = {row}")
        if still:
            lines += [f"{name} = load(drive, row + {r})" for r, name in enumerate(names)]
        else:
            lines.append(f"{' = '.join(names)} = zero")
            lines += _sums(names, f"p_weights{at}", "row", ("listed", "number", "rows"))
            if stage.factored:
                lines += _sums(names, f"p_left{at}", "row", ("every", f"p_right{at}.shape[0]", "u"))
            if stage.biased:
                lines += [f"{name} = add({name}, p_bias{at}[row + {r}])" for r, name in enumerate(names)]
        if stage.recurrent:
            lines += _sums(names, f"p_recurrent{at}", "row", ("past_listed", "past_number", "past_rows"))
        if stage.recurrent_factored:
            lines += _sums(
                names, f"p_recurrent_left{at}", "row", ("every", f"p_recurrent_right{at}.shape[0]", "v")
            )
    return lines


def _neuron(form: Form, at: int, g: int, r: int) -> list[str]:
    """One step of neuron i of a group, the r-th of those whose currents were made together."""
    t = form.stages[at].traces[g]
    body = LaneBody(t, Layout(form.dtype, "s" * len(t.coefficients), False, ()))
    for j in range(len(t.coefficients)):
        given = f"p_c{at}_{g}_{j}"
        body.lines.append(f"c{j} = {given}[i if {given}.shape[0] > 1 else 0]")
    for name, n in t.states.items():
        body.load(n, f"{name}_old", f"load(s{at}_{g}_{name}, i)")
    for port, (name, n) in enumerate(t.inputs.items()):
        body.load(n, f"in_{name}", f"a{port}_{r}")
    body.emit(t.live([*t.new_states.values(), t.emitted]))
    body.lines.append(f"out = {body.vector(t.emitted)}")
    body.lines += [f"new_{name} = {body.vector(n)}" for name, n in t.new_states.items()]
    body.lines += [f"store(new_{name}, s{at}_{g}_{name}, i)" for name in t.new_states]
    if at < len(form.stages) - 1 or form.stages[at].recurrent:
        body.lines.append(f"store(out, emitted{at}, first + i)")
    return body.lines
