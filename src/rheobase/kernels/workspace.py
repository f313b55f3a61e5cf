"""Large buffers that are used again.

A training step fills the same few large tensors each time. Memory fresh from the operating system
is dear: every page of it is a fault (10 MB: 2,500 faults, about as long as the arithmetic on it).
Here a buffer goes back to a pool when the last tensor on it dies, and the next tensor of that size
takes it. Nobody can see the difference but the clock: a tensor's memory is its own while it lives.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict, deque
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rheobase.kernels.settled import declare

SMALL = 1 << 19  # bytes below which torch's own allocator serves
KEPT = 1 << 30  # bytes of idle buffers that are kept
ALIGN = 64
APART = 128  # bytes: processors fetch cache lines in pairs
PAGE = 4096  # bytes: where they stop to fetch what comes next

_free: OrderedDict[int, deque[_Buffer]] = OrderedDict()  # idle buffers by size, least recently used first
_idle = 0
_lock = threading.RLock()  # re-entrant: a collection inside `_give` may end another tensor's life

_NUMPY = {torch.float32: np.float32, torch.float64: np.float64, torch.bool: np.bool_}


class _Lent(np.ndarray[Any, Any]):
    """An array on a buffer that goes back to the pool when nobody holds the array any more."""

    def __del__(self) -> None:
        # A slice of it, which has no buffer of its own, is of this type as well.
        if isinstance(self.base, _Buffer) and _give is not None:  # None: the interpreter is shutting down
            _give(self.base)


class _Buffer(np.ndarray[Any, Any]):
    """Memory of the pool: bytes from an aligned address on."""


def empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """An uninitialised CPU tensor, like `torch.empty`.

    >>> empty((2, 3), torch.float32).shape
    torch.Size([2, 3])
    """
    size = math.prod(shape) * dtype.itemsize
    if size < SMALL or dtype not in _NUMPY:
        return torch.empty(shape, dtype=dtype)
    # torch holds the array until the tensor's storage is freed.
    found = torch.from_numpy(np.ndarray.__new__(_Lent, shape, _NUMPY[dtype], _take(size)))
    declare(found)
    return found


def zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of zeros, like `torch.zeros`."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    return empty(shape, dtype).zero_()


def apart(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """The shape of what a thread works in, lengthened so that the next thread's lies on another page.

    Two threads that write to one cache line take it from each other at each write. So does a processor that,
    as one thread reads up to the end of its own, fetches what comes next, up to the end of the page. W1's
    hidden layer took 1.0 to 2.5 ms back on two threads; with a page between what they work in, 0.8 to 0.9.

    >>> apart((5, 3), 4), apart((1024,), 4)
    ((352, 3), (2048,))
    """
    row = math.prod(shape[1:]) * itemsize
    whole = APART // math.gcd(row, APART)
    return (-(-(shape[0] * row + PAGE) // (whole * row)) * whole, *shape[1:])


def for_threads(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Zeros `[threads, *shape]` for a kernel to work in, the first axis of `shape` lengthened (see `apart`).

    >>> for_threads((5, 3), np.float32).shape[1:]
    (352, 3)
    """
    kind = np.dtype(dtype)
    full = (torch.get_num_threads(), *apart(shape, kind.itemsize))
    buffer = np.zeros(math.prod(full) * kind.itemsize + APART, np.uint8)
    address: int = buffer.__array_interface__["data"][0]
    array: npt.NDArray[Any] = np.ndarray(full, kind, buffer, -address % APART)
    return array


def clear() -> None:
    """Return all idle buffers to the operating system."""
    global _idle
    with _lock:
        _free.clear()
        _idle = 0


def _take(size: int) -> _Buffer:
    global _idle
    with _lock:
        if _free.get(size):
            _idle -= size
            _free.move_to_end(size)
            return _free[size].pop()
    whole = np.empty(size + ALIGN, np.uint8)
    buffer: _Buffer = np.ndarray.__new__(_Buffer, (size,), np.uint8, whole, -whole.ctypes.data % ALIGN)
    return buffer


def _give(buffer: _Buffer) -> None:
    global _idle
    size = buffer.nbytes
    with _lock:
        _free.setdefault(size, deque()).append(buffer)
        _free.move_to_end(size)
        _idle += size
        while _idle > KEPT:
            oldest = next(iter(_free))
            if _free[oldest]:
                _free[oldest].popleft()
                _idle -= oldest
            if not _free[oldest]:
                del _free[oldest]
