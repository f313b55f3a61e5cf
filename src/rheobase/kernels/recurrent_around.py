"""What a recurrent kernel does besides the neurons, and the memory that its threads work in."""

from __future__ import annotations

from typing import Literal, NamedTuple

from rheobase.kernels import vectors

#: Steps that a window of past values moves before it is copied back to the start of its buffer.
SLACK = 64


class Around(NamedTuple):
    """What a kernel does besides the neurons.

    Attributes:
        before: Whether the currents are made from inputs, by a dense connection.
        behind: Whether a dense connection behind the neurons is run, too.
        narrow: Whether that has so few outputs that its gradient is summed output by output, not event by
            event (backward).
        given: Whether derivatives by what was emitted come in (backward).
        tally: Whether the gradient of the recurrent weights is summed (backward, "dense" only), and how: each
            event by itself, or those of several steps together. Empty if not.
        gated: Whether there may be neurons that no derivative gets into (backward, "dense" only; see
            `rheobase.kernels.gates`). They are left out.
    """

    before: bool = False
    behind: bool = False
    narrow: bool = False
    given: bool = True
    tally: Literal["", "each", "together"] = ""
    gated: bool = False


class Sizes(NamedTuple):
    """Numbers that settle how much memory a thread works in.

    Attributes:
        size: The number of neurons.
        columns: Their number of inputs.
        longest: The longest delay in steps.
        itemsize: Bytes of a number.
        inputs: Inputs of the connection before.
        outputs: Outputs of the connection behind.
    """

    size: int = 1
    columns: int = 1
    longest: int = 1
    itemsize: int = 4
    inputs: int = 0
    outputs: int = 0


def working_memory(
    direction: str, way: str, around: Around, n: Sizes
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Names of the arrays that a kernel works in, with their kind and their shape for each thread.

    "F" is the computation's own dtype.
    """
    forward = direction == "forward"
    lanes, window = vectors.lanes(n.itemsize), n.longest + max(SLACK, n.longest)
    reach, width = n.size + 64, vectors.padded(n.columns, n.itemsize)  # read in whole vectors, beyond the end
    memory: dict[str, tuple[str, tuple[int, ...]]]
    if way == "taps":
        here, there = (n.columns, n.size) if forward else (n.size, n.columns)
        memory = {
            "past_all": ("F", (window * there * lanes,)),
            "pulled_all": ("F", (here * lanes,)),
            "row_all": ("F", (vectors.padded(here, n.itemsize),)),
        }
    elif forward:
        memory = {
            "y_rows": ("F", (4, width)),
            "found_rows": ("int32", (5, reach)),
            "counts_all": ("int64", (4,)),
        }
    else:
        memory = {
            "g_rows": ("F", (4, vectors.padded(n.size, n.itemsize))),
            "listed_all": ("int32", (n.columns,)),
        }
    if around.gated:
        row = vectors.padded(n.size, n.itemsize)  # another behind the last, since whole vectors are written
        memory["marks_row"] = ("F", (row,))
        memory["open_row"] = ("int32", (reach,))
        memory["gathered_rows"] = ("F", (5, row))
        memory["picked_rows"] = ("F", (n.columns + 1, row))
        if around.behind:
            memory["picked_behind_rows"] = ("F", (n.outputs + 1, row))
    if around.before:
        memory["active_row"] = ("int32", (vectors.padded(n.inputs, 4) + lanes,))
    if around.tally == "together":
        pairs = vectors.pairs(n.columns, n.itemsize)
        memory["sheaf_rows"] = ("int64", (2, pairs))
        memory["sheaf_before_rows"] = ("int64", (2, pairs))
        memory["words_rows"] = ("int32", (2, max(n.inputs, n.size) + 64))
    lists = lists_events(direction, way, around)
    if lists or around.tally == "each":
        memory["firing_row"] = ("int32", (reach,))
    if lists:
        memory["sums_row"] = ("F", (vectors.padded(n.outputs, n.itemsize),))
    elif around.behind and forward:
        memory["sums_rows"] = ("F", (4, vectors.padded(n.outputs, n.itemsize)))
    if around.behind and not forward:
        memory["outputs_row"] = ("int32", (n.outputs,))
    return memory


def lists_events(direction: str, way: str, around: Around) -> bool:
    """Whether the connection behind, or its gradient, takes a sample's events one by one."""
    return around.behind and not (way == "dense" if direction == "forward" else around.narrow)


def work_names(direction: str, way: str, around: Around) -> list[str]:
    return list(working_memory(direction, way, around, Sizes()))
