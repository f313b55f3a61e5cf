"""The processor's vectors, for kernels that are written in them (see `rheobase.kernels.emit`)."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable
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


def pairs(columns: int, itemsize: int) -> int:
    """How many rows of so many columns have their outer products summed at once (`sheaves`).

    As many as two words have bits, where these stay in the first cache; half of that where rows are long.
    """
    return 64 if padded(columns, itemsize) * itemsize <= 512 else 32


def spaced(columns: int, itemsize: int) -> int:
    """The number of columns, rounded up to whole vectors if that adds little.

    A vector that lies across two cache lines takes twice as long: rows that are written and read again are
    worth a few numbers more.

    >>> spaced(7 * lanes(4) - 1, 4) == 7 * lanes(4), spaced(lanes(4) + 1, 4) == lanes(4) + 1
    (True, True)
    """
    whole = padded(columns, itemsize)
    return whole if 8 * whole <= 9 * columns else columns


@functools.cache
def version(*loops: str) -> str:
    """A text that changes whenever the inner loops in files of these names, or in those that they import, or
    the vectors' width do.

    It stands in the source of the kernels that call them, by which machine code is kept. Read from the files:
    to import them takes Numba, which only compiling needs.
    """
    texts = _with_imports(loops)
    return hashlib.sha256("".join(texts.values()).encode() + bytes([BYTES])).hexdigest()[:16]


def _with_imports(names: Iterable[str]) -> dict[str, str]:
    """The texts of these files of kernels and of all that they import, by name.

    >>> sorted(_with_imports(["squares"]))
    ['emit', 'squares', 'vectors']
    """
    found: dict[str, str] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = Path(__file__).with_name(f"{name}.py").read_text("utf-8")
            waiting += re.findall(r"^from rheobase\.kernels\.(\w+) import", found[name], re.MULTILINE)
            for line in re.findall(r"^from rheobase\.kernels import (.+)$", found[name], re.MULTILINE):
                waiting += line.split(", ")
    return dict(sorted(found.items()))
