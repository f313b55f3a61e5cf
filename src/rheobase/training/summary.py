"""The result of a run, `summary.json`."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typing_extensions import Self

from rheobase.files import write_json
from rheobase.training.errors import FolderError
from rheobase.training.folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a run came to.

    Attributes:
        value: The metric on the test split, of the network that `evaluated` names.
        seconds: Training time: training steps and checkpoints. Not in it: compiling kernels (see
            `compile_seconds`), evaluation, histograms, inspection.
        best: Epoch and value of the best network, and what it was selected on: "validation" (the metric) or
            "train loss". Never the test split.
        evaluated: "best" where there is a validation split to select on, else "last".
        train: Loss and metric on the training data in the epoch of that network, while it was training.
        test: Loss (without regularisers) and metric on the test split, and what the task has besides.
        peak_memory_mb: Largest resident memory of the process, in MB.
        working_memory_mb: How much more than at its start training held at its peak, in MB (see
            `rheobase.training.memory`); None where it was not measured.
        spikes_per_inference: Mean number of spikes of the whole network for one test sample.
        crossbar: What its crossbars cost, in SI units (see `rheobase.crossbar.accounting`); None without any.
    """

    task: str
    rule: str
    neuron: str
    substrate: str
    recipe: str
    seed: int
    metric: str
    value: float
    higher_is_better: bool
    chance: float
    baselines: dict[str, float]
    parameters: int
    epochs: int
    steps: int
    seconds: float
    compile_seconds: float
    best: dict[str, Any]
    evaluated: str
    train: dict[str, float]
    test: dict[str, float]
    warnings: list[dict[str, Any]]
    peak_memory_mb: float
    version: str
    working_memory_mb: float | None = None
    spikes_per_inference: float | None = None
    crossbar: dict[str, Any] | None = None

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The summary of the run in `folder`.

        Raises:
            FolderError: If there is none (yet), or it is damaged.
        """
        path = RunFolder(folder).summary
        try:
            table = json.loads(path.read_text("utf-8"))
            names = (
                f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING or f.name in table
            )
            return cls(**{name: table[name] for name in names})
        except FileNotFoundError as error:
            raise FolderError(
                f"{path}: does not exist; finish the run first (rheobase resume {folder})"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise FolderError(
                f"{path}: is no summary ({error}); write it again: rheobase resume {folder}"
            ) from error

    def save(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        write_json(RunFolder(folder).summary, dataclasses.asdict(self))
