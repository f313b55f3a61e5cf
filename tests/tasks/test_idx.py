"""IDX files: every element type and shape comes back; every kind of damage is told apart."""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rheobase.tasks.idx import read_idx

CODES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

GOOD = struct.pack(">BBBB2I", 0, 0, 0x08, 2, 2, 3) + bytes([1, 2, 3, 4, 5, 6])
#: Without the time in it, so that the tests below have the same names in every process.
PACKED = gzip.compress(GOOD, mtime=0)


@settings(deadline=None, max_examples=30)
@given(
    code=st.sampled_from(sorted(CODES)),
    shape=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    compressed=st.booleans(),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, code: int, shape: list[int], compressed: bool
) -> None:
    wanted = (np.arange(math.prod(shape)) - (3 if code != 0x08 else 0)).astype(CODES[code]).reshape(shape)
    content = struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape) + wanted.tobytes()
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(gzip.compress(content) if compressed else content)
    got = read_idx(path)
    assert got.dtype == wanted.dtype.newbyteorder("=")
    assert got.dtype.isnative
    assert got.shape == wanted.shape
    assert (got == wanted).all()
    assert got.flags.writeable


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got magic number '', wanted '00 00'"),
        (b"\x00\x00\x08", "got magic number '00 00 08'"),
        (b"PK\x03\x04" + GOOD[4:], "got magic number '50 4b 03 04', wanted '00 00'"),
        (b"\x00\x00\x0a" + GOOD[3:], "got magic number '00 00 0a 02'"),
        (b"\x00\x00\x08\x00" + GOOD[4:], "at least 1 dimension"),
        (GOOD[:9], "got 9 bytes, wanted a header of 12 bytes for 2 dimensions"),
        (GOOD[:-1], r"got 17 bytes, wanted 18 for shape \(2, 3\) of uint8"),
        (GOOD + b"\x00", r"got 19 bytes, wanted 18 for shape \(2, 3\) of uint8"),
        (struct.pack(">BBBB3I", 0, 0, 0x0E, 3, *[2**32 - 1] * 3), "got 16 bytes, wanted 6338"),
        (PACKED[:-4], "do not decompress"),
        (PACKED[:12], "do not decompress"),
        (PACKED[:-8] + bytes(8), "do not decompress .*CRC"),
        (PACKED[:10] + b"\xff" * 20, "do not decompress"),
        (gzip.compress(GOOD[:-1], mtime=0), "got 17 bytes, wanted 18"),
    ],
)
def test_damage(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "train-images"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"train-images: .*{message}.*fetch it again"):
        read_idx(path)
