"""Studies of trained networks: nothing changes where nothing is done, and each condition does harm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from rheobase.cli.main import main
from rheobase.crossbar.array import arrays
from rheobase.crossbar.devices.library import device
from rheobase.crossbar.substrate import Crossbar
from rheobase.report.fields import RunFileError
from rheobase.report.studies import read_study, write_study
from rheobase.training.experiment import Experiment
from rheobase.training.fit import fit
from rheobase.training.studies import Study, break_cells


@pytest.fixture(scope="module")
def ideal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies") / "run"
    tables = {
        "encoder": {"steps": 5},
        "network": {"hidden": [16]},
        "training": {"epochs": 3, "batch_size": 64, "learning_rate": 0.02, "threads": 1},
    }
    fit(Experiment.from_recipe("digits", overrides=tables), folder, progress=False)
    return folder


def test_ideal_weights_need_a_device(ideal: Path) -> None:
    with pytest.raises(ValueError, match="its weights are ideal, wanted crossbars to study"):
        Study(ideal, "last")


def test_faults(ideal: Path) -> None:
    study = Study(ideal, "last", Crossbar(device=device("constant-step")))
    table = study.faults(shares=(0.0, 0.5), kinds=("low", "unformed"), repeats=2)
    assert [line["label"] for line in table["lines"]] == ["stuck low", "unformed"]
    for line in table["lines"]:
        assert line["y"][0] == table["unchanged"]
        assert line["y"][1] < table["unchanged"] - 0.1
        assert line["low"][1] <= line["y"][1] <= line["high"][1]
    assert json.loads((ideal / "studies" / "faults.json").read_text()) == table
    figure = write_study(ideal, "faults").read_text()
    assert "test accuracy" in figure
    assert ">0.5<" in figure  # the share at a tick
    assert "$" not in figure  # matplotlib's formulas are not set


def test_wires(ideal: Path) -> None:
    study = Study(ideal, "last", Crossbar(device=device("constant-step").replace(g_max=1e-3, g_min=1e-5)))
    table = study.wires(sizes=(8, 32), resistances=(0.0, 20.0))
    ideal_wires, bad = table["lines"]
    assert ideal_wires["y"] == [table["unchanged"]] * 2
    assert bad["y"][1] < bad["y"][0] < table["unchanged"] + 0.02


def test_retention(ideal: Path) -> None:
    study = Study(ideal, "last", Crossbar(device=device("constant-step").replace(retention=100.0)))
    table = study.retention(times=(0.01, 1e5))
    assert table["lines"][0]["y"][0] == pytest.approx(table["unchanged"], abs=0.01)
    assert table["lines"][0]["y"][1] < 0.3
    assert read_study(ideal, "retention")["device"] == "constant_step"
    assert ">0.01 s<" in write_study(ideal, "retention").read_text()


def test_cells_break_as_asked() -> None:
    study_device = device("constant-step")
    from rheobase.layers.dense import Dense
    from rheobase.layers.network import Network

    net = Network(dense=Dense(50, 40))
    Crossbar(device=study_device).place(net, torch.Generator())
    placed = arrays(net)["layers.dense"]
    break_cells(placed, 0.25, "high", torch.Generator().manual_seed(0))
    share = float((placed.array.cells["g"] == 1.0).float().mean())
    assert share == pytest.approx(0.25, abs=0.03)
    assert torch.equal(net.layers["dense"].weight, placed.array.stored())


def test_damaged_tables_are_named(ideal: Path) -> None:
    path = ideal / "studies" / "wires.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    with pytest.raises(RunFileError, match=r"wires\.json: is no study"):
        read_study(ideal, "wires")


def test_command(ideal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(
        ["study", "faults", str(ideal), "--device", "constant-step", "--repeats", "1", "--samples", "40"]
    )
    assert code == 0
    assert "Figure:" in capsys.readouterr().out
    assert (ideal / "studies" / "faults.svg").is_file()
