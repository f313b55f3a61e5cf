"""The loop of `rheobase.kernels.lots`: compiled like a generated kernel, from this text."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

Array = np.ndarray[Any, Any]

#: Philox2x32's multiplier and what its key grows by, and its rounds.
_MULTIPLIER, _GROWTH, _ROUNDS = np.uint64(0xD256D193), np.uint64(0x9E3779B9), 10
_LOW, _HALF, _EIGHT = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(8)
_SPACING = np.float32(2**-24)  # of lots


@numba.njit(nogil=True, error_model="numpy")
def lots(
    mean: Array,  # shape: [N], float32
    count: Array,  # shape: [N], int32
    most: float,
    key: int,
    word: int,
    low: int,
    high: int,
) -> None:
    """Numbers `low` to `high` of the first half of `count`, and those across from them in the second."""
    half = (len(mean) + 1) // 2
    across = len(mean) - half
    end = min(high, across)
    first, second = mean[low:end], mean[half + low : half + end]
    counts, others = count[low:end], count[half + low : half + end]
    for n in range(len(first)):
        a, b = _philox(np.uint64(low + n), np.uint64(word), np.uint64(key))
        counts[n] = _whole(first[n], a, most)
        others[n] = _whole(second[n], b, most)
    if high > across:  # one is left over where their number is odd
        a, b = _philox(np.uint64(across), np.uint64(word), np.uint64(key))
        count[across] = _whole(mean[across], a, most)


@numba.njit(inline="always", error_model="numpy")
def _philox(a: Any, b: Any, key: Any) -> Any:
    """Two words of 32 bits, each in one of 64."""
    for _ in range(_ROUNDS):
        product = _MULTIPLIER * (a & _LOW)
        a, b = (product >> _HALF) ^ key ^ b, product & _LOW
        key = (key + _GROWTH) & _LOW
    return a, b


@numba.njit(inline="always", error_model="numpy")
def _whole(mean: Any, bits: Any, most: Any) -> Any:
    """A whole number of this mean, of either sign."""
    lot = np.float32(np.int32(bits >> _EIGHT)) * _SPACING
    size = mean if mean > 0 else -mean
    size = np.int32((size if size < most else most) + lot)
    return size if mean > 0 else np.int32(-size)
