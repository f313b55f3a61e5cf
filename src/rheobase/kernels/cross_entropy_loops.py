"""The loop of `rheobase.kernels.cross_entropy`: compiled like a generated kernel, from this text."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

Array = np.ndarray[Any, Any]

SIDE = 64  # rows that lie side by side

# exp(x) = 2^k exp(r) with x = k ln 2 + r and |r| <= ln 2 / 2; ln 2 in two parts, so that k ln 2 is exact.
# The polynomial is the one of least largest error of its degree: S. L. Moshier's Cephes library, expf.
_LOG2E, _HALF, _ONE = np.float32(1.44269504), np.float32(0.5), np.float32(1)
_LN2 = np.float32(0.693359375), np.float32(-2.12194440e-4)
_POLYNOMIAL = (
    np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3),
    np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1),
)  # fmt: skip
_LEAST = np.float32(-87.0)  # below it numbers lose digits


@numba.njit(nogil=True, error_model="numpy", fastmath={"contract"})
def cross_entropy(
    scores: Array,  # shape: [R, C]
    labels: Array,  # shape: [L]; row r has label r modulo L
    losses: Array,  # shape: [parts], float64
    by_scores: Array,  # shape: [R, C]
    work_of: Array,  # shape: [threads, C + 2, SIDE]
    scale: float,
    thread: int,
    low: int,
    high: int,
) -> None:
    """Parts `low` to `high` of the rows: their losses, and `scale` times the derivative of these."""
    rows, classes = scores.shape
    parts, period = len(losses), len(labels)
    work = work_of[thread]
    most, sums = work[classes], work[classes + 1]
    for part in range(low, high):
        end = (part + 1) * rows // parts
        lost = 0.0
        for first in range(part * rows // parts, end, SIDE):
            n = min(SIDE, end - first)
            for j in range(classes):
                column = work[j]
                for i in range(n):
                    column[i] = scores[first + i, j]
            for i in range(SIDE):  # all of them: loops of known length
                most[i] = work[0, i]
                sums[i] = 0
            for j in range(1, classes):
                column = work[j]
                for i in range(SIDE):
                    most[i] = max(most[i], column[i])
            for j in range(classes):
                column = work[j]
                for i in range(SIDE):
                    power = _exp(column[i] - most[i])
                    column[i] = power
                    sums[i] += power
            product = 1.0  # of sums between 1 and C: one logarithm for all of them
            y = first % period
            for i in range(n):
                lost += most[i] - scores[first + i, labels[y]]
                product *= sums[i]
                factor = scale / sums[i]
                for j in range(classes):
                    by_scores[first + i, j] = work[j, i] * factor
                by_scores[first + i, labels[y]] -= scale
                y = y + 1 if y + 1 < period else 0
            lost += math.log(product)
        losses[part] = lost


@numba.njit(inline="always", error_model="numpy")
def _exp(x: Any) -> Any:
    """exp(x) of a number in single precision that is not above 0."""
    k = np.floor(x * _LOG2E + _HALF)
    r = x - k * _LN2[0] - k * _LN2[1]
    p = _POLYNOMIAL[0]
    for c in _POLYNOMIAL[1:]:
        p = p * r + c
    power = np.int32((np.int32(k) + 127) << 23).view(np.float32)
    return (p * r * r + r + _ONE) * power if not x < _LEAST else np.float32(0)
