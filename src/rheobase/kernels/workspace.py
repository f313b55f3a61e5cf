"""Large buffers that are used again.

A training step fills the same few large tensors each time. Memory fresh from the operating system
is dear: every page of it is a fault (10 MB: 2,500 faults, about as long as the arithmetic on it).
Here a buffer goes back to a pool when the last tensor on it dies, and the next tensor of that size
takes it. Nobody can see the difference but the clock: a tensor's memory is its own while it lives.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections import OrderedDict, deque
from typing import Any

import numpy as np
import torch
from torch import Tensor

SMALL = 1 << 19  # bytes below which torch's own allocator serves
KEPT = 1 << 30  # bytes of idle buffers that are kept
ALIGN = 64

_free: OrderedDict[int, deque[Any]] = OrderedDict()  # idle buffers by size, least recently used first
_idle = 0
_lock = threading.RLock()  # re-entrant: a collection inside `_give` may end another tensor's life

_NUMPY = {torch.float32: np.float32, torch.float64: np.float64, torch.bool: np.bool_}


def empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """An uninitialised CPU tensor, like `torch.empty`.

    >>> empty((2, 3), torch.float32).shape
    torch.Size([2, 3])
    """
    size = math.prod(shape) * dtype.itemsize
    if size < SMALL or dtype not in _NUMPY:
        return torch.empty(shape, dtype=dtype)
    buffer = _take(size)
    start = -buffer.ctypes.data % ALIGN
    array = np.ndarray(shape, _NUMPY[dtype], buffer, start)
    # torch holds `array` until the tensor's storage is freed.
    weakref.finalize(array, _give, size, buffer).atexit = False
    return torch.from_numpy(array)


def zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of zeros, like `torch.zeros`."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    return empty(shape, dtype).zero_()


def clear() -> None:
    """Return all idle buffers to the operating system."""
    global _idle
    with _lock:
        _free.clear()
        _idle = 0


def _take(size: int) -> Any:
    global _idle
    with _lock:
        if _free.get(size):
            _idle -= size
            _free.move_to_end(size)
            return _free[size].pop()
    return np.empty(size + ALIGN, np.uint8)


def _give(size: int, buffer: Any) -> None:
    global _idle
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
