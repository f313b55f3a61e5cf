"""Spike trains as bits: a word holds what one input does at one step, a bit for each sample of a block."""

from __future__ import annotations

import functools
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rheobase.kernels.cache import Kernel
from rheobase.kernels.vectors import version

Array = np.ndarray[Any, Any]


def pack(x: Tensor, lanes: int) -> Array | None:
    """Words of `lanes` bits `[blocks, T, K]` from `[T, B, K]`, or None if something is neither 0 nor 1.

    Sample b is bit b % lanes of the words of block b // lanes.

    >>> pack(torch.tensor([[[0.0, 1.0], [1.0, 1.0]]]), 16).tolist(), pack(torch.tensor([[[0.5]]]), 16)
    ([[[2, 3]]], None)
    """
    steps, samples, inputs = x.shape
    words = np.zeros((-(-samples // lanes), steps, inputs, lanes // 8), np.uint8)
    other = np.zeros(1, np.int64)
    if x.numel():
        found = np.empty((torch.get_num_threads(), samples * inputs), np.int32)
        _kernel("pack").run([x.contiguous().flatten(1).numpy(), words, other, found], steps, x.numel())
    return None if other[0] else words.view(f"<u{lanes // 8}")[..., 0]


@functools.cache
def _kernel(function: str) -> Kernel:
    # As text: importing it would import Numba, which only compiling needs.
    source = files("rheobase.kernels").joinpath("bit_loops.py").read_text("utf-8")
    return Kernel(f"{source}\n# {version('bit_loops')}\n", function, f"spikes as bits, {function}")
