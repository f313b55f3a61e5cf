"""Runs under several rules: what is done is kept, what cannot work is refused before anything trains."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import small

from rheobase.rules.bptt import BPTT
from rheobase.training import comparison
from rheobase.training.comparison import compare
from rheobase.training.errors import FolderError, Interrupted
from rheobase.training.experiment import Experiment
from rheobase.training.loop import Trainer


def runs(folder: Path) -> dict[Path, Experiment]:
    one = small(epochs=1)
    return {folder / "whole": one, folder / "cut": one.replace(rule=BPTT(truncation=2))}


def stop_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt the second run after its first step."""
    step = Trainer._step

    def stopping(self: Trainer, *args: Any) -> None:
        if self.folder.path.name == "cut" and self.place.step == 1:
            raise Interrupted
        step(self, *args)

    monkeypatch.setattr(Trainer, "_step", stopping)


def test_a_stopped_comparison_goes_on_and_does_not_repeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_second(patch)
        with pytest.raises(Interrupted):
            compare(runs(tmp_path), progress=False)
    metrics = tmp_path / "whole" / "metrics.jsonl"
    first = metrics.stat().st_mtime_ns
    started: list[str] = []
    found = compare(
        runs(tmp_path), progress=False, starting=lambda folder, experiment: started.append(folder.name)
    )
    assert started == ["cut"]
    assert metrics.stat().st_mtime_ns == first
    fresh = compare(runs(tmp_path / "fresh"), progress=False)
    for name in ("whole", "cut"):
        assert found[tmp_path / name].test == fresh[tmp_path / "fresh" / name].test
    assert found[tmp_path / "whole"].rule == "bptt"


def test_a_folder_of_another_experiment_is_refused(tmp_path: Path) -> None:
    compare({tmp_path / "a": small(epochs=1)}, progress=False)
    with pytest.raises(FolderError, match=r"other options .*training.epochs 1 and not 2"):
        compare({tmp_path / "b": small(epochs=1), tmp_path / "a": small(epochs=2)}, progress=False)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("method", ["begin", "accumulate"])
def test_a_rule_that_cannot_work_says_so_before_anything_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    original = getattr(BPTT, method)

    def refusing(self: BPTT, *args: Any) -> Any:
        if self.truncation == 2:
            raise ValueError("cannot train a network of this kind")
        return original(self, *args)

    monkeypatch.setattr(BPTT, method, refusing)
    monkeypatch.setattr(comparison, "fit", lambda *args, **kwargs: pytest.fail("trained"))
    with pytest.raises(ValueError, match=re.escape("rule 'bptt': cannot train a network of this kind")):
        compare(runs(tmp_path), progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_rehearsal_moves_no_random_state(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    comparison._rehearse(runs(tmp_path))
    assert torch.equal(torch.get_rng_state(), before)
