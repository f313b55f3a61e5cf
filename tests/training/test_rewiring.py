"""Sparse networks in training: rewired after each step, resumed to the same bits, learning at 10 %."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rheobase.training.checkpoint import read_checkpoint
from rheobase.training.errors import Interrupted
from rheobase.training.experiment import Experiment
from rheobase.training.fit import fit, resume
from rheobase.training.loop import Trainer
from rheobase.training.setup import build_network


def experiment(**network: Any) -> Experiment:
    tables = {
        "encoder": {"steps": 10},
        "network": {"hidden": [64], "density": 0.1, "rewire": True, **network},
        "training": {"epochs": 2, "batch_size": 128, "threads": 1, "learning_rate": 0.02},
    }
    return Experiment.from_recipe("digits", overrides=tables)


@pytest.mark.parametrize("name", ["feed_forward", pytest.param("recurrent", marks=pytest.mark.slow)])
def test_resumes_to_the_same_bits(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # So strong that much is rewired.
    sparse = experiment(name=name, rewire_l1=1.0, rewire_temperature=1e-3)
    fit(sparse, tmp_path / "whole", progress=False)
    step = Trainer._step

    def pressed(self: Trainer, *args: Any) -> None:
        if self.place.step == 7:
            monkeypatch.undo()
            raise Interrupted("stopped")
        step(self, *args)

    monkeypatch.setattr(Trainer, "_step", pressed)
    monkeypatch.setattr("rheobase.training.loop.time.monotonic", _Clock())  # a checkpoint at every step
    with pytest.raises(Interrupted):
        fit(sparse, tmp_path / "run", progress=False)
    resume(tmp_path / "run", progress=False)
    for which in ("last", "best"):
        a, b = (read_checkpoint(tmp_path / f / "checkpoint", which).checkpoint for f in ("run", "whole"))
        assert a.tensors.keys() == b.tensors.keys()
        assert all(torch.equal(value, b.tensors[key]) for key, value in a.tensors.items())
    start = dict(build_network(sparse).named_buffers())
    masks = {k.removeprefix("model/"): v for k, v in a.tensors.items() if k.endswith("mask")}
    assert len(masks) == (2 if name == "feed_forward" else 3)
    for key, mask in masks.items():
        assert int(mask.sum()) == int(start[key].sum())
        assert not torch.equal(mask, start[key])


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        self.now += 1000.0
        return self.now


def test_a_task_is_learnt_at_a_tenth_of_the_connections(tmp_path: Path) -> None:
    sparse = experiment(rewire_l1=0.001)
    sparse = sparse.replace(training=sparse.training.replace(epochs=12))
    summary = fit(sparse, tmp_path / "run", progress=False)
    assert summary.value > 0.85
