"""Kernels that are bound to types and shapes: a call tells no more than where its arguments lie.

To look at some thirty tensors, and to give each its working memory, takes longer than many a kernel runs.
Where calls come again and again with the same shapes, both are settled once: the table of slots (see
`rheobase.kernels.native`) is copied and only addresses are put in, and what a call needs for itself alone
lies in one piece of memory. Nothing of a call outlives it, so any number of them may be under way.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rheobase.kernels.cache import Kernel
from rheobase.kernels.native import HEAD, Call, type_name
from rheobase.kernels.tape import recording
from rheobase.kernels.threads import part_size, run_team, threads_for
from rheobase.kernels.workspace import APART, empty

_INTEGER, _DOUBLE = struct.Struct("q"), struct.Struct("d")


class Form(NamedTuple):
    """The type and shape of an array; of a number, which has no dimensions."""

    dtype: torch.dtype
    shape: tuple[int, ...] = ()

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def bits(number: float) -> int:
    """A number as an argument.

    >>> bits(0.0)
    0
    """
    value: int = _INTEGER.unpack(_DOUBLE.pack(number))[0]
    return value


class Bound:
    """A kernel for arguments of these forms.

    Args:
        kernel: The kernel.
        forms: What each argument is; None for an integer.
        size, work: See `Kernel.run`.
    """

    def __init__(self, kernel: Kernel, forms: Sequence[Form | None], size: int, work: int) -> None:
        types = ["i" if form is None else type_name(form.dtype, len(form.shape)) for form in forms]
        shapes = [n for form in forms if form is not None for n in form.shape]
        self._call = Call(tuple(types), [0] * len(types), shapes)
        self._arrays = [i for i, form in enumerate(forms) if form is not None and form.shape]
        self._entry = kernel.entry(self._call.types)
        self._size, self._work = size, work
        self._tables: dict[int, array[int]] = {}  # by the number of threads

    def run(self, values: Sequence[int]) -> None:
        """Call the kernel with these addresses of contiguous arrays, `bits` of numbers, and integers.

        The caller keeps the arrays alive.
        """
        threads = threads_for(self._size, self._work)
        if threads not in self._tables:
            part = part_size(self._size, threads)
            self._tables[threads] = self._call.slots(0, part, self._size, threads)
        slots = self._tables[threads][:]
        if len(values) != len(self._call.types):
            raise ValueError(f"got {len(values)} arguments, wanted {len(self._call.types)}")
        slots[HEAD : HEAD + len(values)] = array("q", values)
        open_ = recording()
        if open_ is not None:
            open_.kernel(self._entry, slots, threads, [values[i] for i in self._arrays])
        run_team(self._entry, slots, threads)


class Room:
    """Arrays in one piece of memory, none of which shares a cache line with another.

    >>> room = Room([Form(torch.float32, (2, 3)), Form(torch.float32, (5,))], torch.float32)
    >>> memory = room.zeros()
    >>> room.view(memory, 1, (5,), (1,)).tolist()
    [0.0, 0.0, 0.0, 0.0, 0.0]
    """

    def __init__(self, forms: Sequence[Form], dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._starts, size = [], 0
        for form in forms:
            self._starts.append(size)
            size += -(-form.bytes // APART) * APART
        self._size = (size + APART) // dtype.itemsize

    def zeros(self) -> Tensor:
        """Memory for all of them, of zeros."""
        return torch.zeros(self._size, dtype=self._dtype)

    def empty(self) -> Tensor:
        """Memory for all of them, uninitialised."""
        return empty((self._size,), self._dtype)

    def addresses(self, memory: Tensor) -> list[int]:
        """Where each of them is."""
        base = memory.data_ptr()
        base += -base % APART
        return [base + start for start in self._starts]

    def view(self, memory: Tensor, i: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Tensor:
        """Array `i`, which is of the memory's own type."""
        start = -memory.data_ptr() % APART + self._starts[i]
        return memory.as_strided(shape, strides, start // self._dtype.itemsize)
