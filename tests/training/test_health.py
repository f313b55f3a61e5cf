from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from rheobase.training.errors import DivergedError
from rheobase.training.experiment import Experiment
from rheobase.training.fit import fit
from rheobase.training.health import HealthMonitor
from rheobase.training.tally import Tally


def tally(*, predicted: list[int] | None = None, loss: float = 1.0) -> Tally:
    made = Tally(classes=3)
    predictions = torch.tensor(predicted or [0, 1, 2, 0, 1, 2, 0, 1, 2, 0])
    made.add(torch.tensor(loss), predictions == torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 0]), predictions)
    return made


def kinds(monitor: HealthMonitor, sums: Tally, epoch: int = 1) -> list[tuple[str, str]]:
    return [(f.health, f.layer) for f in monitor.epoch(sums, epoch)]


def test_healthy() -> None:
    sums = tally()
    sums.add_spikes({"hidden1": torch.tensor([5.0, 0.0, 20.0])}, sample_steps=100)
    assert kinds(HealthMonitor(1.0, math.log(3)), sums) == []


@pytest.mark.parametrize(
    ("spikes", "kind"),
    [([5.0, 0.0, 0.0], "silent"), ([0.0, 0.0, 0.0], "silent"), ([95.0, 90.0, 96.0], "saturated")],
)
def test_layers(spikes: list[float], kind: str) -> None:
    sums = tally()
    sums.add_spikes({"hidden1": torch.tensor(spikes), "readout": torch.full((3,), 10.0)}, sample_steps=100)
    assert kinds(HealthMonitor(1.0, math.log(3)), sums) == [(kind, "hidden1")]


def test_low_rate_is_in_hertz() -> None:
    sums = tally()
    sums.add_spikes({"hidden1": torch.tensor([1.0, 1.0])}, sample_steps=20_000)  # 0.05 Hz at dt = 1 ms
    assert kinds(HealthMonitor(1.0, math.log(3)), sums) == [("silent", "hidden1")]
    assert kinds(HealthMonitor(0.1, math.log(3)), sums) == []  # 0.5 Hz


def test_one_class() -> None:
    assert kinds(HealthMonitor(1.0, 5.0), tally(predicted=[1] * 10)) == [("one_class", "")]
    right = Tally(classes=3)
    right.add(torch.tensor(1.0), torch.ones(10), torch.ones(10, dtype=torch.int64))
    assert kinds(HealthMonitor(1.0, 5.0), right) == []
    wrong_share = HealthMonitor(1.0, 5.0, higher_is_better=False)
    assert kinds(wrong_share, right) == [("one_class", "")]  # all of them are wrong


def test_blind() -> None:
    sums = tally(predicted=[1] * 10)
    sums.add_dependence(torch.tensor(0.004))
    assert kinds(HealthMonitor(1.0, 5.0), sums) == [("blind", "")]  # which says that it is one class, too
    sums.add_dependence(torch.tensor(0.2))  # at one time in the epoch, they did depend on it
    assert kinds(HealthMonitor(1.0, 5.0), sums) == [("one_class", "")]


def test_values_have_no_classes() -> None:
    values = Tally(classes=None)
    values.add(torch.tensor(1.0), torch.zeros(4), torch.ones(4, 1))
    assert values.predicted() is None
    assert kinds(HealthMonitor(1.0, 5.0), values) == []


def test_stuck_from_the_second_epoch_on() -> None:
    monitor = HealthMonitor(1.0, math.log(3))
    assert kinds(monitor, tally(loss=math.log(3)), epoch=1) == []
    assert kinds(monitor, tally(loss=math.log(3)), epoch=2) == [("stuck", "")]


def test_exploding_once_an_epoch() -> None:
    monitor = HealthMonitor(1.0, 5.0)
    assert monitor.step(2.0, 0.1, 1) == []
    assert [f.health for f in monitor.step(21.0, 0.1, 2)] == ["exploding"]
    assert monitor.step(22.0, 0.1, 3) == []
    monitor.epoch(tally(), 1)
    (found,) = monitor.step(2.0, 101.0, 4)
    assert found.message == (
        "the norm of the gradient is 101 at step 4, it began at 0.1; set clip_norm or lower the learning rate"
    )


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_not_finite(loss: float) -> None:
    with pytest.raises(DivergedError, match=r"the loss is (nan|inf) at step 3"):
        HealthMonitor(1.0, 5.0).step(loss, 1.0, 3)
    layer = torch.nn.Linear(2, 2)
    layer.weight.data[0, 0] = loss
    with pytest.raises(DivergedError, match="'weight' holds NaN"):
        HealthMonitor(1.0, 5.0).weights(layer, 3)


def test_state_roundtrip() -> None:
    monitor = HealthMonitor(1.0, 5.0)
    monitor.step(2.0, 0.1, 1)
    monitor.step(30.0, 0.1, 2)
    other = HealthMonitor(1.0, 5.0)
    other.restore(monitor.state())
    assert other.step(31.0, 0.1, 3) == []
    assert other.state() == monitor.state()


def test_unreached() -> None:
    layer = torch.nn.Linear(2, 2)
    monitor = HealthMonitor(1.0, math.log(3), trained=["weight", "bias"])
    for step in range(2):
        layer.bias.grad = torch.tensor([0.0, 1.0]) * (step == 0)  # once in an epoch is enough
        layer.weight.grad = torch.zeros(2, 2)
        monitor.directions(layer)
    assert HealthMonitor(1.0, 1.0, trained=["weight"]).state()["unreached"] == ["weight"]
    assert monitor.state()["unreached"] == ["weight"]
    assert kinds(monitor, tally()) == [("unreached", "weight")]
    layer.weight.grad = torch.eye(2)
    monitor.directions(layer)
    assert kinds(monitor, tally()) == [("unreached", "bias")]  # each epoch on its own


@pytest.mark.parametrize(("truncation", "unreached"), [(1, {"dense1.weight", "hidden1.weight"}), (2, set())])
def test_errors_of_one_step_do_not_reach_late_neurons(
    truncation: int, unreached: set[str], tmp_path: Path
) -> None:
    tables = {
        "network": {"name": "recurrent", "hidden": [20], "bias": False},
        "neuron": {"name": "lif", "timing": "late", "threshold": 0.2},
        "readout": {"name": "leaky_integrator"},
        "loss": {"name": "cross_entropy_mean"},
        "decoder": {"name": "membrane_mean"},
        "encoder": {"steps": 6},
        "rule": {"truncation": truncation},
        "training": {"epochs": 1, "threads": 1},
    }
    fit(Experiment.from_recipe("digits", overrides=tables), tmp_path / "run", progress=False)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    found = {line["layer"] for line in lines if line.get("health") == "unreached"}
    assert found == unreached
