"""Numba source for neurons whose inputs' weights change at every spike: network and plasticity in one pass.

Each sample has a copy of the weights, which stays in cache while time runs. A step adds the rows of the
inputs that fired (and of the neurons that fired the step before, where they act on each other), moves the
neurons by their own equations (`rheobase.kernels.source`), and changes weights where there are spikes: the
column of a neuron that fired, the row of an input that did. What the changes are is said in
`rheobase.kernels.timing`; its numbers are arguments, its form (which terms are there) is in the text.
"""

from __future__ import annotations

from typing import NamedTuple

from rheobase.kernels.recurrent_source import Part, forward_step
from rheobase.kernels.source import HEADER, explain, indent
from rheobase.kernels.timing import Power, Timing, power_of

#: Numbers of a `Timing`, in the order in which the kernel takes them.
NUMBERS = (
    "plus", "minus", "plus_triplet", "minus_triplet", "silent", "power_plus", "power_minus", "bottom", "top",
)  # fmt: skip


class Form(NamedTuple):
    """What of a rule is in the kernel's text."""

    nearest: bool
    same_step: bool
    triplets: bool
    depresses: bool
    plus: Power
    minus: Power
    lateral: bool

    @classmethod
    def of(cls, timing: Timing, *, lateral: bool) -> Form:
        """The form of a rule; `lateral`, whether neurons act on each other."""
        return cls(
            timing.nearest,
            timing.same_step,
            timing.triplets,
            timing.depresses,
            power_of(timing.power_plus),
            power_of(timing.power_minus),
            lateral,
        )


def plastic_source(part: Part, form: Form, title: str) -> str:
    """The kernel.

    Arguments: inputs `[T or 1, B, P]`; other current `[T or 1, B, N]`; emissions `[1 + T, B, N]`, of which
    the first are given; states `[B, N]` (changed in place); coefficients; recorded states `[T, B, N]`;
    weights `[B, P, N]` and traces `[B, P]`, `[B, P]`, `[B, N]`, `[B, N]` (changed in place); weights among
    the neurons `[N, N]`, from each (first) to each; decays and gains `[4, 2]`; `NUMBERS`; then a row of
    currents for each thread.
    """
    states, records = part.states(0, "s"), part.records(0)
    args = ["inputs_all", "given_all", "out_all", *states, *part.coefficients(0), *records]
    args += ["weights_all", "pre_all", "pre_slow_all", "post_all", "post_slow_all", "lateral", "windows"]
    args += ["numbers", "y_all", "inputs_move", "given_moves", "steps", "thread", "low", "high"]
    header = HEADER.format(title=title, explanation=explain(part.trace), dtype=part.layout.dtype, flags="")
    body = _START + indent([f"{name} = numbers[{i}]" for i, name in enumerate(NUMBERS)], 1)
    body += _SAMPLE + (_LATERAL if form.lateral else "")
    body += forward_step([part], 3) + _potentiation(form)
    body += (_depression(form) if form.depresses else "") + _traces(form)
    return f"{header}def plastic({', '.join(args)}):\n{body}"


_START = """\
    depth, low_step = 1, 0
    inputs, size = weights_all.shape[1], weights_all.shape[2]
    y = y_all[thread]
"""

_SAMPLE = """\
    width = top - bottom
    for r in range(low, high):
        weights = weights_all[r]
        x1, x2, y1, y2 = pre_all[r], pre_slow_all[r], post_all[r], post_slow_all[r]
        for t in range(steps):
            s = inputs_all[t * inputs_move, r]
            given = given_all[t * given_moves, r]
            for k in range(size):
                y[k] = given[k]
            for j in range(inputs):
                if s[j] != ZERO:
                    row, value = weights[j], s[j]
                    for k in range(size):
                        y[k] += value * row[k]
"""

_LATERAL = """\
            before = out_all[t, r]
            for j in range(size):
                if before[j] != ZERO:
                    row, value = lateral[j], before[j]
                    for k in range(size):
                        y[k] += value * row[k]
"""


def _factor(power: Power, room: str, exponent: str) -> str:
    """The weight dependence, in units of the width."""
    return {
        "constant": "width",
        "linear": f"({room})",
        "power": f"width * max(({room}) / width, ZERO) ** {exponent}",
    }[power]


def _clip(target: str) -> list[str]:
    return [f"{target} = min(max(changed, bottom), top)"]


def _potentiation(form: Form) -> str:
    amplitude = "plus + plus_triplet * y2[k]" if form.triplets else "plus"
    if not form.same_step:
        seen = "x1[j]"
    elif form.nearest:
        seen = "(s[j] if s[j] != ZERO else x1[j])"
    else:
        seen = "(x1[j] + s[j])"
    factor = _factor(form.plus, "top - weights[j, k]", "power_plus")
    return (
        indent(["out = out_all[1 + t, r]", "for k in range(size):"], 3)
        + indent(["if out[k] != ZERO:"], 4)
        + indent([f"amount = out[k] * ({amplitude})", "for j in range(inputs):"], 5)
        + indent([f"changed = weights[j, k] + amount * ({seen} - silent) * {factor}"], 6)
        + indent(_clip("weights[j, k]"), 6)
    )


def _depression(form: Form) -> str:
    amplitude = "minus + minus_triplet * x2[j]" if form.triplets else "minus"
    factor = _factor(form.minus, "row[k] - bottom", "power_minus")
    return (
        indent(["for j in range(inputs):"], 3)
        + indent(["if s[j] != ZERO:"], 4)
        + indent(["row = weights[j]", f"amount = s[j] * ({amplitude})", "for k in range(size):"], 5)
        + indent([f"changed = row[k] - amount * y1[k] * {factor}"], 6)
        + indent(_clip("row[k]"), 6)
    )


def _traces(form: Form) -> str:
    """The traces, as the next step will see them."""
    text = ""
    fast, slow = [("x1", 0), ("y1", 2)], [("x2", 1), ("y2", 3)]
    for name, place in fast + (slow if form.triplets else []):
        spikes, count = ("s", "inputs") if name[0] == "x" else ("out", "size")
        text += indent([f"decay, gain = windows[{place}, 0], windows[{place}, 1]"], 3)
        text += indent([f"for j in range({count}):"], 3)
        fresh = f"gain * {spikes}[j]"
        if form.nearest:
            line = f"{name}[j] = {fresh} if {spikes}[j] != ZERO else decay * {name}[j]"
        else:
            line = f"{name}[j] = decay * {name}[j] + {fresh}"
        text += indent([line], 4)
    return text
