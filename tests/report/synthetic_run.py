"""A small synthetic run folder, as training would leave it, without training anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

EXPERIMENT = """\
[task]
name = "digits"
validation = 0.2

[encoder]
name = "constant_current"
steps = 25

[network]
name = "feed_forward"
hidden = [40]

[neuron]
name = "lif"
tau = 10.0

[neuron.surrogate]
name = "fast_sigmoid"
slope = 25.0

[rule]
name = "bptt"

[training]
seed = 3
epochs = 6
learning_rate = 0.0005

[[regularisers]]
name = "l1_activity"
strength = 1e-05

[[regularisers]]
name = "rate_upper"
rate = 80.0
"""

SUMMARY: dict[str, Any] = {
    "task": "digits",
    "rule": "bptt",
    "neuron": "lif",
    "substrate": "ideal",
    "recipe": "default",
    "seed": 3,
    "metric": "accuracy",
    "value": 0.944,
    "higher_is_better": True,
    "chance": 0.1,
    "baselines": {"constant": 0.112, "linear": 0.891, "nearest_neighbour": 0.922},
    "parameters": 3050,
    "epochs": 6,
    "steps": 240,
    "seconds": 3.62,
    "compile_seconds": 1.9,
    "best": {"epoch": 5, "value": 0.951, "selected_on": "validation"},
    "evaluated": "best",
    "train": {"loss": 0.9, "accuracy": 0.981},
    "test": {"loss": 1.31, "accuracy": 0.944},
    "warnings": ["hidden: 45 % of neurons are silent"],
    "peak_memory_mb": 412.3,
    "version": "0.1.0",
}

ENVIRONMENT = {
    "python": "3.11.7",
    "torch": "2.13.0",
    "numpy": "2.4.6",
    "numba": "0.68.1",
    "rheobase": "0.1.0",
    "platform": "Linux-6.1-x86_64",
    "cpu": "An ordinary CPU",
    "threads": 2,
    "commit": None,
}


def metric_lines(epochs: int = 6, per_epoch: int = 40, validation: bool = True) -> list[dict[str, Any]]:
    """A log in which the loss falls and the accuracy rises, with noise from a fixed seed."""
    random = np.random.default_rng(0)
    lines: list[dict[str, Any]] = []
    for step in range(1, epochs * per_epoch + 1):
        done = step / (epochs * per_epoch)
        lines.append(
            {
                "kind": "step",
                "step": step,
                "epoch": step / per_epoch,
                "loss": 57 * np.exp(-5 * done) + 1 + random.gamma(2, 0.5),
                "accuracy": float(np.clip(1 - 0.9 * np.exp(-6 * done) - random.gamma(2, 0.01), 0, 1)),
                "rates": {"hidden": 40 + 30 * done + random.normal(), "readout": 60 * done + 5},
                "seconds": 0.015 * step,
                "learning_rate": 5e-4,
            }
        )
        if step == 7:
            message = "45 % of neurons are silent"
            lines.append(
                {"kind": "warning", "step": 7, "layer": "hidden", "health": "silent", "message": message}
            )
        if step % per_epoch == 0:
            train = {"loss": 57 * np.exp(-5 * done) + 1.4, "accuracy": 1 - 0.9 * np.exp(-6 * done) - 0.005}
            held = {"loss": train["loss"] * 1.2 + 0.5, "accuracy": train["accuracy"] - 0.035}
            lines.append(
                {
                    "kind": "epoch",
                    "epoch": step // per_epoch,
                    "step": step,
                    "train": train,
                    "validation": held if validation else None,
                    "seconds": 0.6,
                }
            )
    return lines


def tensors(steps: int = 25, samples: int = 4, hidden: int = 40, classes: int = 10) -> dict[str, np.ndarray]:
    """An inspection: blurred blobs as images, random spikes, membranes that drift."""
    random = np.random.default_rng(1)
    targets = np.arange(samples, dtype=np.int64) % classes
    predictions = targets.copy()
    predictions[-1] = (targets[-1] + 5) % classes
    y, x = np.mgrid[:28, :28]
    centres = random.uniform(8, 20, (samples, 3, 2))
    images = [sum(np.exp(-((y - a) ** 2 + (x - b) ** 2) / 12) for a, b in blobs) for blobs in centres]
    drift = random.normal(0, 0.3, (steps, samples, hidden)).cumsum(0)
    scores = random.normal(0, 0.1, (steps, samples, classes)).cumsum(0)
    scores[:, np.arange(samples), predictions] += np.linspace(0, 4, steps)[:, None]
    confusion = np.diag(random.integers(80, 100, classes)) + random.poisson(0.8, (classes, classes))
    arrays: dict[str, np.ndarray] = {
        "inputs": np.clip(np.stack(images), 0, 1)[:, None].astype(np.float32),
        "targets": targets,
        "predictions": predictions,
        "signal/hidden.spikes": (random.random((steps, samples, hidden)) < 0.12).astype(np.float32),
        "signal/hidden.v": drift.astype(np.float32),
        "signal/readout.v": scores.astype(np.float32),
        "rate/hidden": (random.gamma(1.2, 40, hidden) * (random.random(hidden) > 0.2)).astype(np.float32),
        "confusion": confusion.astype(np.int64),
    }
    for name, scale in (("hidden.weight", 0.05), ("readout.weight", 0.2)):
        for suffix, width in (("0", 1.0), ("", 1.6)):
            counts, edges = np.histogram(random.normal(0, scale * width, 2000), bins=40)
            arrays[f"weight_counts{suffix}/{name}"] = counts.astype(np.int64)
            arrays[f"weight_edges{suffix}/{name}"] = edges.astype(np.float32)
    return arrays


def write_lines(folder: Path, lines: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text, encoding="utf-8")


def write_inspection(folder: Path, arrays: dict[str, np.ndarray], **changes: Any) -> None:
    names = {
        "classes": None,
        "dt": 1.0,
        "samples": len(arrays.get("inputs", ())),
        "layers": ["hidden", "readout"],
        "input_is_image": True,
        "spiking": ["hidden"],
    }
    save_file(
        {key: np.ascontiguousarray(value) for key, value in arrays.items()}, folder / "inspection.safetensors"
    )
    (folder / "inspection.json").write_text(json.dumps(names | changes), encoding="utf-8")


def write_run(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    folder.mkdir()
    (folder / "experiment.toml").write_text(EXPERIMENT, encoding="utf-8")
    (folder / "summary.json").write_text(json.dumps(SUMMARY), encoding="utf-8")
    (folder / "environment.json").write_text(json.dumps(ENVIRONMENT), encoding="utf-8")
    write_lines(folder, metric_lines())
    write_inspection(folder, arrays)
    return folder


def small_tensors() -> dict[str, np.ndarray]:
    """As `tensors`, with less to draw."""
    arrays = tensors(samples=1, hidden=6, classes=3)
    return {key: value for key, value in arrays.items() if not key.endswith("/readout.weight")}
