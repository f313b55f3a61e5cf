"""Files in the IDX format, in which MNIST and its drop-in replacements are published.

A file is a four-byte magic number (two zero bytes, a code for the element type, the number of
dimensions), one big-endian 32-bit size per dimension, then the elements, big-endian, in C order.
It may be compressed by gzip, which is told by its content and not by its name.

Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits",
http://yann.lecun.com/exdb/mnist/ (section "The IDX file format").
Not modelled: reading a part of a file; a file is read whole.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_ELEMENTS = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
_REMEDY = "the file is damaged or not IDX: fetch it again"


def read_idx(path: Path) -> npt.NDArray[Any]:
    """The array in the IDX file `path`, plain or compressed by gzip, in native byte order.

    The number of dimensions and the element type are the file's own. Raises `ValueError` naming the
    file, what was got and what was wanted where the file is truncated, too long, or not IDX at all.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "labels-idx1-ubyte")
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3]) + bytes([7, 2, 1]))
    ...     read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    content = _content(path)
    if len(content) < 4 or content[:2] != b"\x00\x00" or content[2] not in _ELEMENTS or content[3] == 0:
        codes = ", ".join(f"{code:#04x}" for code in _ELEMENTS)
        raise ValueError(
            f"{path}: got magic number '{content[:4].hex(' ')}', wanted '00 00', one of the type codes "
            f"{codes}, and at least 1 dimension; {_REMEDY}"
        )
    element = np.dtype(_ELEMENTS[content[2]])
    header = 4 + 4 * content[3]
    if len(content) < header:
        raise ValueError(
            f"{path}: got {len(content)} bytes, wanted a header of {header} bytes for "
            f"{content[3]} dimensions; {_REMEDY}"
        )
    sizes = tuple(int(size) for size in np.frombuffer(content, ">u4", count=content[3], offset=4))
    wanted = header + math.prod(sizes) * element.itemsize
    if len(content) != wanted:
        raise ValueError(
            f"{path}: got {len(content)} bytes, wanted {wanted} for shape {sizes} of "
            f"{element.newbyteorder('=')}; {_REMEDY}"
        )
    return np.frombuffer(content, element, offset=header).reshape(sizes).astype(element.newbyteorder("="))


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    if not content.startswith(_GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path}: got {len(content)} bytes that do not decompress ({error}), wanted a whole gzip "
            f"stream; {_REMEDY}"
        ) from error
