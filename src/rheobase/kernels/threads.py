"""Running a kernel on several cores: the columns are split into parts, which threads take in turn.

The kernels release the GIL, so plain Python threads do. A column's result does not depend on the
split: any number of threads gives the same bits.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

#: Below this many updates (columns x steps) a second thread costs more than it brings.
SMALL = 40_000

#: Parts per thread.
PARTS = 4


@functools.cache
def _pool(process: int, workers: int) -> ThreadPoolExecutor:
    # Keyed by process: threads do not survive a fork.
    return ThreadPoolExecutor(workers, thread_name_prefix="rheobase")


def split(function: Callable[[int, int], None], size: int, work: int) -> None:
    """Call `function(low, high)` on parts of `range(size)`, in parallel if `work` is worth it.

    The number of threads is torch's (`torch.set_num_threads`).
    """
    threads = min(torch.get_num_threads(), size) if work >= SMALL else 1
    if threads <= 1:
        function(0, size)
        return
    # Whole cache lines of 16 floats per part, so that threads do not share one.
    part = -(-size // (threads * PARTS))
    part = -(-part // 16) * 16 if size >= 16 * threads * PARTS else part
    # Threads take the next part when they are done with one: a thread that is late (the one that torch's
    # OpenMP leaves spinning on its core for a while, say) then only does less.
    bounds = iter([(low, min(low + part, size)) for low in range(0, size, part)])

    def take() -> None:
        for low, high in bounds:
            function(low, high)

    helpers = [_pool(os.getpid(), threads - 1).submit(take) for _ in range(threads - 1)]
    try:
        take()
    finally:  # also after an error: nobody may write to the caller's arrays once this returns
        for _ in bounds:
            pass
        for helper in helpers:
            if not helper.cancel():  # not begun: nothing is left to do
                helper.result()
