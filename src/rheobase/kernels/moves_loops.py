"""Moving matrices between addresses (see `rheobase.kernels.moves`): compiled like a generated kernel."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from rheobase.kernels import compiler

F = np.dtype(np.float32)
SIDE = 16  # of the squares in which a matrix is transposed

Array = np.ndarray[Any, Any]
pointer: Any = compiler.pointer  # these have no types
carray: Any = vars(numba)["carray"]


@numba.njit(nogil=True, error_model="numpy")
def move(table: Array, low: int, high: int) -> None:
    """Rows `low` to `high` of the int64 table: addresses from and to, the numbers of a `Move`, a mask's."""
    for m in range(low, high):
        rows, columns, pitch, width = table[m, 2], table[m, 3], table[m, 4], table[m, 5]
        transposed, parts, apart, masked = table[m, 6], table[m, 7], table[m, 8], table[m, 9]
        source = carray(pointer(table[m, 0]), (parts * apart + rows * pitch,), F)
        target = carray(pointer(table[m, 1]), (max(rows, columns) * width,), F)
        mask = carray(pointer(table[m, 10]), (rows * columns,), np.dtype(np.uint8))
        for p in range(1, parts):
            for i in range(rows):
                total = source[i * pitch : i * pitch + columns]
                more = source[p * apart + i * pitch : p * apart + i * pitch + columns]
                for j in range(columns):
                    total[j] += more[j]
        if transposed:
            for first in range(0, rows, SIDE):
                last = min(first + SIDE, rows)
                for left in range(0, columns, SIDE):
                    for j in range(left, min(left + SIDE, columns)):
                        to = target[j * width : j * width + rows]
                        if masked == 1:
                            for i in range(first, last):
                                to[i] = source[i * pitch + j] * mask[i * columns + j]
                        else:
                            for i in range(first, last):
                                to[i] = source[i * pitch + j]
        else:
            for i in range(rows):
                row = source[i * pitch : i * pitch + columns]
                to = target[i * width : i * width + columns]
                if masked == 1:
                    own = mask[i * columns : (i + 1) * columns]
                    for j in range(columns):
                        to[j] = row[j] * own[j]
                else:
                    for j in range(columns):
                        to[j] = row[j]
        if masked == 2:
            for k in range(rows * columns):
                target[k] *= mask[k]
