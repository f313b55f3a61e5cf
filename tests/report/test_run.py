"""A malformed file ends in one error that names it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from synthetic_run import SUMMARY, tensors, write_inspection

from rheobase.report import RunFileError, read_run


def test_values_arrive(run_folder: Path) -> None:
    run = read_run(run_folder)
    assert run.summary is not None
    assert run.summary.value == 0.944
    assert run.summary.best_epoch == 5
    assert (len(run.metrics.steps), len(run.metrics.epochs)) == (240, 6)
    assert run.metrics.epochs[-1].validation is not None
    assert run.metrics.warnings[0].health == "silent"
    assert run.part("rule") == "bptt"
    assert run.inspection is not None
    assert run.inspection.samples is not None
    assert list(run.inspection.samples.signals) == ["hidden", "readout"]
    assert run.inspection.samples.signals["readout"]["v"].shape == (25, 4, 10)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("experiment.toml", b"[task\n", "not TOML"),
        ("experiment.toml", b"\xff\xfe", "not UTF-8"),
        ("summary.json", b'{"task": "digits"', "not JSON"),
        ("summary.json", b"[1]", "wanted a table"),
        ("environment.json", b"", "not JSON"),
        ("metrics.jsonl", b'{"kind": "step"\n{"kind": "step"}\n', "line 1: not JSON"),
        ("metrics.jsonl", b'{"kind": "step"\n', "line 1: not JSON"),
        ("metrics.jsonl", b'{"kind": "stop"}\n', "wanted step, epoch, warning or cosine"),
        ("metrics.jsonl", b'{"kind": "step", "step": 1.5}\n', "'step' is 1.5, wanted a whole number"),
        ("metrics.jsonl", b'{"kind": "step", "step": 1, "loss": "x"}\n', "'loss' is 'x', wanted a number"),
        ("metrics.jsonl", b'{"kind": "epoch", "epoch": 1, "step": 1, "train": 3}\n', "wanted a table"),
        ("inspection.json", b'{"dt": 0}', "wanted a time step above 0 ms"),
        ("inspection.json", b'{"dt": 1.0, "classes": [1]}', "wanted a list of texts"),
        ("inspection.safetensors", b"\x00", "not a safetensors file"),
        ("inspection.safetensors", b"garbage" * 30, "not a safetensors file"),
    ],
)
def test_malformed_file(run_folder: Path, name: str, content: bytes, said: str) -> None:
    (run_folder / name).write_bytes(content)
    with pytest.raises(RunFileError) as caught:
        read_run(run_folder)
    assert str(run_folder / name) in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["task", "rule", "neuron", "seed", "metric"])
def test_summary_without_a_necessary_key(run_folder: Path, key: str) -> None:
    (run_folder / "summary.json").write_text(json.dumps({k: v for k, v in SUMMARY.items() if k != key}))
    with pytest.raises(RunFileError, match=f"summary.json: no '{key}'"):
        read_run(run_folder)


@pytest.mark.parametrize(
    ("key", "array", "said"),
    [
        ("targets", np.zeros(3, dtype=np.int64), r"'targets' has shape \[3\], wanted \[4, \.\.\.\]"),
        ("signal/hidden.v", np.zeros((25, 3, 2)), r"has shape \[25, 3, 2\], wanted \[T, 4, N\]"),
        ("confusion", np.zeros((3, 2), dtype=np.int64), r"has shape \[3, 2\], wanted \[C, C\]"),
        ("weight_edges/hidden.weight", np.zeros(40), r"has shape \[40\], wanted \[41\]"),
    ],
)
def test_tensor_of_a_wrong_shape(run_folder: Path, key: str, array: np.ndarray, said: str) -> None:
    write_inspection(run_folder, tensors() | {key: array})
    with pytest.raises(RunFileError, match=said):
        read_run(run_folder)


def test_truncated_tensors(run_folder: Path) -> None:
    path = run_folder / "inspection.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunFileError, match="not a safetensors file"):
        read_run(run_folder)


def test_not_a_run_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        read_run(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="not a run folder"):
        read_run(tmp_path)
