"""Several processes at one job, as torchrun starts them; each test starts it once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import noisy

from rheobase.layers.noise import Noise, renew_noise
from rheobase.rules.snes import SNES
from rheobase.training.checkpoint import read_checkpoint
from rheobase.training.experiment import Experiment
from rheobase.training.fit import fit
from rheobase.workers import Workers, may_restart, together

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node")


def job(*words: str, processes: int = 2) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COVERAGE_PROCESS_START": ""}
    return subprocess.Popen(
        [*TORCHRUN, str(processes), *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> tuple[str, str]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out, err


def experiment_file(experiment: Experiment, folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    experiment.save(folder / "small.toml")
    return str(folder / "small.toml")


def weights(run: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(run / "checkpoint", "last").checkpoint.group("model")


def rows(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == kind]


EXPERIMENT = noisy(checkpoint_seconds=0.0, learning_rate=0.003)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes."""
    folder = tmp_path_factory.mktemp("two")
    out, err = finished(
        job("-m", "rheobase", "train", experiment_file(EXPERIMENT, folder), "--out", str(folder / "run"))
    )
    assert out.count("chance") == 1  # one of them speaks
    assert err.count("Run folder") == 1
    return folder / "run"


def test_two_processes_train_as_one_does(two: Path, tmp_path: Path) -> None:
    """Random code, shifted images, noise in neurons: on the same data, the same network but for rounding."""
    alone = tmp_path / "alone"
    fit(EXPERIMENT, alone, progress=False)
    for name, value in weights(alone).items():
        torch.testing.assert_close(weights(two)[name], value, rtol=1e-3, atol=1e-4, msg=name)
    for a, b in zip(rows(alone, "step"), rows(two, "step"), strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-4)
        assert b["accuracy"] == pytest.approx(a["accuracy"], abs=0.02)
        assert b["rates"] == pytest.approx(a["rates"], rel=1e-2)
    ours, theirs = (json.loads((run / "summary.json").read_text()) for run in (alone, two))
    assert theirs["steps"] == ours["steps"]
    assert theirs["value"] == pytest.approx(ours["value"], abs=0.02)


def test_a_worker_that_dies(two: Path, tmp_path: Path) -> None:
    """torchrun starts both again, and they go on to the bits of a run that came to no harm."""
    harmed = tmp_path / "harmed"
    file = experiment_file(EXPERIMENT, tmp_path)
    process = job("--max-restarts", "1", "-m", "rheobase", "train", file, "--out", str(harmed))
    deadline = time.monotonic() + 60
    log = harmed / "metrics.jsonl"
    while not (log.exists() and log.stat().st_size > 500) and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(max(workers_of(process.pid)), signal.SIGKILL)
    _, err = finished(process)
    assert "going on after step" in err
    assert all(torch.equal(weights(two)[name], value) for name, value in weights(harmed).items())
    own, other = (
        [{k: v for k, v in row.items() if k != "seconds"} for row in rows(run, "step")]
        for run in (harmed, two)
    )
    assert own == other


@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_processes_evolve_to_the_bits_of_one(processes: int, tmp_path: Path) -> None:
    """Members are divided (of 6), and no order of summation depends on how."""
    experiment = EXPERIMENT.replace(rule=SNES(population=6)).replace(
        training=EXPERIMENT.training.replace(epochs=1)
    )
    fit(experiment, tmp_path / "alone", progress=False)
    file, run = experiment_file(experiment, tmp_path), tmp_path / "run"
    finished(job("-m", "rheobase", "train", file, "--out", str(run), processes=processes))
    assert all(torch.equal(weights(tmp_path / "alone")[name], value) for name, value in weights(run).items())
    assert rows(tmp_path / "alone", "step")[-1]["loss"] == rows(run, "step")[-1]["loss"]


def workers_of(parent: int) -> list[int]:
    """The processes that `parent` started and that run rheobase."""
    out = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(parent)], capture_output=True, text=True)
    return [int(line.split()[0]) for line in out.stdout.splitlines() if "rheobase" in line]


def test_others_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "9"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("rheobase.workers.MEETING", __import__("datetime").timedelta(seconds=1))
    with (
        pytest.raises(
            ConnectionError, match=r"could not join the 2 processes .* at 127\.0\.0\.1:9 within 1 s"
        ),
        together(os.environ),
    ):
        pass


@pytest.mark.parametrize("size", ["0", "two", "-1"])
def test_a_number_of_processes_that_is_none(size: str) -> None:
    with pytest.raises(ValueError, match="WORLD_SIZE: got"), together({"WORLD_SIZE": size}):
        pass


def test_alone_nothing_is_to_be_told() -> None:
    with together({}) as workers:
        assert workers == Workers(0, 1)
        value = torch.tensor([1.5])
        workers.add([value])
        workers.tell([value])
        workers.wait()
        assert workers.gather(value, 1) is value
        assert value.item() == 1.5
    assert not may_restart({})
    assert may_restart({"TORCHELASTIC_MAX_RESTARTS": "3"})


@pytest.mark.parametrize("number", [1, 4, 7, 256])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_shares_cover_everything_once(number: int, size: int) -> None:
    shares = [Workers(rank, size).share(number) for rank in range(size)]
    assert [i for share in shares for i in range(number)[share]] == list(range(number))
    lengths = [share.stop - share.start for share in shares]
    assert max(lengths) - min(lengths) <= 1


def test_a_block_of_a_batch_gets_the_noise_of_its_place() -> None:
    noise = Noise(1.0, tau=3.0)
    x = torch.zeros(5, 6, 3)
    renew_noise(noise, torch.Generator().manual_seed(1))
    whole = noise(x).output
    renew_noise(noise, torch.Generator().manual_seed(1), 4)
    assert torch.equal(noise(x[:, 4:]).output, whole[:, 4:])
