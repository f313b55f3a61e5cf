"""Checkpoints: whole or not at all, checked when read, and nothing is ever unpickled.

A checkpoint `name` is a folder of two files: `tensors.safetensors`, and `meta.json` with plain values and
the SHA-256 of the former. It is written to `name.new`, synced, and then takes its place by renames:

    write name.new;  delete name.old;  name -> name.old;  name.new -> name

Whenever the process is killed, at least one of the three is complete. `read_checkpoint` takes the first of
name, name.new, name.old that is, and says so where that is not `name`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from rheobase.files import sync_folder, write_bytes, write_json
from rheobase.training.errors import CheckpointError

FORMAT = 1
TENSORS, META = "tensors.safetensors", "meta.json"


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and plain values (whatever JSON holds)."""

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]

    def group(self, name: str) -> dict[str, Tensor]:
        """The tensors called "name/...", without that prefix.

        >>> import torch
        >>> list(Checkpoint({"model/w": torch.ones(1), "rng/w": torch.ones(1)}, {}).group("model"))
        ['w']
        """
        prefix = f"{name}/"
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}


@dataclass(frozen=True)
class Found:
    """A checkpoint as read: the folder it was in, and what was wrong with those looked at before."""

    checkpoint: Checkpoint
    path: Path
    problems: tuple[str, ...]


def write_checkpoint(root: Path, name: str, checkpoint: Checkpoint) -> None:
    """Write the checkpoint `root/name`, in place of the one that is there.

    Raises:
        OSError: If it cannot be written; the one that is there is untouched.
    """
    target, new, old = root / name, root / f"{name}.new", root / f"{name}.old"
    _remove(new)
    new.mkdir()
    try:
        plain = {
            key: value.detach().clone(memory_format=torch.contiguous_format)
            for key, value in checkpoint.tensors.items()
        }
        data = safetensors.torch.save(plain)
        write_bytes(new / TENSORS, data)
        digest = hashlib.sha256(data).hexdigest()
        write_json(new / META, {"format": FORMAT, "sha256": digest, "values": dict(checkpoint.values)})
    except BaseException:
        _remove(new)
        raise
    if target.exists():
        _remove(old)
        os.rename(target, old)
    os.rename(new, target)
    sync_folder(root)


def read_checkpoint(root: Path, name: str) -> Found:
    """The newest complete checkpoint under this name.

    Raises:
        CheckpointError: If there is none, with what is wrong with each and what to do.
    """
    problems: list[str] = []
    for path in (root / name, root / f"{name}.new", root / f"{name}.old"):
        if not path.is_dir():
            if path.name == name:
                problems.append(f"{path} is missing")
            continue
        try:
            return Found(_read(path), path, tuple(problems))
        except CheckpointError as error:
            problems.append(str(error))
    others = sorted(p.name for p in root.iterdir() if "." not in p.name) if root.is_dir() else []
    also = [other for other in others if other != name]
    remedy = (
        f"there is also the checkpoint '{also[0]}'"
        if also
        else "train again in another folder, or put back a copy of the checkpoint"
    )
    raise CheckpointError(f"no usable checkpoint: {'; '.join(problems)}; {remedy}")


def settle(root: Path, name: str, found: Found) -> None:
    """Make the checkpoint that was found the one called `name`, before anything is written over it."""
    target = root / name
    if found.path != target:
        _remove(target)
        os.rename(found.path, target)
        sync_folder(root)


def _read(path: Path) -> Checkpoint:
    meta, tensors = path / META, path / TENSORS
    try:
        table = json.loads(meta.read_text("utf-8"))
        form, digest, values = table["format"], table["sha256"], table["values"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{meta} is missing or damaged ({_reason(error)})") from error
    if form != FORMAT:
        raise CheckpointError(f"{meta} has format {form!r}, this version reads {FORMAT}")
    try:
        data = tensors.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{tensors} cannot be read ({_reason(error)})") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise CheckpointError(
            f"{tensors} is truncated or damaged (its {len(data)} bytes do not have the SHA-256 in {META})"
        )
    try:
        # Cloned into memory of torch's own, which is aligned as that of a run without interruption.
        loaded = {key: value.clone() for key, value in safetensors.torch.load(data).items()}
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{tensors} is no safetensors file ({error})") from error
    return Checkpoint(loaded, values)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"no {error}" if isinstance(error, KeyError) else str(error)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
