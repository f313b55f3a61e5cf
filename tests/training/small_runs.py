"""Small experiments, and processes that train them until they are killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rheobase.training import checkpoint
from rheobase.training.experiment import Experiment
from rheobase.training.fit import fit
from rheobase.training.loop import Trainer

TABLES: dict[str, Any] = {
    "encoder": {"steps": 6},
    "network": {"hidden": [16]},
    "training": {"epochs": 2, "batch_size": 512, "log_every": 2, "threads": 1, "learning_rate": 0.01},
}


def small(**training: Any) -> Experiment:
    """Digits, 16 hidden neurons, 3 steps an epoch, 2 epochs."""
    first = Experiment.from_recipe("digits", overrides=TABLES)
    return first.replace(training=first.training.replace(**training))


def noisy(**training: Any) -> Experiment:
    """With everything that is random or has state: noise in code and neurons, shifts, validation, a schedule,
    clipping."""
    tables: dict[str, Any] = {
        "task": {"validation": 0.1},
        "encoder": {"name": "poisson_rate", "steps": 6, "max_rate": 500.0},
        "network": {"hidden": [16], "train_neurons": ["tau_m"]},
        "training": {"augment_pixels": 1, "schedule": "onecycle", "clip_norm": 1.0, "epochs": 3},
    }
    first = Experiment.from_tables(
        {**small().tables(), "encoder": tables["encoder"], "task": {"name": "digits", **tables["task"]}}
    )
    return first.replace(
        network=first.network.replace(train_neurons=("tau_m",), noise=0.1, noise_tau=3.0),
        training=first.training.replace(**{**tables["training"], **training}),
    )


def counted(function: Callable[..., Any], call: int, before: bool) -> Callable[..., Any]:
    """`function`, but its `call`-th call (from 1) kills the process, before or after its work."""
    calls = 0

    def deadly(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if before and calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **kwargs)
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return deadly


def train_and_die(tables: dict[str, Any], folder: str, where: str, call: int) -> None:
    """Train, and kill this process at the `call`-th time it gets to `where`."""
    if where == "step":
        Trainer._step = counted(Trainer._step, call, before=True)  # type: ignore[method-assign]
    elif where == "between renames":
        os.rename = counted(os.rename, call, before=False)
    elif where == "tensors written":
        checkpoint.write_bytes = counted(checkpoint.write_bytes, call, before=False)  # type: ignore[attr-defined]
    elif where == "old removed":
        checkpoint._remove = counted(checkpoint._remove, call, before=False)
    fit(Experiment.from_tables(tables), Path(folder), progress=False)


def start(experiment: Experiment, folder: Path, where: str = "", call: int = 0) -> Any:
    """`train_and_die` in a process of its own (forked off one that has imported everything, for speed)."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rheobase.training.fit", "sklearn.datasets", "sklearn.model_selection"])
    process = context.Process(target=train_and_die, args=(experiment.tables(), str(folder), where, call))
    process.start()
    return process
