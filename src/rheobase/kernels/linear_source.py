"""Numba source for a linear system of a few states over a sequence, and for its adjoint.

Entries of the system that are zero are left out of the loops; all others are arguments, so that systems of
one form share a kernel. Columns are independent: a chunk of them keeps its states in the first-level cache
while time runs.
"""

from __future__ import annotations

from collections.abc import Sequence

CHUNK = 1024

_HEADER = '''"""A linear system of {states} states over a sequence: its response and its adjoint.

Made by rheobase; safe to delete.
"""

import numba


@numba.njit(nogil=True, error_model="numpy", fastmath={{"contract", "nsz"}})
def {name}(x_all, y_all, states_all, numbers, low, high):
'''

#: Which entries of the matrix, the input's and the output's vector are not zero, row by row.
Form = tuple[tuple[bool, ...], tuple[bool, ...], tuple[bool, ...]]


def respond_source(form: Form) -> str:
    """`respond(x [T, M], y [T, M], states [S, M], numbers, low, high)`: y = c s, s = A s + b x."""
    matrix, given, read = form
    size = len(given)
    step = ["u = x[k]"]
    for i in range(size):
        terms = [f"a{i}{j} * s{j}[k]" for j in range(size) if matrix[i * size + j]]
        terms += [f"b{i} * u"] if given[i] else []
        step.append(f"n{i} = {_sum(terms)}")
    step += [f"s{i}[k] = n{i}" for i in range(size)]
    step.append(f"y[k] = {_sum([f'c{i} * n{i}' for i in range(size) if read[i]])}")
    return _function("respond", form, "t = step", step)


def adjoint_source(form: Form) -> str:
    """`adjoint(g [T, M], p [T, M], states [S, M], numbers, low, high)`: p = b q, q = A^T q + c g, backward.

    `states` are the derivatives by the final state before, and by the first one after.
    """
    matrix, given, read = form
    size = len(given)
    step = ["u = x[k]"]
    for i in range(size):
        step.append(f"n{i} = {_sum([f's{i}[k]', *([f'c{i} * u'] if read[i] else [])])}")
    for i in range(size):
        step.append(f"s{i}[k] = {_sum([f'a{j}{i} * n{j}' for j in range(size) if matrix[j * size + i]])}")
    step.append(f"y[k] = {_sum([f'b{i} * n{i}' for i in range(size) if given[i]])}")
    return _function("adjoint", form, "t = steps - 1 - step", step)


def numbers_of(form: Form, values: Sequence[Sequence[float]]) -> list[float]:
    """The entries that are not zero, in the order in which the kernels read them."""
    return [v for flags, row in zip(form, values, strict=True) for f, v in zip(flags, row, strict=True) if f]


def _function(name: str, form: Form, time: str, step: Sequence[str]) -> str:
    size = len(form[1])
    names = [f"a{i}{j}" for i in range(size) for j in range(size)]
    names += [f"b{i}" for i in range(size)] + [f"c{i}" for i in range(size)]
    used = [n for n, flag in zip(names, (*form[0], *form[1], *form[2]), strict=True) if flag]
    lines = [f"{n} = numbers[{k}]" for k, n in enumerate(used)]
    lines += [
        "steps = x_all.shape[0]",
        f"for first in range(low, high, {CHUNK}):",
        f"    last = min(first + {CHUNK}, high)",
        "    width = last - first",
        *(f"    s{i} = states_all[{i}, first:last]" for i in range(size)),
        "    for step in range(steps):",
        f"        {time}",
        "        x, y = x_all[t, first:last], y_all[t, first:last]",
        "        for k in range(width):",
        *(f"            {line}" for line in step),
    ]
    return _HEADER.format(states=size, name=name) + "".join(f"    {line}\n" for line in lines)


def _sum(terms: Sequence[str]) -> str:
    return " + ".join(terms) if terms else "x[k] * 0"
