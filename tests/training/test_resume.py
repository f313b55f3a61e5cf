"""A run that was killed, at any moment, goes on to the bits of one that was not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import noisy, small, start

from rheobase.rules.eprop import Eprop
from rheobase.training.checkpoint import read_checkpoint
from rheobase.training.errors import CheckpointError, FolderError, Interrupted, RunError
from rheobase.training.fit import fit, resume
from rheobase.training.loop import Trainer

TIMES = {"seconds", "compile_seconds"}


def lines(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


def assert_same(folder: Path, other: Path) -> None:
    for name in ("last", "best"):
        a = read_checkpoint(folder / "checkpoint", name).checkpoint
        b = read_checkpoint(other / "checkpoint", name).checkpoint
        assert a.tensors.keys() == b.tensors.keys()
        for key, tensor in a.tensors.items():
            assert torch.equal(tensor, b.tensors[key]), key
        assert a.values["place"] == b.values["place"]
    assert lines(folder) == lines(other)
    own, others = (json.loads((f / "summary.json").read_text()) for f in (folder, other))
    for key in TIMES | {"peak_memory_mb", "working_memory_mb"}:
        del own[key], others[key]
    assert own == others


def test_killed_from_outside(tmp_path: Path, uninterrupted: Path) -> None:
    folder = tmp_path / "run"
    process = start(noisy(checkpoint_seconds=0.0), folder)
    log = folder / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (log.exists() and log.stat().st_size) and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    resume(folder, progress=False)
    assert_same(folder, uninterrupted)


# With a checkpoint at every step: the first is made before training; each but the first makes two renames,
# writes one file of tensors, and removes `new` and then `old`.
@pytest.mark.parametrize(
    ("where", "call", "every"),
    [
        ("step", 1, 60.0),
        ("step", 6, 60.0),
        ("step", 3, 0.0),
        ("between renames", 1, 0.0),
        ("between renames", 2, 0.0),
        ("between renames", 7, 0.0),
        ("tensors written", 3, 0.0),
        ("old removed", 3, 0.0),
    ],
)
def test_killed_at(where: str, call: int, every: float, tmp_path: Path, uninterrupted: Path) -> None:
    folder = tmp_path / "run"
    process = start(noisy(checkpoint_seconds=every), folder, where, call)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert not (folder / "summary.json").exists()
    resume(folder, progress=False)
    assert_same(folder, uninterrupted)


def test_a_rule_goes_on_with_the_memory_that_it_had(tmp_path: Path) -> None:
    """Adaptive feedback: random weights that move at each step, and what they follow."""
    learnt = small(checkpoint_seconds=0.0).replace(rule=Eprop(feedback="adaptive", feedback_decay=0.1))
    fit(learnt, tmp_path / "whole", progress=False)
    process = start(learnt, tmp_path / "run", "step", 5)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    resume(tmp_path / "run", progress=False)
    kept = read_checkpoint(tmp_path / "run" / "checkpoint", "last").checkpoint.tensors
    assert {name.split("/")[-1] for name in kept if "feedback" in name or "mirror" in name} == {
        "feedback.hidden1",
        "mirror",
    }
    assert_same(tmp_path / "run", tmp_path / "whole")


def test_killed_before_the_first_checkpoint(tmp_path: Path) -> None:
    process = start(small(), tmp_path / "run", "tensors written", 1)
    process.join(60)
    with pytest.raises(CheckpointError, match=r"last is missing.*train again in another folder"):
        resume(tmp_path / "run", progress=False)


def test_sigint_saves_and_says_how_to_go_on(
    tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer._step

    def pressed(self: Trainer, *args: Any) -> None:
        if self.place.step == 4:
            os.kill(os.getpid(), signal.SIGINT)
        step(self, *args)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", pressed)
        with pytest.raises(Interrupted, match=r"at step 5 of 9.*rheobase resume"):
            fit(noisy(), tmp_path / "run", progress=False)
    assert signal.getsignal(signal.SIGINT) is before
    assert read_checkpoint(tmp_path / "run/checkpoint", "last").checkpoint.values["place"]["step"] == 5
    resume(tmp_path / "run", progress=False)
    assert_same(tmp_path / "run", uninterrupted)


def test_a_finished_run_comes_to_the_same_again(tmp_path: Path, uninterrupted: Path) -> None:
    shutil.copytree(uninterrupted, tmp_path / "run")
    resume(tmp_path / "run", progress=False)
    assert_same(tmp_path / "run", uninterrupted)


def test_a_truncated_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, uninterrupted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(uninterrupted, folder)
    tensors = folder / "checkpoint/last/tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:1000])
    resume(folder)
    told = capsys.readouterr().err
    assert "tensors.safetensors is truncated or damaged (its 1000 bytes" in told
    assert "going on after step 6 of 9" in told
    assert_same(folder, uninterrupted)


def test_no_intact_checkpoint(tmp_path: Path, uninterrupted: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(uninterrupted, folder)
    for name in ("last", "last.old"):
        (folder / "checkpoint" / name / "meta.json").write_text('{"format": 1, "sha')
    with pytest.raises(
        CheckpointError, match=r"last/meta.json is missing or damaged.*there is also .*'best'"
    ):
        resume(folder, progress=False)


def test_a_log_that_lost_lines(tmp_path: Path, uninterrupted: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(uninterrupted, folder)
    (folder / "metrics.jsonl").write_text("")
    with pytest.raises(RunError, match=r"metrics.jsonl: got 0 bytes, wanted at least"):
        resume(folder, progress=False)


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="not a run folder"):
        resume(tmp_path, progress=False)


def test_threads_are_those_of_the_run_and_then_as_before(tmp_path: Path, uninterrupted: Path) -> None:
    shutil.copytree(uninterrupted, tmp_path / "run")
    before = torch.get_num_threads()
    resume(tmp_path / "run", progress=False)
    assert torch.get_num_threads() == before
    assert read_checkpoint(tmp_path / "run/checkpoint", "last").checkpoint.values["threads"] == 1
