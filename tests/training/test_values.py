"""Training on values instead of classes, on samples that are made: the whole way, and after a kill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from small_runs import start

from rheobase.report.run import read_run
from rheobase.training.checkpoint import read_checkpoint
from rheobase.training.evaluate import evaluate, predict
from rheobase.training.experiment import Experiment
from rheobase.training.fit import fit, resume
from rheobase.training.summary import Summary


def adding(**training: Any) -> Experiment:
    """Sequences of 12 steps, 32 neurons without connections among them, 40 steps in two parts."""
    tables = {
        "task": {"length": 12, "test_samples": 300, "validation": 0.2},
        "network": {"name": "feed_forward", "hidden": [32]},
        "training": {"steps": 40, "epochs": 2, "log_every": 5, "threads": 1, **training},
    }
    return Experiment.from_recipe("adding", overrides=tables)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("values") / "run"
    fit(adding(), folder, progress=False)
    return folder


def test_the_summary(run: Path) -> None:
    summary = Summary.load(run)
    assert (summary.metric, summary.higher_is_better, summary.chance) == ("mse", False, 1 / 6)
    assert (summary.epochs, summary.steps) == (2, 40)
    assert summary.value == summary.test["mse"] == pytest.approx(summary.test["loss"], rel=1e-5)
    assert set(summary.baselines) == {"constant", "linear", "nearest_neighbour"}
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    held = [row["validation"]["mse"] for row in rows if row["kind"] == "epoch"]
    assert summary.best["value"] == min(held)  # the lowest error, not the highest
    read = read_run(run)
    assert read.summary is not None
    assert read.summary.value == summary.value


def test_inspection_and_evaluation_have_answers_and_no_confusion(run: Path) -> None:
    arrays = safetensors.torch.load_file(run / "inspection.safetensors")
    assert "confusion" not in arrays
    assert arrays["answers/predictions"].shape == arrays["answers/targets"].shape == (300, 1)
    error = (arrays["answers/predictions"] - arrays["answers/targets"]).square().mean()
    result = evaluate(run, which="best")
    assert result.confusion is None
    assert float(error) == pytest.approx(result.value, rel=1e-5)
    assert result.value == Summary.load(run).value


def test_predictions_are_values(run: Path) -> None:
    batch = adding().task.splits().test.batch(torch.arange(300))
    values = predict(run, batch.inputs)
    assert values.shape == (300, 1)
    error = adding().task.scoring.mean(values, batch.targets)
    assert error == pytest.approx(Summary.load(run).value, rel=1e-6)


def test_it_learns(tmp_path: Path) -> None:
    summary = fit(adding(steps=600), tmp_path / "run", progress=False)
    assert summary.value < 0.06  # a constant has 0.167


def test_a_killed_run_goes_on_to_the_same_bits(run: Path, tmp_path: Path) -> None:
    process = start(adding(checkpoint_seconds=0.0), tmp_path / "run", "step", 27)
    process.join()
    assert process.exitcode != 0
    resume(tmp_path / "run", progress=False)
    a, b = (read_checkpoint(f / "checkpoint", "last").checkpoint for f in (run, tmp_path / "run"))
    assert all(torch.equal(a.tensors[key], b.tensors[key]) for key in a.tensors)
    assert Summary.load(tmp_path / "run").value == Summary.load(run).value
