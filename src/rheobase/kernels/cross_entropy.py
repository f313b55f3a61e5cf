"""Cross-entropies of many rows of few classes, summed, with their derivative in the same pass.

    loss = scale sum_r (ln sum_k exp(z[r, k]) - z[r, y[r]])

torch takes some ten operations for the two, and one row of classes after another, which fill no vector. Here
rows lie side by side. Sums over rows are made in a fixed number of parts, so that the result does not depend
on the number of threads.
"""

from __future__ import annotations

import functools
import math
from array import array
from importlib.resources import files

import torch
from torch import Tensor

from rheobase.kernels.bound import Bound, Form, bits
from rheobase.kernels.cache import Kernel
from rheobase.kernels.settled import declare, host
from rheobase.kernels.workspace import apart

MOST = 32  # classes up to which rows are worth laying side by side
PARTS = 16
SIDE = 64  # rows side by side, as in the loops
COST = 10  # updates of a neuron that an exponential function is worth


def serves(scores: Tensor) -> bool:
    """Whether `cross_entropy` takes these scores `[R, C]`."""
    return scores.device.type == "cpu" and scores.dtype in _NAMES and 0 < scores.shape[1] <= MOST


def cross_entropy(scores: Tensor, labels: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """The loss and its derivative by `scores` `[R, C]`.

    Args:
        scores: z, `[R, C]`.
        labels: y, int64 `[L]` below C, where R is a multiple of L: row r has label r modulo L.
        scale: A factor.

    >>> loss, by_scores = cross_entropy(torch.zeros(3, 2), torch.tensor([0]), 1.0)  # 3 ln 2
    >>> round(loss.item(), 4), by_scores[0].tolist()
    (2.0794, [-0.5, 0.5])
    """
    scores, labels = scores.detach().contiguous(), labels.contiguous()
    by_scores = torch.empty_like(scores)
    losses, loss = array("d", bytes(8 * PARTS)), torch.empty((), dtype=scores.dtype)
    declare(losses)
    threads = torch.get_num_threads()
    work = torch.zeros((threads, *_work(scores.dtype, scores.shape[1])), dtype=scores.dtype)
    given = (scores.data_ptr(), labels.data_ptr(), losses.buffer_info()[0], by_scores.data_ptr())
    call = _call(scores.dtype, *scores.shape, len(labels))
    call.run([*given, work.data_ptr(), bits(scale)])
    host(lambda: loss.fill_(scale * math.fsum(losses)), loss)
    return loss, by_scores


_NAMES = {torch.float32: "float32", torch.float64: "float64"}


@functools.lru_cache(maxsize=256)
def _call(dtype: torch.dtype, rows: int, classes: int, period: int) -> Bound:
    over_rows, parts = Form(dtype, (rows, classes)), Form(torch.float64, (PARTS,))
    work = Form(dtype, (1, *_work(dtype, classes)))
    forms = [over_rows, Form(torch.int64, (period,)), parts, over_rows, work, Form(dtype)]
    return Bound(_kernel(dtype), forms, PARTS, COST * rows * classes)


def _work(dtype: torch.dtype, classes: int) -> tuple[int, ...]:
    return apart((classes + 2, SIDE), dtype.itemsize)


@functools.cache
def _kernel(dtype: torch.dtype) -> Kernel:
    # As text: importing it would import Numba, which only compiling needs.
    source = files("rheobase.kernels").joinpath("cross_entropy_loops.py").read_text("utf-8")
    if dtype == torch.float64:
        source += "\n\n_exp = math.exp\n"
    return Kernel(source, "cross_entropy", f"cross-entropy {_NAMES[dtype]}")
