"""Running kernels on several cores: a range is split into parts, which threads take in turn, each from a
share of its own first (see `rheobase.kernels.native`).

Compiled kernels run on the threads of torch's own OpenMP team. Those threads do not sleep between torch's
parallel regions: for some milliseconds they spin, waiting for the next, so that a thread of anybody else's
gets half a core, and a thread that was asleep may be woken on the core of its waker. Joining them takes 10
microseconds. Where torch has no GNU OpenMP, or after a fork (which its threads do not survive), Python
threads serve; so they do for functions in Python that call what lets go of the GIL.

An index's result does not depend on the split: any number of threads gives the same bits.
"""

from __future__ import annotations

import ctypes
import functools
import os
from array import array
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch

from rheobase.kernels.native import NUMBERING

#: Below this many updates (columns x steps) a second thread costs more than it brings.
SMALL = 40_000

#: Parts per thread.
PARTS = 4

_process = os.getpid()


def threads_for(size: int, work: int) -> int:
    """How many threads are worth it; at most torch's (`torch.set_num_threads`)."""
    return max(min(torch.get_num_threads(), size), 1) if work >= SMALL else 1


def part_size(size: int, threads: int) -> int:
    """How many indices a thread takes at a time."""
    if threads == 1:
        return max(size, 1)
    part = -(-size // (threads * PARTS))
    # Whole cache lines of 16 floats per part, so that threads do not share one.
    return -(-part // 16) * 16 if size >= 16 * threads * PARTS else part


def run_team(entry: Any, slots: array[int], threads: int) -> None:
    """Call a compiled `entry` once on each of `threads` threads, with a table of slots for it alone."""
    table = slots.buffer_info()[0]
    team = _openmp() if threads > 1 and os.getpid() == _process else None
    if threads == 1:
        entry(table)
    elif team is not None:
        slots[NUMBERING] = team.number
        team.parallel(entry, table, threads, 0)
    else:
        _on_python_threads(functools.partial(entry, table), threads)


class _Team(NamedTuple):
    """`GOMP_parallel`, and the address of the function that tells a thread of it its number."""

    parallel: Any
    number: int


@functools.cache
def _openmp() -> _Team | None:
    """The team of the library that torch has loaded; None if it is another's OpenMP."""
    if not hasattr(os, "RTLD_NOLOAD"):
        return None
    bundled = (Path(torch.__file__).parent / "lib").glob("libgomp*")
    for name in (*map(str, bundled), "libgomp.so.1"):
        try:
            library = ctypes.CDLL(name, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
            parallel, number = library.GOMP_parallel, library.omp_get_thread_num
        except (OSError, AttributeError):
            continue
        parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        parallel.restype = None
        return _Team(parallel, ctypes.cast(number, ctypes.c_void_p).value or 0)
    return None


def split(function: Callable[[int, int], None], size: int, work: int) -> None:
    """Call `function(low, high)` on parts of `range(size)`, in parallel if `work` is worth it."""
    threads = threads_for(size, work)
    if threads == 1:
        function(0, size)
        return
    part = part_size(size, threads)
    # Threads take the next part when they are done with one: a thread that is late only does less.
    bounds = iter([(low, min(low + part, size)) for low in range(0, size, part)])

    def take() -> None:
        try:
            for low, high in bounds:
                function(low, high)
        finally:  # after an error the others stop, too
            for _ in bounds:
                pass

    _on_python_threads(take, threads)


@functools.cache
def _pool(process: int, workers: int) -> ThreadPoolExecutor:
    # Keyed by process: threads do not survive a fork.
    return ThreadPoolExecutor(workers, thread_name_prefix="rheobase")


def _on_python_threads(take: Callable[[], None], threads: int) -> None:
    """Call `take` on this thread and on helpers; those that have not begun when it returns never do."""
    helpers = [_pool(os.getpid(), threads - 1).submit(take) for _ in range(threads - 1)]
    try:
        take()
    finally:  # also after an error: nobody may write to the caller's arrays once this returns
        for helper in helpers:
            if not helper.cancel():  # not begun: nothing is left to do
                helper.result()
