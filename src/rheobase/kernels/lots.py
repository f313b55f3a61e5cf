"""Random whole numbers of a given mean: floor(x) or ceil(x), of which the mean is x; of either sign.

    count[n] = sign(x[n]) floor(min(|x[n]|, most) + u[n]),   u uniform in [0, 1)

The u are those of a counter-based generator, Philox2x32 with 10 rounds (Salmon, Moraes, Dror & Shaw,
"Parallel random numbers: as easy as 1, 2, 3", SC 2011): a pure function of a key and of n, so that threads
may share them out. Drawing and rounding is one pass; in torch it is seven, and takes ten times as long.
"""

from __future__ import annotations

import functools
from importlib.resources import files

import numpy as np
import torch
from torch import Tensor

from rheobase.kernels.cache import Kernel


def whole_numbers(mean: Tensor, most: float, key: int) -> Tensor:
    """Whole numbers with these means, int32, shaped as `mean`.

    Args:
        mean: x, of any shape.
        most: The largest size; what is beyond is lost. At most 2^23.
        key: What the numbers are a function of, of 64 bits.

    >>> counts = whole_numbers(torch.full((10_000,), -1.25), 31, key=1)
    >>> counts.unique().tolist(), round(counts.double().mean().item(), 1)
    ([-2, -1], -1.2)
    """
    flat = mean.to(torch.float32).contiguous().view(-1)
    count = torch.empty(mean.shape, dtype=torch.int32)
    words = [key & 0xFFFFFFFF, key >> 32 & 0xFFFFFFFF]
    args = [flat.numpy(), count.view(-1).numpy(), np.float32(most), *words]
    _kernel().run(args, (len(flat) + 1) // 2, len(flat))
    return count


@functools.cache
def _kernel() -> Kernel:
    # As text: importing it would import Numba, which only compiling needs.
    source = files("rheobase.kernels").joinpath("lots_loops.py").read_text("utf-8")
    return Kernel(source, "lots", "random whole numbers")
