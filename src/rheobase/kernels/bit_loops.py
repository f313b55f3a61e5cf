"""Loops that lay spikes out as bits, and as lists; `rheobase.kernels.spike_bits` calls them.

Numbers are searched in whole vectors (`rheobase.kernels.searches`): most are zero.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from rheobase.kernels import lane_bits, searches
from rheobase.kernels.vectors import BYTES

Array = np.ndarray[Any, Any]

find: Any = searches.find
lowest: Any = lane_bits.lowest
without_lowest: Any = lane_bits.without_lowest


@numba.njit(nogil=True, error_model="numpy")
def pack(
    values: Array,  # shape: [T, B K]
    words: Array,  # shape: [blocks, T, K, bytes of a word], zeros before
    other: Array,  # shape: [1], zero before
    found_of: Array,  # shape: [threads, B K]
    thread: int,
    low: int,
    high: int,
) -> None:
    """Set a bit for each 1, and `other` to 1 if there is a number that is neither 0 nor 1."""
    found = found_of[thread]
    size, (inputs, width) = values.shape[1], words.shape[2:]
    vector = BYTES // values.itemsize
    whole = size // vector * vector
    for t in range(low, high):
        row = values[t]
        count = find(row, whole, found)
        for k in range(whole, size):
            if row[k] != 0:
                found[count] = k
                count += 1
        for q in range(count):
            k = found[q]
            if row[k] != 1:
                other[0] = 1
            sample = k // inputs
            byte = sample >> 3
            block = byte // width
            words[block, t, k - sample * inputs, byte - block * width] |= np.uint8(1 << (sample & 7))


@numba.njit(nogil=True, error_model="numpy")
def enter(
    words: Array,  # shape: [blocks, T, K]
    numbers: Array,  # shape: [B, T], zeros before
    spans: Array,  # shape: [B, T + 1]
    inputs: Array,  # shape: [what spans end at], or [0] to count only
    low: int,
    high: int,
) -> None:
    """Count the inputs that spike, of each sample and step, and enter each behind those that are there."""
    lanes, enters = words.itemsize * 8, inputs.size > 0
    for block in range(low, high):
        for t in range(words.shape[1]):
            for k in range(words.shape[2]):
                left = np.uint64(words[block, t, k])
                while left != 0:
                    sample = block * lanes + lowest(left)
                    if enters:
                        inputs[spans[sample, t] + numbers[sample, t]] = k
                    numbers[sample, t] += 1
                    left = without_lowest(left)
