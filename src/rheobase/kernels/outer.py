"""Sums of outer products, X^T G: the weight gradient, with its sums in registers.

Rows of X `[M, K]` and G `[M, N]` are taken in chunks that stay in the caches. Of X, blocks of four columns
are searched for rows in which not all four are zero, of which the values and the row's number are kept. A
chunk of a few vectors of G's columns is copied side by side. A block of four columns with such a panel makes
4 x 4 vectors of the result (see `rheobase.kernels.microkernels`), with one load a row for each vector of
either. Searching costs little beside that, even where nothing is zero; neither factor is transposed.

Rows are summed in a fixed number of parts, which are added up at the end. Threads share the parts out among
themselves, and the columns of X where there are fewer parts than threads. The result does not depend on the
number of threads, and long sums round less.

Measured on one core of an AMD Zen 5 (ms of processor time; oneDNN with a transposed copy, MKL, `events`):

    rows   N     K     density  here  oneDNN  MKL   events
    50176  220   220   0.03     10.5  35.9    48.9  14.3
    50176  220   220   0.3      22.5  36.6    52.6  55.2
    50176  220   220   1        27.5  33.0    49.1
    3200   1000  1000  0.04     7.8   28.7    54.6  12.6
    2500   100   100   0.1      0.23  0.34    0.48  0.33
    8000   512   512   1        19.1  20.5    36.9
"""

from __future__ import annotations

import functools
from importlib.resources import files

import numpy as np
import torch
from torch import Tensor

from rheobase.kernels.cache import Kernel
from rheobase.kernels.native import NUMBER
from rheobase.kernels.vectors import BYTES, PRODUCT, ROWS, padded, version
from rheobase.kernels.workspace import empty, for_threads

CHUNK = 128  # rows that are taken at a time
PARTS = 8  # partial sums over rows, as far as memory and rows allow
PARTIAL_SIZE = 1 << 20  # numbers of all partial sums together


def limit(mkl_is_slow: bool) -> float:
    """The density below which `weight_gradient` is faster than a dense product by MKL or oneDNN."""
    return 0.5 if mkl_is_slow else 0.1


def weight_gradient(gradient: Tensor, x: Tensor) -> Tensor:
    """gradient^T x for `gradient` `[M, N]`, `x` `[M, K]`: `[N, K]`.

    >>> weight_gradient(torch.ones(3, 1), torch.arange(6.0).reshape(3, 2))
    tensor([[6., 9.]])
    """
    x, gradient = x.contiguous(), gradient.contiguous()
    (rows, inputs), outputs, size = x.shape, gradient.shape[1], x.element_size()
    blocks, threads = -(-inputs // ROWS), torch.get_num_threads()
    width = padded(outputs, size)
    parts = max(min(PARTS, PARTIAL_SIZE // (blocks * ROWS * width), rows // CHUNK), 1)
    out = empty((parts, blocks * ROWS, width), x.dtype).zero_()
    groups = min(-(-threads // parts), blocks)
    number, room = NUMBER[x.dtype], CHUNK + 1  # a row that is not kept is written all the same
    work = [
        for_threads((blocks, room), np.int32),
        for_threads((blocks, room * ROWS), number),
        for_threads((blocks,), np.int64),
        for_threads((CHUNK * PRODUCT * BYTES // size,), number),
    ]
    _kernel().run([x, gradient, out, groups, *work], parts * groups, rows * inputs)
    total = out[0] if parts == 1 else out.sum(0)
    return total[:inputs, :outputs].t().contiguous()


@functools.cache
def _kernel() -> Kernel:
    # As text: importing it would import Numba, which only compiling needs.
    source = files("rheobase.kernels").joinpath("outer_loops.py").read_text("utf-8")
    return Kernel(f"{source}\n# {version('outer_loops')}\n", "outer", "outer products")
