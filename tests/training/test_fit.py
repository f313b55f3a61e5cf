from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from small_runs import noisy, small
from torch import Tensor

from rheobase.coding.decoders import SpikeCount
from rheobase.report.run import read_run
from rheobase.rules.bptt import BPTT
from rheobase.tasks.dataset import ArrayDataset
from rheobase.training.augment import shift_images
from rheobase.training.checkpoint import read_checkpoint
from rheobase.training.errors import DivergedError, FolderError, RunError
from rheobase.training.evaluate import evaluate, predict
from rheobase.training.experiment import Experiment
from rheobase.training.fit import fit, resume
from rheobase.training.inspection import one_per_class
from rheobase.training.loop import Trainer
from rheobase.training.restore import load_network
from rheobase.training.summary import Summary
from rheobase.training.tally import Tally


def rows(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def last_step(folder: Path) -> int:
    return int(read_checkpoint(folder / "checkpoint", "last").checkpoint.values["place"]["step"])


def test_the_run_folder(finished: Path) -> None:
    summary = Summary.load(finished)
    assert (summary.task, summary.rule, summary.neuron) == ("digits", "bptt", "lif")
    assert (summary.epochs, summary.steps, summary.recipe) == (2, 6, "default")
    assert summary.parameters == 64 * 16 + 16 + 16 * 10 + 10
    assert summary.evaluated == "last"
    assert summary.best["selected_on"] == "train loss"
    assert summary.value == summary.test["accuracy"]
    assert summary.baselines["linear"] > 0.9
    assert summary.seconds > 0
    assert Experiment.load(finished / "experiment.toml") == small()
    # The report's reader takes all of it.
    run = read_run(finished)
    assert run.inspection is not None
    assert run.summary is not None
    assert run.summary.value == summary.value
    assert len(list((finished / "tensorboard").iterdir())) == 1


def test_a_tally_is_an_epoch() -> None:
    whole, again = Tally(classes=3), Tally(classes=3)
    for loss, predicted, target in ((1.0, [0, 1, 1], [0, 1, 2]), (4.0, [2], [2])):
        right = torch.tensor(predicted) == torch.tensor(target)
        whole.add(torch.tensor(loss), right, torch.tensor(predicted))
        whole.add_spikes({"a": torch.tensor([1.0, 3.0])}, sample_steps=10)
        whole.add_dependence(torch.tensor(loss / 100))
    again.restore(whole.state())
    for tally in (whole, again):
        assert tally.dependence == pytest.approx(0.04)
        assert tally.loss == 7 / 4  # three samples at 1, one at 4
        assert tally.value == 3 / 4
        shares = tally.predicted()
        assert shares is not None
        assert shares.tolist() == [0.25, 0.5, 0.25]
        assert tally.rates(dt=2.0) == {"a": pytest.approx(100.0)}  # .2 spikes per step of 2 ms


def test_the_log(finished: Path) -> None:
    # log_every is 2 and an epoch has 3 steps: its last step is logged too.
    assert [row["step"] for row in rows(finished, "step")] == [2, 3, 4, 6]
    first = rows(finished, "step")[0]
    assert first["epoch"] == pytest.approx(2 / 3)
    assert set(first["rates"]) == {"hidden1", "readout"}
    epochs = rows(finished, "epoch")
    assert [(row["epoch"], row["step"]) for row in epochs] == [(1, 3), (2, 6)]
    assert epochs[1]["train"]["loss"] < epochs[0]["train"]["loss"]
    assert epochs[0]["validation"] is None


def test_it_learns(tmp_path: Path) -> None:
    summary = fit(small(epochs=8, batch_size=128), tmp_path / "run", progress=False)
    assert summary.value > 0.6


def test_evaluation_is_that_of_the_summary(finished: Path) -> None:
    summary = Summary.load(finished)
    result = evaluate(finished, which="last")
    assert result.value == summary.value
    assert result.loss == pytest.approx(summary.test["loss"], rel=1e-6)
    assert result.confusion is not None
    assert result.answers is None
    assert int(result.confusion.sum()) == 360
    assert int(result.confusion.trace()) == round(result.value * 360)
    assert result.rates["hidden1"].shape == (16,)
    train = evaluate(finished, which="last", split="train")
    assert train.confusion is not None
    assert int(train.confusion.sum()) == 1437
    with pytest.raises(ValueError, match="wanted one of train, test; a run has a validation split if"):
        evaluate(finished, split="validation")


def test_predict(finished: Path) -> None:
    data = small().task.splits().test.whole()
    scores = predict(finished, data.inputs, which="last")
    assert scores.shape == (360, 10)
    accuracy = float((scores.argmax(1) == data.targets).float().mean())
    assert accuracy == pytest.approx(Summary.load(finished).value)
    with pytest.raises(ValueError, match=r"got shape \(3, 8, 8\), wanted \[B, 1, 8, 8\]"):
        predict(finished, torch.zeros(3, 8, 8))
    with pytest.raises(ValueError, match="NaN or infinite"):
        predict(finished, torch.full((1, 1, 8, 8), torch.nan))


def test_validation_selects_and_the_best_is_tested(uninterrupted: Path) -> None:
    summary = Summary.load(uninterrupted)
    values = [row["validation"]["accuracy"] for row in rows(uninterrupted, "epoch")]
    assert summary.best == {
        "epoch": values.index(max(values)) + 1,
        "value": max(values),
        "selected_on": "validation",
    }
    assert summary.evaluated == "best"
    assert evaluate(uninterrupted, which="best").value == summary.value
    assert evaluate(uninterrupted, which="best", split="validation").value == max(values)


def test_without_validation_the_lowest_training_loss_is_best(finished: Path) -> None:
    losses = [row["train"]["loss"] for row in rows(finished, "epoch")]
    best = Summary.load(finished).best
    assert best["value"] == min(losses)
    assert best["epoch"] == losses.index(min(losses)) + 1


def test_same_seed_same_bits_and_the_global_generator_is_left(finished: Path, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    fit(small(), tmp_path / "again", progress=False)
    assert torch.equal(torch.get_rng_state(), state)
    a, b = (read_checkpoint(f / "checkpoint", "last").checkpoint for f in (finished, tmp_path / "again"))
    assert all(torch.equal(a.tensors[key], b.tensors[key]) for key in a.tensors)


def test_inspection(finished: Path) -> None:
    arrays = safetensors.torch.load_file(finished / "inspection.safetensors")
    names = json.loads((finished / "inspection.json").read_text())
    assert names["layers"] == ["hidden1", "readout"]
    assert names["input_is_image"] is True
    assert arrays["targets"].tolist() == list(range(10))
    assert arrays["signal/hidden1.spikes"].shape == (6, 10, 16)
    assert arrays["signal/readout.v"].shape == (6, 10, 10)
    weights = load_network(finished, "last")[1].state_dict()["layers.dense1.weight"]
    assert int(arrays["weight_counts/layers.dense1.weight"].sum()) == weights.numel()
    assert float(arrays["weight_edges/layers.dense1.weight"][-1]) == pytest.approx(float(weights.max()))
    assert float(arrays["weight_edges0/layers.dense1.weight"][-1]) == pytest.approx(1 / 8, rel=0.01)


def test_samples_of_each_class_in_turn() -> None:
    data = ArrayDataset(torch.zeros(6, 1), torch.tensor([1, 1, 0, 2, 0, 1]))
    assert one_per_class(data, 3).tolist() == [2, 0, 3, 4, 1, 5]


def test_plain_lines_where_there_is_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(small(epochs=1), tmp_path / "run")
    told = capsys.readouterr()
    assert told.out == ""
    assert [line[:9] for line in told.err.splitlines() if line.startswith("epoch")] == ["epoch 1/1"]
    assert "Hz" in told.err


def test_shifts() -> None:
    images = torch.zeros(200, 1, 5, 5)
    images[:, :, 2, 2] = 1.0
    moved = shift_images(images, 1, torch.Generator().manual_seed(0))
    places = {tuple(place) for place in moved.nonzero()[:, 2:].tolist()}
    assert places == {(y, x) for y in (1, 2, 3) for x in (1, 2, 3)}
    assert moved.sum() == 200
    edge = torch.ones(50, 2, 4, 6)
    sums = {tuple(c.sum((1, 2)).tolist()) for c in shift_images(edge, 1, torch.Generator().manual_seed(0))}
    assert sums == {(24.0, 24.0), (20.0, 20.0), (18.0, 18.0), (15.0, 15.0)}  # none, row, column, both lost
    with pytest.raises(ValueError, match="wanted images"):
        shift_images(torch.zeros(2, 5), 1, torch.Generator())


# ---- what goes wrong


def test_folder_with_a_run(finished: Path) -> None:
    with pytest.raises(FolderError, match="holds a run already; go on with it"):
        fit(small(), finished, progress=False)


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match=r"cannot be written \(Not a directory\); choose another"):
        fit(small(), tmp_path / "file" / "run", progress=False)


def test_an_experiment_that_does_not_fit_leaves_no_folder(tmp_path: Path) -> None:
    from rheobase.neurons.leaky_integrator import LeakyIntegrator

    with pytest.raises(ValueError, match="reads 'spikes'"):
        fit(
            small().replace(readout=LeakyIntegrator(), decoder=SpikeCount()), tmp_path / "run", progress=False
        )
    assert not (tmp_path / "run").exists()


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, fsync, step = tmp_path / "run", os.fsync, Trainer._step

    def filled(self: Trainer, *args: Any) -> None:
        if self.place.step == 4:
            monkeypatch.setattr(os, "fsync", full)
        step(self, *args)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Trainer, "_step", filled)
    with pytest.raises(RunError, match=r"No space left on device.*make room.*rheobase resume"):
        fit(small(), folder, progress=False)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Trainer, "_step", step)
    assert last_step(folder) == 3
    assert resume(folder, progress=False).steps == 6


def test_nan_stops_training_and_the_checkpoint_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accumulate = BPTT.accumulate
    calls = 0

    def poisoned(self: BPTT, network: Any, *args: Any) -> Any:
        nonlocal calls
        calls += 1
        outcome = accumulate(self, network, *args)
        if calls == 5:
            next(network.parameters()).grad.fill_(torch.nan)
        return outcome

    monkeypatch.setattr(BPTT, "accumulate", poisoned)
    with pytest.raises(DivergedError, match=r"(?s)training stopped: .*NaN.*lower learning_rate"):
        fit(small(log_every=100), tmp_path / "run", progress=False)
    assert last_step(tmp_path / "run") == 3
    assert rows(tmp_path / "run", "warning")[-1]["health"] == "nan"
    weights = read_checkpoint(tmp_path / "run/checkpoint", "last").checkpoint.group("model")
    assert all(bool(w.isfinite().all()) for w in weights.values())


@pytest.mark.parametrize("error", [ZeroDivisionError, FileNotFoundError])
def test_a_rule_that_raises(error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any) -> None:
        raise error("no such rule")

    with monkeypatch.context() as patch:
        patch.setattr(BPTT, "accumulate", broken)
        with pytest.raises(error, match="no such rule"):
            fit(small(), tmp_path / "run", progress=False)
    assert last_step(tmp_path / "run") == 0
    assert resume(tmp_path / "run", progress=False).steps == 6


def test_truncated_bptt_trains(tmp_path: Path) -> None:
    experiment = small(epochs=1).replace(rule=BPTT(truncation=2))
    assert fit(experiment, tmp_path / "run", progress=False).steps == 3


def test_warnings_are_in_log_and_summary(tmp_path: Path) -> None:
    experiment = small(epochs=1)
    silent = experiment.replace(network=experiment.network.replace(gain=1e-6))
    summary = fit(silent, tmp_path / "run", progress=False)
    told = [row for row in rows(tmp_path / "run", "warning") if row["layer"] == "hidden1"]
    assert [row["health"] for row in told] == ["silent"]
    assert "raise the initial weights" in told[0]["message"]
    assert [w for w in summary.warnings if w["layer"] == "hidden1"] == [
        {k: v for k, v in told[0].items() if k != "kind"}
    ]


def test_clipping(tmp_path: Path) -> None:
    trainer = Trainer(noisy(), noisy().task.splits(), folder=None, recipe="")  # type: ignore[arg-type]
    for parameter in trainer.network.parameters():
        parameter.grad = torch.ones_like(parameter)
    before: Tensor = trainer._clipping.apply(watched=False)
    total = sum(p.numel() for p in trainer.network.parameters())
    assert float(before) == pytest.approx(total**0.5, rel=1e-5)
    norm = sum(float(p.grad.square().sum()) for p in trainer.network.parameters()) ** 0.5
    assert norm == pytest.approx(1.0, rel=1e-3)
