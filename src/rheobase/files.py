"""Files written whole or not at all, and where caches live."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs


def cache_root() -> Path:
    """`$RHEOBASE_CACHE`, or rheobase's folder in the user's cache folder."""
    chosen = os.environ.get("RHEOBASE_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("rheobase"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that, whenever the process dies, either the old or the new one is there.

    Raises:
        OSError: If the folder cannot be written or the disk is full; the old file is untouched.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    except OSError as error:
        error.filename = str(path)  # the one that was asked for, not the temporary one
        raise
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable (a no-op where folders cannot be synced)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` in UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """`write_bytes` as indented JSON; numbers that JSON does not know (NaN) are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")
