"""Of two lists of numbers per column, the pair that is least apart, each pair at a price.

    chosen[m] = argmin over (i, j) of |first[i, m] - second[j, m]| + prices[i, j],   as i J + j

The first such pair where several cost the same, as `torch.argmin` has it. Costs are never kept: in torch,
tensors of I x J values per column are written and read four times, which takes 20 times as long.
"""

from __future__ import annotations

import functools
from importlib.resources import files

import torch
from torch import Tensor

from rheobase.kernels.cache import Kernel
from rheobase.kernels.workspace import for_threads

#: Columns taken at a time.
BLOCK = 256


def nearest(first: Tensor, second: Tensor, prices: Tensor) -> Tensor:
    """The pairs, int32 `[M]`.

    Args:
        first, second: `[I, M]` and `[J, M]`.
        prices: `[I, J]`, of the same dtype.

    >>> first, second = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[5.0], [1.1]])
    >>> nearest(first, second, torch.zeros(3, 2))  # the second of `first`, the second of `second`
    tensor([3], dtype=torch.int32)
    """
    columns, pairs = first.shape[1], prices.numel()
    chosen = torch.empty(columns, dtype=torch.int32)
    least = for_threads((BLOCK,), first.numpy().dtype)
    args = [one.contiguous().numpy() for one in (first, second, prices)]
    _kernel().run([*args, least, chosen.numpy(), BLOCK], columns, columns * pairs)
    return chosen


@functools.cache
def _kernel() -> Kernel:
    # As text: importing it would import Numba, which only compiling needs.
    source = files("rheobase.kernels").joinpath("nearest_loops.py").read_text("utf-8")
    return Kernel(source, "nearest", "nearest pairs")
