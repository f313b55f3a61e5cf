"""Numba source of the population kernel for networks of a few neurons, whose sizes are written into it.

What `rheobase.kernels.population_source` does in loops over neurons, through memory and with a search for
spikes, is here one straight line for each step: states and counts stay in registers, spikes are masks. A sum
over up to four inputs that spike or not is one of 16 numbers. They are made once for a member, in the order
in which the loops add, and looked up from a register, by one instruction of AVX-512. So the results are
those of the loops, to the last bit (up to the sign of zero).

Written out with a masked addition for each connection instead, networks of more inputs were slower than in
loops over blocks of 64 samples (3-10-10 18.5 ms instead of 13.1, 6-16-10 40 instead of 19.5).
"""

from __future__ import annotations

from collections.abc import Sequence

from rheobase.kernels import vectors
from rheobase.kernels.lane_body import LaneBody, emits_spikes
from rheobase.kernels.population_form import Form, header, result_arguments, stage_arguments, work_arguments
from rheobase.kernels.population_reductions import begin, exact, finish, flush, reduce, value_of
from rheobase.kernels.source import Layout, indent
from rheobase.kernels.trace import Trace

#: Samples of a block.
LANES = 16

#: Neurons that are at most written out: more do not fit in registers, and take long to compile.
NEURONS = 20

#: Words in which bit k is set if bit 0, 1, 2 or 3 of k is.
_HALVES = (0xAAAA, 0xCCCC, 0xF0F0, 0xFF00)


def unrolls(groups: Sequence[Sequence[Trace]], sizes: Sequence[int], itemsize: int) -> bool:
    """Whether a network without recurrence is for this kernel.

    Args:
        groups: The traced steps of each stage's groups of neurons.
        sizes: The number of inputs, and of neurons of each stage.
        itemsize: Bytes of a number.
    """
    return (
        vectors.WIDE
        and itemsize == 4
        and all(len(traces) == 1 and len(traces[0].inputs) == 1 for traces in groups)
        and all(emits_spikes(traces[0]) for traces in groups[:-1])
        and max(sizes[:-1]) <= len(_HALVES)
        and sum(sizes[1:]) <= NEURONS
    )


def unrolled_source(form: Form, title: str) -> str:
    """The kernel, with the arguments of `population_source.forward_source`."""
    sums = [q for q, (_, how) in enumerate(form.reductions) if how == "sum"]
    in_memory = [q for q in sums if not exact(form, q)]
    args = [
        "inputs",
        *(["product"] if form.feed == "shared" else []),
        *(name for at in range(len(form.stages)) for name in stage_arguments(form, at)),
        *result_arguments(form),
        *work_arguments(form),
        *(f"{name}{q}" for q in sums for name in ("start", "power")),
        *("steps", "blocks", "thread", "low", "high"),
    ]
    stages = range(len(form.stages))
    piece = [
        "p = piece // blocks",
        "b = piece - p * blocks",
        *(line for at in stages for line in _parameters(form, at)),
        *_drive(form),
        *begin(form, in_memory),
        *(line for q in _in_registers(form) for line in _start(form, q)),
    ]
    step = [line for at in stages for line in _stage(form, at, in_memory)] + flush(form, in_memory)
    end = [line for q in _in_registers(form) for line in _end(form, q)] + finish(form, in_memory)
    body = [
        *(f"sums{q} = sums{q}_all[thread]" for q in in_memory),
        *(f"half{j} = np.uint16({word})" for j, word in enumerate(_HALVES)),
        "zero = splat(ZERO)",
        "for piece in range(low, high):",
        *(f"    {line}" for line in piece),
        "    for t in range(steps):",
        *(f"        {line}" for line in step),
        *(f"    {line}" for line in end),
    ]
    return f"{header(form, title)}def forward({', '.join(args)}):\n{indent(body, 1)}"


def _size(form: Form, at: int) -> int:
    """The number of a stage's neurons; of inputs, for -1."""
    assert form.sizes is not None
    return form.sizes[at + 1]


def _still(form: Form, at: int) -> bool:
    """Whether a stage's currents do not change in time."""
    return at == 0 and form.feed in ("constant", "shared")


def _looks_up(form: Form, at: int) -> bool:
    """Whether a stage's sums are looked up in tables."""
    return at > 0 or form.feed == "spikes"


def _in_registers(form: Form) -> list[int]:
    return [q for q, (_, how) in enumerate(form.reductions) if how != "sum" or exact(form, q)]


def _parameters(form: Form, at: int) -> list[str]:
    """A member's parameters, tables and states before the first step."""
    stage, lines = form.stages[at], []
    for name in stage_arguments(form, at):
        if not name.startswith("size"):
            lines.append(f"p_{name} = {name}[p if {name}.shape[0] > 1 else 0]")
    for i in range(_size(form, at)):
        for name in stage.traces[0].states:
            rest = f"p_init{at}_0_{name}"
            lines.append(f"s{at}_{name}_{i} = splat({rest}[{i} if {rest}.shape[0] > 1 else 0])")
        if _looks_up(form, at):
            lines.append(f"row = p_weights{at}[{i}]")
            lines.append("sum_ = zero")
            for j in range(_size(form, at - 1)):
                lines.append(f"sum_ = where(mask(half{j}), add(sum_, row[{j}]), sum_)")
            lines.append(f"table{at}_{i} = {_biased(form, at, i, 'sum_')}")
    return lines


def _biased(form: Form, at: int, i: int, current: str) -> str:
    return f"add({current}, p_bias{at}[{i}])" if form.stages[at].biased else current


def _drive(form: Form) -> list[str]:
    """The first stage's currents, where they do not change in time."""
    if not _still(form, 0):
        return []
    lines = []
    for i in range(_size(form, 0)):
        if form.feed == "shared":
            lines.append(f"drive{i} = load(product[b], {i})")
        else:
            lines.append(f"drive{i} = zero")
            for j in range(_size(form, -1)):
                lines.append(f"drive{i} = fma(p_weights0[{i}, {j}], load(inputs[b], {j}), drive{i})")
        lines.append(f"drive{i} = {_biased(form, 0, i, f'drive{i}')}")
    return lines


def _stage(form: Form, at: int, in_memory: list[int]) -> list[str]:
    """One step of one stage."""
    lines, last = _input(form, at), at == len(form.stages) - 1
    trace = form.stages[at].traces[0]
    for i in range(_size(form, at)):
        lines += _current(form, at, i)
        body = LaneBody(trace, Layout(form.dtype, "s" * len(trace.coefficients), False, ()))
        for j in range(len(trace.coefficients)):
            given = f"p_c{at}_0_{j}"
            body.lines.append(f"c{j} = {given}[{i} if {given}.shape[0] > 1 else 0]")
        for name, n in trace.states.items():
            body.names[n] = f"s{at}_{name}_{i}"
        (port,) = trace.inputs.values()
        body.names[port] = "current"
        body.emit(trace.live([*trace.new_states.values(), trace.emitted]))
        body.lines += [f"new_{name} = {body.vector(n)}" for name, n in trace.new_states.items()]
        body.lines.append(f"out = {body.vector(trace.emitted)}")
        if emits_spikes(trace):
            body.lines.append(f"fired{at}_{i} = {body.fired(trace.emitted)}")
        body.lines += [f"s{at}_{name}_{i} = new_{name}" for name in trace.new_states]
        lines += body.lines
        if last:
            lines += [line for q in _in_registers(form) for line in _reduce(form, q, i)]
            kept = reduce(form, in_memory)
            lines += [f"first, i = 0, {i}", *kept] if kept else []
    return lines


def _input(form: Form, at: int) -> list[str]:
    """What a stage gets at step t: the places in its tables, or vectors `x<j>`."""
    if _still(form, at):
        return []
    size = _size(form, at - 1)
    if not _looks_up(form, at):
        return ["rows = inputs[b, t]", *(f"x{j} = load(rows, {j})" for j in range(size))]
    spikes = [f"fired{at - 1}_{j}" if at else f"mask(inputs[b, t, {j}])" for j in range(size)]
    lines = [f"places = first_place({spikes[0]})"]
    return lines + [f"places = place(places, {spikes[j]}, {1 << j})" for j in range(1, size)]


def _current(form: Form, at: int, i: int) -> list[str]:
    """The current of neuron i of a stage at step t."""
    if _still(form, at):
        return [f"current = drive{i}"]
    if _looks_up(form, at):
        return [f"current = look_up(table{at}_{i}, places)"]
    lines = ["current = zero"]
    for j in range(_size(form, -1)):
        lines.append(f"current = fma(p_weights0[{i}, {j}], x{j}, current)")
    return [*lines, f"current = {_biased(form, 0, i, 'current')}"]


def _start(form: Form, q: int) -> list[str]:
    """What is kept in registers, before the first step."""
    start = {"sum": "ZERO", "max": "F(-np.inf)", "first": "F(steps)", "last": "ZERO"}[form.reductions[q][1]]
    return [f"kept{q}_{i} = splat({start})" for i in range(_size(form, len(form.stages) - 1))]


def _reduce(form: Form, q: int, i: int) -> list[str]:
    """The same, of neuron i of the read-out at step t."""
    (signal, how), name, at = form.reductions[q], f"kept{q}_{i}", len(form.stages) - 1
    value = value_of(signal)
    if how == "sum":
        return [f"{name} = where(fired{at}_{i}, add({name}, ONE if t >= start{q} else ZERO), {name})"]
    if how == "max":  # NaN stays
        return [f"{name} = where(either(gt({value}, {name}), ne({value}, {value})), {value}, {name})"]
    if how == "first":
        return [f"{name} = where(both(gt({value}, ZERO), eq({name}, F(steps))), F(t), {name})"]
    return [f"{name} = {value}"]


def _end(form: Form, q: int) -> list[str]:
    """The same, into the results."""
    return [f"store(kept{q}_{i}, result{q}[p, {i}], b)" for i in range(_size(form, len(form.stages) - 1))]
