"""Numba source for eligibility traces: one pass forward in time, for each neuron and each sample.

What is constant or zero among a neuron's derivatives is so in the text; neurons whose derivatives have the
same form share a kernel. A neuron's traces over all of its synapses stay in the first-level cache while time
runs; the innermost loop is over synapses, and vectorises.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from rheobase.kernels.source import HEADER, indent

#: How a factor is given: one number, one per neuron, or one per step, sample and neuron.
Kind = Literal["number", "neuron", "step"]


class Form(NamedTuple):
    """What of the sums (see `rheobase.kernels.eligibility`) is in the kernel's text.

    A trace is a state variable of the neuron or of what filters its spikes, by its number; factors are named
    by what they multiply and what for.

    Attributes:
        states, filters: The number of state variables of the neuron, and of the filter.
        ports: The number of the neuron's inputs.
        factors: Name and kind of each factor, in the order of arguments.
        signals: Names of the traces (or "e") that have a signal.
        delayed: Whether each synapse has a delay of its own.
        dtype: "float32" or "float64".
    """

    states: int
    filters: int
    ports: int
    factors: tuple[tuple[str, Kind], ...]
    signals: tuple[str, ...]
    delayed: bool
    dtype: str

    @property
    def traces(self) -> tuple[str, ...]:
        """Names of the traces: "s0", ..., then "f0", ..."""
        return (*(f"s{i}" for i in range(self.states)), *(f"f{i}" for i in range(self.filters)))


def eligibility_source(form: Form) -> str:
    """The kernel.

    Arguments: what came in `[D + T, B, I]`; delays `[P * n, I]` (or one number, if not `delayed`); factors;
    signals `[T, B, n]`; the traces before, and those after to be filled, `[P * n, B, V, I]`; the sums to be
    filled, `[P * n, I]`; n, D, T, and which of the neurons.
    """
    kinds = dict(form.factors)
    args = ["seen_all", "delay_all", *(_argument(name, kind) for name, kind in form.factors)]
    args += [f"l_{name}_all" for name in form.signals]
    args += ["before_all", "after_all", "total_all", "size", "depth", "steps", "low", "high"]
    ports = range(form.ports)
    at = [f"{p} * size + j" if p else "j" for p in ports]
    neuron = [f"d_{name} = d_{name}_all[j]" for name, kind in form.factors if kind == "neuron"]
    neuron += [f"total{p} = total_all[{at[p]}]" for p in ports]
    neuron += [f"delay{p} = delay_all[{at[p]}]" for p in ports] if form.delayed else []
    places = [(p, i, name) for p in ports for i, name in enumerate(form.traces)]
    sample = [f"before{p}_{name} = before_all[{at[p]}, r, {i}]" for p, i, name in places]
    sample += [f"{name}{p} = after_all[{at[p]}, r, {i}]" for p, i, name in places]
    step = [f"d_{name} = d_{name}_all[t, r, j]" for name, kind in form.factors if kind == "step"]
    step += [f"l_{name} = l_{name}_all[t, r, j]" for name in form.signals]
    step += [] if form.delayed else ["x = seen_all[depth + t, r]"]
    text = _header(form) + f"def eligibility({', '.join(args)}):\n"
    text += indent(["batch, width = seen_all.shape[1], seen_all.shape[2]", "for j in range(low, high):"], 1)
    text += indent([f"total_all[{place}, :] = ZERO" for place in at], 2)
    # A sample's neurons follow one another: what its synapses saw stays in the second-level cache.
    text += indent(["for r in range(batch):"], 1)
    text += indent(["for j in range(low, high):", *(f"    {line}" for line in neuron)], 2)
    if places:
        text += indent([*sample, "for k in range(width):"], 3)
        text += indent([f"{name}{p}[k] = before{p}_{name}[k]" for p, _, name in places], 4)
    text += indent(["for t in range(steps):", *(f"    {line}" for line in step)], 3)
    for p in ports:
        text += indent(["for k in range(width):"], 4) + indent(_synapse(form, kinds, p), 5)
    return text


def _argument(name: str, kind: Kind) -> str:
    return f"d_{name}" if kind == "number" else f"d_{name}_all"


def _synapse(form: Form, kinds: dict[str, Kind], p: int) -> list[str]:
    """One step of one synapse."""
    states, filters = range(form.states), range(form.filters)
    wanted = "e" in form.signals or any(f"e_f{i}" in kinds for i in filters)

    def combined(parts: Sequence[tuple[str, str]]) -> str:
        """The sum of those products whose factor is there."""
        return " + ".join(f"d_{name} * {value}" for name, value in parts if name in kinds) or "ZERO"

    lines = [f"i = seen_all[depth + t - delay{p}[k], r, k]" if form.delayed else "i = x[k]"]
    lines += [f"o{i} = s{i}{p}[k]" for i in states]
    if wanted:
        parts = [(f"s{i}_e", f"o{i}") for i in states]
        lines.append(f"e = {combined([(f'i{p}_e', 'i'), *parts])}")
    for i in states:
        parts = [(f"s{k}_s{i}", f"o{k}") for k in states]
        lines.append(f"n{i} = {combined([(f'i{p}_s{i}', 'i'), *parts])}")
    lines += [f"s{i}{p}[k] = n{i}" for i in states]
    lines += [f"b{i} = f{i}{p}[k]" for i in filters]
    for i in filters:
        parts = [(f"f{k}_f{i}", f"b{k}") for k in filters]
        lines.append(f"m{i} = {combined([(f'e_f{i}', 'e'), *parts])}")
    lines += [f"f{i}{p}[k] = m{i}" for i in filters]
    local = {"e": "e", **{f"s{i}": f"n{i}" for i in states}, **{f"f{i}": f"m{i}" for i in filters}}
    if form.signals:
        lines.append(f"total{p}[k] += {' + '.join(f'l_{name} * {local[name]}' for name in form.signals)}")
    return lines


def _header(form: Form) -> str:
    flags = ', fastmath={"contract", "nsz"}'
    return HEADER.format(
        title="Eligibility traces.",
        explanation=f"{form.states} state variables, a filter of {form.filters}.",
        dtype=form.dtype,
        flags=flags,
    )
