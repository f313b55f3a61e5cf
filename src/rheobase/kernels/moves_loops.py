"""Moving matrices between addresses (see `rheobase.kernels.moves`): compiled like a generated kernel."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from rheobase.kernels import compiler, vectors
from rheobase.kernels.tiles import turn, turn_masked

F = np.dtype(np.float32)
SIDE = vectors.lanes(F.itemsize)  # of the squares that are transposed in registers

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
            full = rows // SIDE * SIDE, columns // SIDE * SIDE
            for i in range(0, full[0], SIDE):
                for j in range(0, full[1], SIDE):
                    start, to, own = i * pitch + j, j * width + i, i * columns + j
                    if masked == 1:
                        turn_masked(source, start, pitch, mask, own, columns, target, to, width)
                    else:
                        turn(source, start, pitch, mask, own, columns, target, to, width)
            for i in range(rows):  # what fills no square
                for j in range(full[1] if i < full[0] else 0, columns):
                    factor = mask[i * columns + j] if masked == 1 else np.uint8(1)
                    target[j * width + i] = source[i * pitch + j] * factor
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
