"""What a population kernel keeps of its read-out at each step, and makes of it in the end.

Kept in memory; a kernel that keeps some of it elsewhere names the others (`only`, by their numbers).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rheobase.kernels.lane_body import emits_spikes
from rheobase.kernels.population_form import Form
from rheobase.kernels.reduction import LEVELS


def exact(form: Form, q: int) -> bool:
    """Whether a sum is the same in any order: that of spikes."""
    return form.reductions[q][0] == "spikes" and all(emits_spikes(t) for t in form.stages[-1].traces)


def begin(form: Form, only: Sequence[int] | None = None) -> list[str]:
    """Before the first step of a piece."""
    lines = []
    for q, _, how in _wanted(form, only):
        lines.append(f"into{q} = sums{q}[0]" if how == "sum" else f"into{q} = result{q}[p]")
        start = {"max": "-np.inf", "first": "steps"}.get(how)
        if start is not None:
            lines += [f"for i in range({form.rows(f'into{q}')}):"]
            lines += [f"    store(splat(F({start})), {form.place(f'into{q}', 'i')})"]
        if how == "sum":
            lines += [f"for i in range(sums{q}.shape[0]):", f"    for j in range(sums{q}.shape[1]):"]
            lines += [f"        store(zero, sums{q}[i], j)"]
    return lines


def reduce(form: Form, only: Sequence[int] | None = None) -> list[str]:
    """What is kept of a neuron of the read-out at step t."""
    lines = []
    for q, signal, how in _wanted(form, only):
        value, row = value_of(signal), form.place(f"into{q}", "first + i")
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
        f"store({value_of(signal)}, {form.place(f'signal{q}[p, t]', 'first + i')})"
        for q, signal in enumerate(form.signals)
    ]
    return lines


def value_of(signal: str) -> str:
    """The kernel's name for a neuron's signal at step t."""
    return "out" if signal == "spikes" else f"new_{signal}"


def flush(form: Form, only: Sequence[int] | None = None) -> list[str]:
    """Full blocks of sums are added to the level above, as torch does."""
    lines = []
    for q, _, how in _wanted(form, only):
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


def finish(form: Form, only: Sequence[int] | None = None) -> list[str]:
    """After the last step of a piece."""
    lines = []
    for q, _, how in _wanted(form, only):
        if how == "sum":
            total = f"load(sums{q}[0], i)"
            for level in range(1, LEVELS):
                total = f"add({total}, load(sums{q}[{level}], i))"
            lines += [f"for i in range(sums{q}.shape[1]):"]
            lines += [f"    store({total}, {form.place(f'result{q}[p]', 'i')})"]
    return lines


def _wanted(form: Form, only: Sequence[int] | None) -> Iterator[tuple[int, str, str]]:
    """Number, signal and kind of these reductions."""
    for q, (signal, how) in enumerate(form.reductions):
        if only is None or q in only:
            yield q, signal, how
