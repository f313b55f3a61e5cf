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


def counts(words: Array, samples: int) -> Array:
    """How many inputs spike, of each sample and step, `[B, T]`, from what `pack` makes."""
    numbers = np.zeros((samples, words.shape[1]), np.int32)
    nowhere, nothing = np.zeros((1, 1), np.int64), np.zeros(0, np.int32)  # spikes are counted only
    _kernel("enter").run([words, numbers, nowhere, nothing], words.shape[0], words.size)
    return numbers


def lists(words: Array, samples: int) -> tuple[Array, Array]:
    """The inputs that spiked, sample by sample and step by step, in ascending order; K where none did.

    Args:
        words: See `pack`.
        samples: Their number B.

    Returns:
        Where those of each sample and step begin, and the last ones end, `[B, T + 1]`; the inputs.

    >>> words = pack(torch.tensor([[[0.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 1.0]]]), 16)
    >>> spans, inputs = lists(words, 2)
    >>> spans.tolist(), inputs.tolist()
    ([[0, 1, 2], [2, 4, 5]], [1, 2, 0, 1, 1])
    """
    blocks, steps, width = words.shape
    numbers = counts(words, samples)
    ends = np.maximum(numbers, 1).cumsum(dtype=np.int64).reshape(samples, steps)
    spans = np.concatenate([np.concatenate([[0], ends[:-1, -1]])[:, None], ends], 1)
    inputs = np.full(int(ends[-1, -1]) if ends.size else 0, width, np.int32)
    numbers[:] = 0
    _kernel("enter").run([words, numbers, spans, inputs], blocks, words.size)
    return spans, inputs


@functools.cache
def _kernel(function: str) -> Kernel:
    # As text: importing it would import Numba, which only compiling needs.
    source = files("rheobase.kernels").joinpath("bit_loops.py").read_text("utf-8")
    return Kernel(f"{source}\n# {version('bit_loops')}\n", function, f"spikes as bits, {function}")
