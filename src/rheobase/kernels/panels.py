"""Products of few rows, mostly zeros, with large weights: a batch of images, say, and a wide first layer.

`events` multiplies by rows of the transposed weights, and to transpose them all costs more than a small batch
brings back. Here a panel of the weights, some outputs wide, is turned over into a thread's second-level cache
(`rheobase.kernels.squares`), and all rows of x are multiplied with it before the next. The weight gradient
goes the other way: for each input, rows of a panel of the gradient are summed over the samples that are not
zero, and the sums are turned over on their way out. What is not zero is listed once for all panels.

Sums are made as in `events`, in ascending order, whatever the panels; threads share the panels.

Measured on one core of an AMD Zen 4 (ms of processor time; 128 x 784 by 784 x 1000, and its weight gradient):

    density        0.05  0.19  0.3   0.5
    x W^T, here    0.40  0.95  1.43  2.25   (oneDNN 2.0 to 2.1)
    g^T x, here    0.43  0.86  1.15  1.68   (oneDNN 2.0 to 2.1)

On a Zen 5, at 0.19: 0.47 and 0.44 (oneDNN 0.79 and 0.78).
"""

from __future__ import annotations

import functools
from importlib.resources import files

import torch
from torch import Tensor

from rheobase.kernels import events
from rheobase.kernels.cache import Kernel
from rheobase.kernels.vectors import lanes, padded, version
from rheobase.kernels.workspace import empty

DENSEST = 0.3  # share of values that are not zero, above which a dense product is as fast
ROWS = (16, 512)  # of x: fewer do not pay for turning the weights; more are `events`' work, or `outer`'s
LARGE = 1 << 18  # weights below which a dense product takes too little time to be worth a look
SAMPLED = 16  # rows looked at to estimate the density
PANEL = 8  # vectors of outputs of a panel
GRADIENT_PANEL = 4  # vectors of a panel of the gradient: of 128 rows it fits the first-level cache


def worth_listing(x: Tensor, outputs: int) -> bool:
    """Whether the product of x `[M, K]` with `[outputs, K]` weights, and their gradient, are faster here."""
    fewest, most = ROWS
    if x.device.type != "cpu" or x.dtype not in events.BITS:
        return False
    if not fewest <= x.shape[0] <= most or x.shape[1] * outputs < LARGE or outputs < PANEL * lanes(4):
        return False
    return events.share_of_events(x, SAMPLED) < DENSEST


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> Tensor:
    """x W^T + b into `out`, for x `[M, K]`, `weight` `[N, K]`.

    >>> multiply(torch.eye(2), torch.tensor([[1.0, 2.0]]), None, torch.empty(2, 1)).tolist()
    [[1.0], [2.0]]
    """
    x, weight = x.contiguous(), weight.detach().contiguous()
    (rows, inputs), outputs, threads = x.shape, weight.shape[0], torch.get_num_threads()
    listed = _lists(rows, inputs, x.dtype)
    _kernel("list_rows").run([x, *listed], rows, x.numel())
    width = PANEL * lanes(x.element_size())
    start = x.new_zeros(outputs) if bias is None else bias.detach().contiguous()
    work = [empty((threads, inputs, width), x.dtype), torch.empty((threads, width), dtype=x.dtype)]
    tasks = -(-outputs // width)
    _kernel("multiply").run([*listed, weight, start, out, *work], tasks, rows * inputs * tasks)
    return out


def weight_gradient(gradient: Tensor, x: Tensor) -> Tensor:
    """gradient^T x for `gradient` `[M, N]`, x `[M, K]`: `[N, K]`.

    >>> weight_gradient(torch.ones(3, 1), torch.arange(6.0).reshape(3, 2))
    tensor([[6., 9.]])
    """
    x, gradient = x.contiguous(), gradient.contiguous()
    (rows, inputs), outputs, threads = x.shape, gradient.shape[1], torch.get_num_threads()
    n = lanes(x.element_size())
    listed = _lists(inputs, rows, x.dtype)
    _kernel("list_columns").run([x, *listed], -(-inputs // n), x.numel())
    width = GRADIENT_PANEL * n
    work = [torch.empty((threads, size, width), dtype=x.dtype) for size in (rows, n)]
    out = empty((outputs, inputs), x.dtype)
    tasks = -(-outputs // width)
    _kernel("weight_gradient").run([*listed, gradient, out, *work], tasks, rows * inputs * tasks)
    return out


def _lists(rows: int, columns: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Room for values in whole vectors, for where they are not zero, and for how many are not."""
    shape = (rows, padded(columns, dtype.itemsize))
    return (
        torch.empty(shape, dtype=dtype),
        torch.empty(shape, dtype=torch.int32),
        torch.empty(rows, dtype=torch.int64),
    )


@functools.cache
def _kernel(function: str) -> Kernel:
    # As text: importing it would import Numba, which only compiling needs.
    source = files("rheobase.kernels").joinpath("panel_loops.py").read_text("utf-8")
    return Kernel(f"{source}\n# {version('panel_loops')}\n", function, f"panels {function}")
