"""Weights by rows, a row for each neuron (or input) that may spike: a part of a kernel's source.

See `rheobase.kernels.population_lists_source`. A matrix of a stage has a row for each of its currents and a
column for each sender; here each column becomes a row of whole vectors, in which the groups' currents begin
with a vector. Senders, too, are numbered by vectors. What lies between stays zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rheobase.kernels.population_form import Form

#: Numbers in a vector.
LANES = 16


def width(form: Form, at: int) -> int:
    """The vectors of a stage's currents: of its groups, input by input."""
    stage = form.stages[at]
    return sum(vectors * len(t.inputs) for vectors, t in zip(stage.sizes, stage.traces, strict=True))


def lay_out(form: Form, at: int) -> list[str]:
    """Weights by rows, a row for each neuron (or input) that may spike."""
    stage, whole = form.stages[at], width(form, at)
    to, among = list(_columns(form, at)), list(_senders(form, at))
    before = list(_senders(form, at - 1)) if at else [("0", f"weights{at}.shape[2]", 0)]
    lines = _lay(f"weights{at}", f"w{at}", to, before, str(whole))
    for factored, matrix, into, sources in (
        (stage.factored, f"right{at}", f"w_right{at}", before),
        (stage.recurrent_factored, f"recurrent_right{at}", f"r_right{at}", among),
    ):
        if factored:
            rank = [("0", f"{matrix}.shape[1]", 0)]
            lines += _lay(matrix, into, rank, sources, whole_vectors(f"{matrix}.shape[1]"))
            left = matrix.replace("right", "left")
            lines += _lay(left, into.replace("right", "left"), to, rank, str(whole))
    if stage.recurrent:
        lines += _lay(f"recurrent{at}", f"r{at}", to, among, str(whole))
    return lines


def whole_vectors(size: str) -> str:
    return f"(({size} + {LANES - 1}) // {LANES})"


def _columns(form: Form, at: int) -> Iterator[tuple[str, str, int]]:
    """Of each group and input of a stage: its first row in a matrix, how many they are, its first vector."""
    stage, row, vector = form.stages[at], "0", 0
    for g, (vectors, t) in enumerate(zip(stage.sizes, stage.traces, strict=True)):
        for _ in t.inputs:
            yield row, f"size{at}_{g}", vector
            row, vector = f"{row} + size{at}_{g}", vector + vectors


def _senders(form: Form, at: int) -> Iterator[tuple[str, str, int]]:
    """Of each group: its first column in the matrix behind, how many they are, its first vector."""
    column, vector = "0", 0
    for g, vectors in enumerate(form.stages[at].sizes):
        yield column, f"size{at}_{g}", vector
        column, vector = f"{column} + size{at}_{g}", vector + vectors


def _lay(
    matrix: str,
    into: str,
    rows: Sequence[tuple[str, str, int]],
    columns: Sequence[tuple[str, str, int]],
    vectors: str,
) -> list[str]:
    """The member's matrix by its columns, each of so many vectors; none if it is there already."""
    lines = [f"if member < 0 or (p != member and {matrix}.shape[0] > 1):"]
    for column, senders, sender in columns:
        for row, receivers, receiver in rows:
            target = f"(k + {sender * LANES}) * {vectors} * {LANES} + {receiver * LANES} + m"
            lines += [
                f"    for m in range({receivers}):",
                f"        for k in range({senders}):",
                f"            {into}[{target}] = p_{matrix}[{row} + m, {column} + k]",
            ]
    return lines
