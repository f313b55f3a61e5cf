"""The commands, end to end, on scikit-learn's digits."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_words import SMALL

from rheobase import report
from rheobase.cli import main as main_module
from rheobase.training.experiment import Experiment
from rheobase.training.summary import Summary


def test_train_writes_a_run_and_prints_its_value_beside_chance_and_baselines(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = cli("train", "digits", *SMALL, "--seed", "3", "--no-progress")
    assert result.code == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"digits-bptt-\d{8}-\d{6}-s3", folder.name)
    summary = Summary.load(folder)
    assert (summary.seed, summary.recipe) == (3, "default")
    values = {"test accuracy": summary.value, "chance": 0.1, **summary.baselines}
    for name, value in values.items():
        assert re.search(rf"{name.replace('_', ' ')} +{value:.4f}\n", result.out)
    assert re.search(rf"training +{summary.seconds:.1f} s", result.out)
    assert f"runs/{folder.name}/report.html" in result.out
    assert (folder / "report.html").stat().st_size > 10_000
    experiment: Any = Experiment.load(folder / "experiment.toml")
    assert (experiment.network.hidden, experiment.encoder.steps) == ((8,), 4)


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes seconds; where a test is not about the report, none is drawn."""
    monkeypatch.setattr(report, "write_report", lambda folder: folder / "report.html")


@pytest.mark.usefixtures("no_report")
def test_seeds_train_one_run_each_and_show_mean_and_spread(cli: Any, tmp_path: Path) -> None:
    out = tmp_path / "both"
    result = cli("train", "digits", *SMALL, "--seeds", "0,5", "--out", out, "--no-progress")
    assert result.code == 0
    a, b = (Summary.load(out / name) for name in ("s0", "s5"))
    assert (a.seed, b.seed) == (0, 5)
    assert re.search(rf"mean +{(a.value + b.value) / 2:.4f} ", result.out)
    assert re.search(rf"spread +{abs(a.value - b.value) / 2**0.5:.4f} ", result.out)
    table = cli("report", out / "s0", out / "s5")
    assert table.out.count("\n") == 4
    assert f"| {b.value:.4f} |" in table.out


def test_a_taken_folder_is_refused(cli: Any, trained: Path) -> None:
    result = cli("train", "digits", *SMALL, "--out", trained)
    assert result.code == 1
    assert "holds a run already" in result.err


def test_an_unwritable_folder_is_one_error(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = cli("train", "digits", *SMALL, "--out", tmp_path / "file" / "run")
    assert result.code == 1
    assert "cannot be written" in result.err


def test_eval_agrees_with_the_summary(cli: Any, trained: Path) -> None:
    summary = Summary.load(trained)
    assert f"{summary.value:.4f}" in cli("eval", trained).out
    table = json.loads(cli("eval", trained, "--json").out)
    assert table["which"] == summary.evaluated == "best"
    assert table["value"] == pytest.approx(summary.value)
    assert np.trace(table["confusion"]) / np.sum(table["confusion"]) == pytest.approx(summary.value)
    other = json.loads(cli("eval", trained, "--split", "validation", "--which", "last", "--json").out)
    assert np.sum(other["confusion"]) == 144


def test_predict_reads_every_kind_of_file_alike(cli: Any, trained: Path, tmp_path: Path) -> None:
    sample = Experiment.load(trained / "experiment.toml").task.splits().test.whole().inputs[:1]
    whole = (sample[0, 0].numpy() * 16).round().astype(np.uint8)
    np.save(tmp_path / "a.npy", sample[0, 0].numpy())
    np.save(tmp_path / "b.npy", np.stack([whole, whole]))
    header = bytes([0, 0, 8, 2]) + (8).to_bytes(4, "big") * 2
    (tmp_path / "c.idx").write_bytes(header + whole.tobytes())
    seen = {}
    for name in ("a.npy", "b.npy", "c.idx"):
        lines = cli("predict", trained, tmp_path / name, "--json").out.splitlines()
        seen[name] = [json.loads(line) for line in lines]
    assert seen["a.npy"] == seen["c.idx"]
    assert [s["scores"] for s in seen["b.npy"]] == [seen["a.npy"][0]["scores"]] * 2
    best = seen["a.npy"][0]
    assert best["scores"][best["class"]] == max(best["scores"].values())
    header_row, row = cli("predict", trained, tmp_path / "a.npy").out.splitlines()
    assert header_row.split() == ["sample", "class", *"0123456789"]
    assert row.split()[:2] == ["0", best["class"]]


def test_predict_reads_grey_pictures(cli: Any, trained: Path, tmp_path: Path) -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    Image.fromarray(grey).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", grey.astype(np.float32) / np.float32(255))
    assert cli("predict", trained, tmp_path / "a.png").out == cli("predict", trained, tmp_path / "a.npy").out


def _bad_inputs(folder: Path) -> dict[str, str]:
    """Files that are no input for `digits`, and what is said about each."""
    np.save(folder / "nan.npy", np.full((8, 8), np.nan))
    np.save(folder / "range.npy", np.full((8, 8), 1.5))
    np.save(folder / "whole.npy", np.full((8, 8), 17))
    np.save(folder / "shape.npy", np.zeros((3, 3)))
    np.save(folder / "empty.npy", np.zeros((0, 8, 8)))
    np.save(folder / "text.npy", np.array([["a"]]))
    np.save(folder / "object.npy", np.array([{}], dtype=object), allow_pickle=True)
    (folder / "cut.npy").write_bytes((folder / "nan.npy").read_bytes()[:100])
    Image.new("L", (28, 28)).save(folder / "size.png")
    (folder / "bad.png").write_bytes(b"no picture")
    Image.effect_noise((8, 8), 50).save(folder / "noise.png")
    (folder / "cut.png").write_bytes((folder / "noise.png").read_bytes()[:70])
    (folder / "cut.idx").write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 8, 0, 0, 0, 8, 1, 2]))
    return {
        "nan.npy": "got nan in sample 0", "range.npy": "wanted finite values from 0 to 1",
        "whole.npy": "wanted finite values from 0 to 16", "shape.npy": "got an array of shape (3, 3)",
        "empty.npy": "got an array of shape (0, 8, 8)", "text.npy": "wanted numbers",
        "object.npy": "got no whole NumPy array", "cut.npy": "got no whole NumPy array",
        "size.png": "got an array of shape (28, 28)", "bad.png": "no picture", "cut.png": "damaged",
        "cut.idx": "got 14 bytes, wanted 76",
    }  # fmt: skip


def test_bad_inputs_are_one_error_each(cli: Any, trained: Path, tmp_path: Path) -> None:
    for name, told in _bad_inputs(tmp_path).items():
        result = cli("predict", trained, tmp_path / name)
        assert (result.code, result.out) == (1, ""), name
        assert told in result.err, name
        assert name in result.err
        assert result.err.count("\n") == 1, name


def test_folders_that_are_no_runs(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "a.npy").touch()
    for words in (["eval"], ["report"], ["resume"], ["resume", "--no-progress"]):
        result = cli(*words, tmp_path)
        assert result.code == 1
        assert "not a run folder" in result.err
    assert "not a run folder" in cli("predict", tmp_path, tmp_path / "a.npy").err


def test_a_truncated_checkpoint_is_one_error(cli: Any, trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    for tensors in (run / "checkpoint").glob("best*/tensors.safetensors"):
        tensors.write_bytes(tensors.read_bytes()[:50])
    result = cli("eval", run)
    assert result.code == 1
    assert "truncated or damaged" in result.err
    assert cli("eval", run, "--which", "last").code == 0


@pytest.mark.filterwarnings("default")
def test_an_older_checkpoint_is_taken_with_a_warning_for_people(
    cli: Any, trained: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    tensors = run / "checkpoint" / "last" / "tensors.safetensors"
    shutil.copytree(run / "checkpoint" / "last", run / "checkpoint" / "last.new")
    tensors.write_bytes(b"")
    result = cli("eval", run, "--which", "last")
    assert result.code == 0
    assert re.match(r"Warning: .*truncated or damaged.*last\.new\n$", result.err)


@pytest.mark.usefixtures("no_report")
@pytest.mark.skipif(os.name != "posix", reason="sends SIGTERM")
def test_a_stopped_run_says_how_to_go_on_and_resume_says_from_where(cli: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ["train", "digits", "--hidden", "8", "--steps", "4", "--epochs", "4000", "--out", str(folder)]
    script = "import sys; from rheobase.cli.main import main; sys.exit(main())"
    process = subprocess.Popen([sys.executable, "-c", script, *words], stderr=subprocess.PIPE, text=True)
    for _ in range(600):
        if (folder / "metrics.jsonl").is_file() and (folder / "metrics.jsonl").stat().st_size:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"rheobase resume {folder}" in told
    assert "Traceback" not in told
    file = folder / "experiment.toml"
    file.write_text(file.read_text().replace("epochs = 4000", "epochs = 1"))
    result = cli("resume", folder, "--no-progress")
    assert result.code == 0
    assert re.search(r"going on after step \d+ \(epoch \d+\)", result.err)
    assert f"{Summary.load(folder).value:.4f}" in result.out


def test_bench_compares_and_measures_every_neuron_asked_for(cli: Any) -> None:
    result = cli(
        "bench", "lif", "leaky-integrator", "--steps", 3, "--batch", 2, "--neurons", 4, "--repeats", 1
    )
    assert result.code == 0
    assert [line.split()[0] for line in result.out.splitlines()[2:]] == ["lif", "leaky-integrator"]
    assert result.out.count(" x ") == 2


def test_debug_shows_the_traceback(cli: Any, tmp_path: Path) -> None:
    for words in (["--debug", "eval", tmp_path], ["eval", tmp_path, "--debug"]):
        with pytest.raises(RuntimeError, match="not a run folder"):
            cli(*words)


def test_a_bug_keeps_its_traceback(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise AssertionError("a bug")

    monkeypatch.setattr(main_module.commands, "main", broken)
    with pytest.raises(AssertionError):
        cli("list")


def test_version(cli: Any) -> None:
    assert cli("--version").out == f"rheobase, version {version('rheobase')}\n"


def test_help_names_every_command_and_each_has_help(cli: Any) -> None:
    text = cli("--help").out
    for name in main_module.COMMANDS:
        assert f"\n  {name} " in text
        assert cli(name, "--help").out.startswith(f"Usage: rheobase {name}")


def test_help_does_not_load_torch() -> None:
    script = (
        "import sys\nfrom rheobase.cli.main import main\n"
        "for words in (['--help'], ['list', '--help'], ['eval', '--help'], ['bench', '--help'], ['lst']):\n"
        "    main(words)\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr


@pytest.mark.skipif(os.name != "posix", reason="pipes of the shell")
def test_a_reader_that_has_gone_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    script = "import sys; from rheobase.cli.main import main; sys.exit(main(['--help']))"
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
