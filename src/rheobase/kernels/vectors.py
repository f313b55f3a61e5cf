"""The processor's vectors, for kernels that are written in them (see `rheobase.kernels.microkernels`)."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import llvmlite.binding as llvm

WIDE = bool(llvm.get_host_cpu_features().get("avx512f", False))
BYTES = 64 if WIDE else 32  # of a vector
PRODUCT = 4 if WIDE else 2  # vectors of columns at a time in a product: its sums stay in registers
ROWS = 4  # samples that share each load of the weights in a product


def lanes(itemsize: int) -> int:
    """Numbers of `itemsize` bytes in a vector."""
    return BYTES // itemsize


def padded(columns: int, itemsize: int) -> int:
    """The number of columns, rounded up to whole vectors.

    >>> padded(1, 4) == lanes(4)
    True
    """
    n = lanes(itemsize)
    return -(-columns // n) * n


@functools.cache
def version(loops: str = "microkernels") -> str:
    """A text that changes whenever the inner loops in a file of this name or the vectors' width do.

    It stands in the source of the kernels that call them, by which machine code is kept. Read from the file:
    to import it takes Numba, which only compiling needs.
    """
    text = Path(__file__).with_name(f"{loops}.py").read_bytes()
    return hashlib.sha256(text + bytes([BYTES])).hexdigest()[:16]
