"""Products with spikes: rows of the weights are added for the few inputs that are not zero.

At a firing rate of a few per cent, most of a dense product is multiplication by zero. Here a row of
x is searched for values that are not zero, and only their weights are touched. The rows of x are
treated independently, in order; sums over rows (the weight gradient) are made in a number of parts
that depends on the shape only, so that the result does not depend on the number of threads.

Measured on one core of an AMD Zen 5 against oneDNN, at a density of 5 %: 20000 x 220 by 220 x 220 1.9 times
faster, 8000 x 512 by 512 x 512 2.5 times; 25600 x 784 by 784 x 100 at 0.5 % (an image in a latency code) 2.5
times. Weight gradients are made here where about one value in a hundred is not zero, or fewer; above that
`rheobase.kernels.outer` is faster (25600 x 100 and 25600 x 784 at 0.5 %: 7.8 ms here, 9.3 there).
"""

from __future__ import annotations

import functools
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rheobase.kernels.cache import Kernel
from rheobase.kernels.vectors import BYTES, padded, version
from rheobase.kernels.workspace import empty, for_threads

Array = np.ndarray[Any, Any]

SAMPLED = 64  # rows looked at to estimate the density
WORTHWHILE = 1 << 17  # elements of x below which a dense product is always taken
PARTS = 8  # partial sums of the weight gradient, as far as memory allows
PARTIAL_SIZE = 1 << 22  # elements of all partial sums together

#: Shares of one array's values that are not zero, by the number of rows looked at: what is known already.
Shares = dict[int, float]

BITS = {torch.float32: np.uint32, torch.float64: np.uint64}


def worth_gathering(x: Tensor, outputs: int, known: Shares | None = None) -> bool:
    """Whether `multiply` of `x` `[M, K]` into `outputs` columns is faster than a dense product.

    Costs per element of x in ns (one core of a Zen 5): dense 0.01 outputs, of which a fifth is left as a
    margin; search 0.28; a value that is not zero 1.2 + 0.03 outputs.
    """
    limit = (0.008 * outputs - 0.28) / (1.2 + 0.03 * outputs)
    return limit > 0 and density(x, known) < limit


def density(x: Tensor, known: Shares | None = None) -> float:
    """The share of values of `x` that are not zero, estimated from some of its rows.

    1 where nothing here can serve: another device, another type, or too few values to be worth a look.
    """
    if x.device.type != "cpu" or x.dtype not in BITS or x.numel() < WORTHWHILE:
        return 1.0
    return share_of_events(x, SAMPLED, known)


def share_of_events(x: Tensor, sampled: int, known: Shares | None = None) -> float:
    """The share of values that are not zero in about `sampled` of the rows, looked up if it is `known`.

    >>> share_of_events(torch.eye(4), 2)
    0.25
    """
    if known is not None and sampled in known:
        return known[sampled]
    rows = x[:: max(x.shape[0] // sampled, 1)]
    share = int(torch.count_nonzero(rows)) / rows.numel()
    if known is not None:
        known[sampled] = share
    return share


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> Tensor:
    """x W^T + b into `out`, for `x` `[M, K]` (mostly zeros), `weight` `[N, K]`."""
    x = x.contiguous()
    inputs, outputs = x.shape[1], weight.shape[0]
    columns = weight.new_zeros(inputs, padded(outputs, weight.element_size()))
    columns[:, :outputs] = weight.t()
    start = x.new_zeros(outputs) if bias is None else bias.contiguous()
    sums = for_threads((columns.shape[1],), columns.numpy().dtype)
    row, found = _row(x)
    arrays = [x, columns, start, out, row, sums, found]
    _kernel("gather").run(arrays, x.shape[0], x.numel())
    return out


def weight_gradient(gradient: Tensor, x: Tensor) -> Tensor:
    """gradient^T x for `gradient` `[M, N]`, `x` `[M, K]` (mostly zeros): `[N, K]`."""
    x, gradient = x.contiguous(), gradient.contiguous()
    size = x.shape[1] * gradient.shape[1]
    parts = max(min(PARTS, PARTIAL_SIZE // size, x.shape[0]), 1)
    sums = empty((parts, x.shape[1], gradient.shape[1]), x.dtype).zero_()
    bits = x.numpy().view(BITS[x.dtype])
    _kernel("scatter").run(
        [bits, x, gradient, sums, for_threads((x.shape[1] + 1,), np.int32)],
        parts,
        x.numel(),
    )
    return sums.sum(0).t().contiguous()


def _row(x: Tensor) -> tuple[Array, Array]:
    """Working memory per thread: a row of x, read in whole vectors, and indices of what is not zero in it."""
    shape = (x.shape[1] + BYTES,)
    return for_threads(shape, x.numpy().dtype), for_threads(shape, np.int32)


@functools.cache
def _kernel(function: str) -> Kernel:
    # As text: importing it would import Numba, which only compiling needs.
    source = files("rheobase.kernels").joinpath("event_loops.py").read_text("utf-8")
    return Kernel(f"{source}\n# {version('event_loops')}\n", function, f"events {function}")
