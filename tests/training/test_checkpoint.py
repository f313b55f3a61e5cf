from __future__ import annotations

import errno
import json
import os
import pickle
from pathlib import Path

import pytest
import torch

from rheobase.training.checkpoint import Checkpoint, read_checkpoint, settle, write_checkpoint
from rheobase.training.errors import CheckpointError


def number(value: float) -> Checkpoint:
    return Checkpoint({"model/w": torch.full((3,), value)}, {"number": value})


def test_roundtrip_and_the_one_before(tmp_path: Path) -> None:
    tensors = {"model/w": torch.randn(4, 3).T, "model/n": torch.tensor(7), "rng/x": torch.get_rng_state()}
    write_checkpoint(tmp_path, "last", number(1.0))
    write_checkpoint(tmp_path, "last", Checkpoint(tensors, {"a": [1, None, "b"]}))
    found = read_checkpoint(tmp_path, "last")
    assert found.problems == ()
    assert found.checkpoint.values == {"a": [1, None, "b"]}
    for key, tensor in tensors.items():
        assert torch.equal(found.checkpoint.tensors[key], tensor)
        assert found.checkpoint.tensors[key].dtype == tensor.dtype
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last", "last.old"]
    os.rename(tmp_path / "last", tmp_path / "elsewhere")
    assert read_checkpoint(tmp_path, "last").checkpoint.values == {"number": 1.0}


def test_two_tensors_of_one_storage(tmp_path: Path) -> None:
    whole = torch.arange(6.0)
    write_checkpoint(tmp_path, "last", Checkpoint({"a": whole, "b": whole[:3], "c": whole.view(2, 3).T}, {}))
    tensors = read_checkpoint(tmp_path, "last").checkpoint.tensors
    assert tensors["a"].tolist() == whole.tolist()
    assert tensors["c"].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]


@pytest.mark.parametrize("file", ["tensors.safetensors", "meta.json"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
def test_damage_is_seen(file: str, damage: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, "last", number(1.0))
    path = tmp_path / "last" / file
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    else:
        # The last hexadecimal digit of the hash, or the last byte of the tensor.
        at = data.index(b"sha256") + 12 if file == "meta.json" else len(data) - 1
        data[at] ^= 1
        path.write_bytes(data if damage == "flipped" else data[: len(data) // 2])
    with pytest.raises(CheckpointError, match=r"(missing|damaged|cannot be read).*train again in another"):
        read_checkpoint(tmp_path, "last")


def test_an_intact_older_one_takes_over_and_is_kept(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, "last", number(1.0))
    write_checkpoint(tmp_path, "last", number(2.0))
    (tmp_path / "last/tensors.safetensors").write_bytes(b"")
    found = read_checkpoint(tmp_path, "last")
    assert found.checkpoint.values == {"number": 1.0}
    assert found.path.name == "last.old"
    assert "last/tensors.safetensors is truncated" in found.problems[0]
    settle(tmp_path, "last", found)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last"]
    assert read_checkpoint(tmp_path, "last").checkpoint.values == {"number": 1.0}


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_full_disk_leaves_the_old_one(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path, "last", number(1.0))

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(OSError, match="No space left"):
            write_checkpoint(tmp_path, "last", number(2.0))
    assert read_checkpoint(tmp_path, "last").problems == ()
    assert read_checkpoint(tmp_path, "last").checkpoint.values == {"number": 1.0}
    write_checkpoint(tmp_path, "last", number(3.0))
    assert read_checkpoint(tmp_path, "last").checkpoint.values == {"number": 3.0}


def test_another_format_is_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, "last", number(1.0))
    meta = tmp_path / "last/meta.json"
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"format": 99}))
    with pytest.raises(CheckpointError, match="has format 99, this version reads 1"):
        read_checkpoint(tmp_path, "last")


def test_nothing_is_unpickled(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("unpickled")

    monkeypatch.setattr(pickle, "load", refuse)
    monkeypatch.setattr(pickle, "loads", refuse)
    monkeypatch.setattr(torch, "load", refuse)
    assert read_checkpoint(finished / "checkpoint", "last").checkpoint.group("model")
