"""The run folder: where each file of a run is.

experiment.toml  environment.json  metrics.jsonl  summary.json  tensorboard/
checkpoint/{last,best}/{tensors.safetensors,meta.json}
inspection.safetensors  inspection.json
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rheobase.training.errors import FolderError, RunError


@dataclass(frozen=True)
class RunFolder:
    """Paths in a run folder.

    >>> RunFolder(Path("runs/a")).experiment.as_posix()
    'runs/a/experiment.toml'
    """

    path: Path

    @property
    def experiment(self) -> Path:
        """Everything needed to run it again."""
        return self.path / "experiment.toml"

    @property
    def environment(self) -> Path:
        """The machine and the versions it ran with."""
        return self.path / "environment.json"

    @property
    def metrics(self) -> Path:
        """The log, one JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoint"

    @property
    def summary(self) -> Path:
        """The result; the last file of a run to be written."""
        return self.path / "summary.json"

    @property
    def inspection(self) -> Path:
        """The arrays that the report draws (its JSON is beside it)."""
        return self.path / "inspection.safetensors"

    def create(self) -> None:
        """Make the folder.

        Raises:
            FolderError: If it holds a run already, or cannot be written.
        """
        if self.experiment.exists() or self.checkpoints.exists():
            raise FolderError(
                f"{self.path}: holds a run already; go on with it (rheobase resume {self.path}), choose "
                "another folder, or delete this one"
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
            self.checkpoints.mkdir()
        except OSError as error:
            raise FolderError(
                f"{self.path}: cannot be written ({error.strerror or error}); choose another folder, or "
                "change its permissions"
            ) from error

    def check(self) -> None:
        """Raise `FolderError` unless the folder holds a run."""
        if not self.experiment.is_file():
            raise FolderError(
                f"{self.path}: not a run folder (it has no {self.experiment.name}); give the folder of a run "
                "that was started"
            )


@contextmanager
def writing(folder: RunFolder) -> Iterator[None]:
    """Turn an `OSError` of the writes within into one `RunError` that says how to go on."""
    try:
        yield
    except OSError as error:
        where = error.filename or folder.path
        raise RunError(
            f"{where}: could not be written ({error.strerror or error}). The last checkpoint is intact: "
            f"make room, or mend the disk, and go on with: rheobase resume {folder.path}"
        ) from error
