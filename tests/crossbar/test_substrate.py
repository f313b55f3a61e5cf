"""Substrates: by name, in experiments, trained in place, and killed and resumed to the same bits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from rheobase.crossbar.array import arrays
from rheobase.crossbar.devices.constant_step import ConstantStep
from rheobase.crossbar.mapping import DifferentialPair, OneSigned
from rheobase.crossbar.substrate import Crossbar, Ideal
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.report.page import write_report
from rheobase.training.checkpoint import read_checkpoint
from rheobase.training.course import Course
from rheobase.training.evaluate import evaluate
from rheobase.training.experiment import Experiment
from rheobase.training.fit import fit, resume
from rheobase.training.folder import RunFolder
from rheobase.training.log import MetricsLog
from rheobase.training.loop import Trainer
from rheobase.training.seeding import global_seed

TABLES = {
    "encoder": {"steps": 5},
    "network": {"hidden": [12]},
    "training": {"epochs": 2, "batch_size": 512, "threads": 1, "learning_rate": 0.01},
}


@contextmanager
def one_thread() -> Iterator[None]:
    """As many as `fit` uses for these experiments: the order of sums depends on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def experiment(substrate: object) -> Experiment:
    return Experiment.from_recipe("digits", overrides={**TABLES, "substrate": substrate})


def test_devices_are_substrates_by_name() -> None:
    made = experiment("memtransistor")
    assert isinstance(made.substrate, Crossbar)
    assert made.substrate.title == "memtransistor"
    assert experiment("gokmen-vlasov").substrate.title == "gokmen-vlasov"
    assert experiment("ideal").substrate == Ideal()
    assert Experiment.from_tables(made.tables()) == made
    assert Experiment.from_recipe("digits").substrate.title == "ideal"
    with pytest.raises(ValueError, match="unknown substrate 'memristor'"):
        experiment("memristor")


def test_layers_are_chosen_and_their_names_checked() -> None:
    net = Network(one=Dense(4, 3), two=Dense(3, 2))
    Crossbar(layers=("two",)).place(net, torch.Generator())
    assert list(arrays(net)) == ["layers.two"]
    with pytest.raises(ValueError, match=r"Crossbar.layers: unknown layer with weights 'too'; did you mean"):
        Crossbar(layers=("too",)).place(Network(two=Dense(3, 2)), torch.Generator())


def test_one_sign_where_there_are_signs_and_pairs_elsewhere() -> None:
    net = Network(one=Dense(4, 3), two=Dense(3, 2, signs=0.5))
    placed = Crossbar(mapping=OneSigned()).place(net, torch.Generator())
    assert isinstance(placed["layers.one"].array.mapping, DifferentialPair)
    assert isinstance(placed["layers.two"].array.mapping, OneSigned)


def test_trains_in_place_and_is_found_again(tmp_path: Path) -> None:
    made = experiment("memtransistor-5")
    made = made.replace(training=made.training.replace(batch_size=32, epochs=1))
    summary = fit(made, tmp_path / "run", progress=False)
    assert summary.substrate == "memtransistor-5"
    assert summary.value > 0.3  # chance is .1
    assert evaluate(tmp_path / "run", which="last").value == summary.value
    costs = summary.crossbar
    assert costs is not None
    assert costs["total"]["cells"] == 2 * (64 * 12 + 12 * 10)
    assert costs["total"]["reads"] == 10
    assert costs["total"]["write_energy"] > 0
    page = write_report(tmp_path / "run").read_text()
    assert "A nominal device, pulse by pulse" in page
    assert "dense1: pulses per cell" in page
    assert "1,776 devices" in page
    tensors = read_checkpoint(tmp_path / "run" / "checkpoint", "last").checkpoint.group("model")
    key = "layers.dense1.parametrizations.weight"
    assert int(tensors[f"{key}.0.pulses"].sum()) > 0
    array_weight = tensors[f"{key}.0.cell_g"]
    decoded = (array_weight[0] - array_weight[1]) * float(tensors[f"{key}.0.largest"])
    torch.testing.assert_close(decoded, tensors[f"{key}.original"])


def test_resumes_to_the_same_bits(tmp_path: Path) -> None:
    """Device state, pulse counts and what the scheme of programming keeps are in a checkpoint."""
    substrate = {"name": "crossbar", "device": ConstantStep(c2c=0.3, read_noise=0.05).to_dict()}
    whole = experiment(substrate)
    fit(whole, tmp_path / "one", progress=False)
    run = RunFolder(tmp_path / "two")
    trainer = Trainer(whole, whole.task.splits(), run, "")
    run.create()
    whole.save(run.experiment)
    course = Course.of(whole.training, trainer.splits.train)
    with one_thread(), MetricsLog(run.metrics) as log, global_seed(0, "modules"):
        trainer.network.train()
        order = course.order(0, trainer.generators.order)
        for start in range(0, 1024, 512):  # 2 of 3 steps of the first epoch
            trainer._step(order[start : start + 512], False, _Silent())
            trainer.place = trainer.place.__class__(step=trainer.place.step, sample=start + 512)
        trainer.save(log)
    resume(run.path, progress=False)
    ends = [read_checkpoint(tmp_path / name / "checkpoint", "last").checkpoint for name in ("one", "two")]
    assert ends[0].tensors.keys() == ends[1].tensors.keys()
    for name, value in ends[0].tensors.items():
        assert torch.equal(value, ends[1].tensors[name]), name


class _Silent:
    def __getattr__(self, name: str) -> object:
        return lambda *a, **k: None
