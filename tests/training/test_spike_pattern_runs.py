"""Runs on spike patterns: one continuous simulation, broken off and resumed to the same bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from rheobase.training.checkpoint import read_checkpoint
from rheobase.training.experiment import Experiment
from rheobase.training.fit import fit, resume
from rheobase.training.loop import Trainer

SMALL: dict[str, Any] = {
    "task": {
        "pattern": "generated",
        "duration": 60.0,
        "window": 50.0,
        "target_times": [20.0, 40.0],
        "rate": 40.0,
    },
    "network": {"hidden": [6]},
    "rule": {"feedback": "random", "heterosynaptic": 1e-8, "burn_in": 60.0},
    "training": {"steps": 8, "epochs": 2, "log_every": 1, "checkpoint_seconds": 0.0},
}


def test_a_continuous_simulation_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = Experiment.from_recipe("spike_pattern", overrides=SMALL)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    summary = fit(experiment, whole, progress=False)
    step = Trainer._step

    def stopping(self: Trainer, *args: Any) -> None:
        if self.place.step == 5:
            raise KeyboardInterrupt
        step(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", stopping)
        with pytest.raises(KeyboardInterrupt):
            fit(experiment, cut, progress=False)
    resume(cut, progress=False)
    a, b = (read_checkpoint(folder / "checkpoint", "last").checkpoint.tensors for folder in (whole, cut))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert a["rule/elapsed"].item() == 8 * 500
    # Of hidden and output layer: presynaptic and synaptic traces, what is still on its way, and the filters.
    assert {name for name in a if name.startswith("rule/hidden1.")} == {
        f"rule/hidden1.{part}"
        for part in ("activity", "eligibility", "feedback", "gates", "inputs", "presynaptic")
    }
    weights = read_checkpoint(whole / "checkpoint", "last").checkpoint.group("model")
    assert all(weight.abs().max() <= 100.0 for weight in weights.values() if weight.is_floating_point())
    assert set(summary.test) == {"loss", "cost", "matched", "missed", "extra", "reproduced"}
    rows = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert sum(row["kind"] == "step" for row in rows) == 8
