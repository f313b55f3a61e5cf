"""The log of a run, `metrics.jsonl`: one JSON object a line, only ever appended to.

Its length in bytes is part of a checkpoint; going on from one cuts off what came after it.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from typing_extensions import Self

from rheobase.training.errors import RunError


class MetricsLog:
    """The log, open for appending after its first `length` bytes.

    Raises:
        RunError: If the file is shorter than that.
    """

    def __init__(self, path: Path, length: int = 0) -> None:
        size = path.stat().st_size if path.exists() else 0
        if size < length:
            raise RunError(
                f"{path}: got {size} bytes, wanted at least the {length} it had at the checkpoint; put the "
                "file back, or train again in another folder"
            )
        # Unbuffered: a kill loses no line, and a failed write is not tried again when the file is closed.
        self._file = path.open("ab", buffering=0)
        self._path = path
        self._file.truncate(length)
        self._file.seek(length)

    def write(self, kind: str, values: Mapping[str, Any]) -> None:
        """Append one object."""
        line = json.dumps({"kind": kind, **values}, allow_nan=False)
        data = line.encode() + b"\n"
        if self._file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))

    def sync(self) -> int:
        """Make what was written durable; the length in bytes."""
        os.fsync(self._file.fileno())
        return self._file.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class NoLog(MetricsLog):
    """Keeps nothing: the log of a process that is not the first of its job."""

    def __init__(self) -> None:
        pass

    def write(self, kind: str, values: Mapping[str, Any]) -> None:
        """Drop one object."""

    def sync(self) -> int:
        """Nothing to make durable."""
        return 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def read_log(path: Path, kind: str) -> list[dict[str, Any]]:
    """All objects of one kind, in order."""
    rows = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    return [row for row in rows if row["kind"] == kind]
