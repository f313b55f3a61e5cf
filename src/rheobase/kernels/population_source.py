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
from dataclasses import dataclass
from typing import Literal

from rheobase.kernels import vectors
from rheobase.kernels.program import PROGRAMS
from rheobase.kernels.reduction import LEVELS, How
from rheobase.kernels.source import HEADER, Body, Layout, explain, indent
from rheobase.kernels.trace import Trace

#: How input comes: bits `[blocks, T, K]`; numbers `[blocks, T, K, lanes]`; numbers that do not change
#: `[blocks, K, lanes]`; the same and their product with weights that all share, `[blocks, M, lanes]`.
Feed = Literal["spikes", "values", "constant", "shared"]

#: Neurons whose sums are made together, by the samples of a block: so many, or one.
BLOCKS = {64: (4, 1), 32: (8, 1), 16: (8, 1)}

_CALLS = {
    "lt": "lt", "le": "le", "gt": "gt", "ge": "ge", "eq": "eq", "ne": "ne", "and": "both", "or": "either",
    "not": "invert", "add": "add", "sub": "sub", "mul": "mul", "div": "div", "neg": "neg", "where": "where",
    "exp": "exp", "log": "log", "sqrt": "sqrt", "tanh": "tanh", "atan": "atan", "erf": "erf",
    "absolute": "absolute",
}  # fmt: skip


@dataclass(frozen=True)
class StageForm:
    """What of a stage the source depends on.

    Attributes:
        programs: The keys of its groups' programs, in order.
        biased: Whether a bias is added.
        factored: Whether the connection has factors beside its weights.
        recurrent: Whether the neurons are connected among themselves.
        recurrent_factored: Whether those connections have factors beside their weights.
    """

    programs: tuple[str, ...]
    biased: bool
    factored: bool = False
    recurrent: bool = False
    recurrent_factored: bool = False

    @property
    def traces(self) -> list[Trace]:
        """The traced steps of its groups of neurons."""
        return [PROGRAMS[key].trace for key in self.programs]


@dataclass(frozen=True)
class Form:
    """What the source depends on.

    Attributes:
        dtype, lanes: Of the numbers, and how many samples a block has.
        feed: How input comes.
        stages: In order.
        reductions: Of the last stage's signals ("spikes" or a state variable), and how each is reduced.
        signals: Those of which every step is kept.
    """

    dtype: str
    lanes: int
    feed: Feed
    stages: tuple[StageForm, ...]
    reductions: tuple[tuple[str, How], ...]
    signals: tuple[str, ...]


def stage_arguments(form: Form, at: int) -> list[str]:
    """What stage `at` is given, in order.

    Weights `[1 or P, M, K]` (none if the product is given), bias `[1 or P, M]`, factors `[P, M, r]` and
    `[P, r, K]`; the same for recurrent ones, and their delay. Then per group: its number of neurons,
    coefficients and initial states, `[1 or P, 1 or n]`.
    """
    stage = form.stages[at]
    args = [] if at == 0 and form.feed == "shared" else [f"weights{at}"]
    args += [f"bias{at}"] if stage.biased else []
    args += [f"left{at}", f"right{at}"] if stage.factored else []
    args += [f"recurrent{at}"] if stage.recurrent else []
    args += [f"recurrent_left{at}", f"recurrent_right{at}"] if stage.recurrent_factored else []
    args += [f"delay{at}"] if stage.recurrent else []
    for g, t in enumerate(stage.traces):
        args.append(f"size{at}_{g}")
        args += [f"c{at}_{g}_{j}" for j in range(len(t.coefficients))]
        args += [f"init{at}_{g}_{name}" for name in t.states]
    return args


def result_arguments(form: Form) -> list[str]:
    """What is filled: `[P, N, blocks, lanes]` per reduction, `[P, T, N, blocks, lanes]` per whole signal."""
    return [
        *(f"result{q}" for q in range(len(form.reductions))),
        *(f"signal{q}" for q in range(len(form.signals))),
    ]


def work_arguments(form: Form) -> list[str]:
    """Working memory, a row for each thread (see `rheobase.kernels.population`)."""
    args = ["every", "u_all", "v_all"]
    args += ["x_all", "arrivals_all"] if form.feed == "spikes" else []
    args += ["drive_all"] if form.feed in ("constant", "shared") else []
    for at, stage in enumerate(form.stages):
        args += [f"z{at}_all", f"found{at}_all", f"count{at}_all"]
        args += [f"s{at}_{g}_{name}_all" for g, t in enumerate(stage.traces) for name in t.states]
    args += [f"sums{q}_all" for q, (_, how) in enumerate(form.reductions) if how == "sum"]
    return args


class LaneBody(Body):
    """Statements on vectors of samples."""

    def expression(self, n: int) -> str:
        node = self.trace.tape.nodes[n]
        args = [self.ref(a) for a in node.args]
        if node.op in _CALLS:
            return f"{_CALLS[node.op]}({', '.join(args)})"
        if node.op == "spike":
            return f"where({'gt' if node.value[1] else 'ge'}({args[0]}, ZERO), ONE, ZERO)"
        return {"stop_gradient": args[0], "pow": f"power({args[0]}, F({node.value!r}))"}[node.op]

    def vector(self, n: int) -> str:
        """How to refer to a node as a vector, also if it is one number for all."""
        return self.ref(n) if self.trace.tape.varying[n] else f"splat({self.ref(n)})"


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
        *_deeper(_deeper(_flush(form))),
        *_deeper(_finish(form)),
    ]
    return f"{_header(form, title)}def forward({', '.join(args)}):\n{indent(body, 1)}"


def _header(form: Form, title: str) -> str:
    texts = [
        f"Stage {at}, group {g}. {explain(t)}"
        for at, stage in enumerate(form.stages)
        for g, t in enumerate(stage.traces)
    ]
    text = HEADER.format(title=title, explanation="\n\n".join(texts), dtype=form.dtype, flags="")
    constants, decorator = text.rsplit("\n@numba", 1)
    return (
        f"{constants.rstrip()}\n\nfrom rheobase.kernels.lanes import (\n    "
        f"bits, fma, load{form.lanes} as load, power, some, splat{form.lanes} as splat, store,\n    "
        f"{', '.join(dict.fromkeys(_CALLS.values()))},\n)\n\n"
        f"# Calls version {vectors.version('lanes')}: machine code is kept by this text."
        f"\n\n\n@numba{decorator}"
    )


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
    for q, (_, how) in enumerate(form.reductions):
        lines.append(f"into{q} = sums{q}[0]" if how == "sum" else f"into{q} = result{q}[p]")
        start = {"max": "-np.inf", "first": "steps"}.get(how)
        if start is not None:
            lines += [f"for i in range(result{q}.shape[1]):"]
            lines += [f"    store(splat(F({start})), into{q}[i], b)"]
        if how == "sum":
            lines += [f"for i in range(sums{q}.shape[0]):", f"    for j in range(sums{q}.shape[1]):"]
            lines += [f"        store(zero, sums{q}[i], j)"]
    return lines


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
                part += [*_neuron(form, at, g, r), *(_reduce(form) if last else [])]
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


def _reduce(form: Form) -> list[str]:
    """What is kept of a neuron of the read-out at step t."""
    lines = []
    for q, (signal, how) in enumerate(form.reductions):
        value, row = _value(signal), f"into{q}[first + i], b"
        if how == "sum":
            row = f"into{q}, first + i"
            lines += [f"if t >= start{q}:"]
            lines += [f"    store(add(load({row}), {value}), {row})"]
        elif how == "max":
            lines += [f"known = load({row})"]
            larger = f"either(gt({value}, known), ne({value}, {value}))"  # NaN stays
            lines += [f"store(where({larger}, {value}, known), {row})"]
        elif how == "first":
            lines += [f"known = load({row})"]
            now = f"both(gt({value}, ZERO), eq(known, F(steps)))"
            lines += [f"store(where({now}, F(t), known), {row})"]
        else:
            lines += ["if t == steps - 1:", f"    store({value}, {row})"]
    lines += [
        f"store({_value(signal)}, signal{q}[p, t, first + i], b)" for q, signal in enumerate(form.signals)
    ]
    return lines


def _value(signal: str) -> str:
    return "out" if signal == "spikes" else f"new_{signal}"


def _flush(form: Form) -> list[str]:
    """Full blocks of sums are added to the level above, as torch does."""
    lines = []
    for q, (_, how) in enumerate(form.reductions):
        if how != "sum":
            continue
        lines += [
            f"done = t + 1 - start{q}",
            f"if done > 0 and done & ((1 << power{q}) - 1) == 0:",
            "    level, more = 1, True",
            f"    while more and level < {LEVELS}:",
            f"        above, below = sums{q}[level], sums{q}[level - 1]",
            "        for i in range(above.shape[0]):",
            "            store(add(load(above, i), load(below, i)), above, i)",
            "            store(zero, below, i)",
            f"        more = done & (((1 << power{q}) - 1) << (level * power{q})) == 0",
            "        level += 1",
        ]
    return lines


def _finish(form: Form) -> list[str]:
    lines = []
    for q, (_, how) in enumerate(form.reductions):
        if how == "sum":
            total = f"load(sums{q}[0], i)"
            for level in range(1, LEVELS):
                total = f"add({total}, load(sums{q}[{level}], i))"
            lines += [f"for i in range(sums{q}.shape[1]):", f"    store({total}, result{q}[p, i], b)"]
    return lines
