"""Matrices on their way into a kernel and out of it: padded, transposed, or summed over parts.

A kernel reads weights in rows of whole vectors, and sums gradients of weights in several parts. To bring one
matrix from one form to the other takes some five operations of torch, each of which costs more than the
numbers do where layers are small. Here all matrices of a call are moved at once.
"""

from __future__ import annotations

import functools
from array import array
from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

import torch

from rheobase.kernels.bound import Bound, Form
from rheobase.kernels.cache import Kernel
from rheobase.kernels.settled import declare
from rheobase.kernels.vectors import version

_COLUMNS = 11


class Move(NamedTuple):
    """One matrix's way.

    Attributes:
        rows, columns: Its size where it comes from.
        pitch: Numbers from one of its rows to the next.
        width: The same where it goes to.
        transposed: Whether it arrives transposed.
        parts: How many matrices are summed, one after another, into the first, which is then moved.
        apart: Numbers from one of them to the next.
        masked: Whether numbers are multiplied by a mask of 0 and 1 (bytes), which has the shape of the
            matrix where it comes from (1) or, with rows that follow each other, of where it goes to (2).
    """

    rows: int
    columns: int
    pitch: int
    width: int
    transposed: bool = False
    parts: int = 1
    apart: int = 0
    masked: int = 0


class Moves:
    """Several matrices of one type, moved together.

    >>> a, b = torch.tensor([[1.0, 2.0]]), torch.empty(2, 1)
    >>> moves = Moves([Move(1, 2, pitch=2, width=1, transposed=True)], torch.float32)
    >>> moves.run([a.data_ptr()], [b.data_ptr()])
    >>> b.tolist()
    [[1.0], [2.0]]
    """

    def __init__(self, moves: Sequence[Move], dtype: torch.dtype) -> None:
        self._count = len(moves)
        self._table = array("q", [n for m in moves for n in (0, 0, *map(int, m), 0)])
        form = Form(torch.int64, (self._count, _COLUMNS))
        self._bound = Bound(_kernel(dtype), [form], self._count, 0) if moves else None

    def run(self, sources: Sequence[int], targets: Sequence[int], mask: int = 0) -> None:
        """Move them from these addresses to those; those that are masked with the mask at this address."""
        if self._bound is not None:
            table = self._table[:]
            table[0::_COLUMNS] = array("q", sources)
            table[1::_COLUMNS] = array("q", targets)
            table[_COLUMNS - 1 :: _COLUMNS] = array("q", [mask] * self._count)
            declare(table)
            self._bound.run([table.buffer_info()[0]])


@functools.cache
def _kernel(dtype: torch.dtype) -> Kernel:
    # As text: importing it would import Numba, which only compiling needs.
    loops = files("rheobase.kernels").joinpath("moves_loops.py").read_text("utf-8")
    name = {torch.float32: "float32", torch.float64: "float64"}[dtype]
    source = f"{loops.replace('np.float32', f'np.{name}')}\n# {version('moves_loops')}\n"
    return Kernel(source, "move", f"moves {name}")
