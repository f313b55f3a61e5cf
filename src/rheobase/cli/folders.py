"""Run folders on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from rheobase.training.experiment import Experiment

#: The type of an argument that is a run folder.
RUN = click.Path(exists=True, file_okay=False, path_type=Path)

#: Which of a run's two networks; the same option for all commands that load one.
which = click.option(
    "--which",
    type=click.Choice(["best", "last"]),
    help="Which network: that of the best or of the last epoch [default the one that was tested: best if "
    "there are validation data, otherwise last].",
)


def experiment_of(run: Path) -> Experiment:
    """The experiment of a run.

    Raises:
        FolderError: If the folder holds no run.
        ValueError: If the experiment file is damaged.
    """
    from rheobase.training.experiment import Experiment
    from rheobase.training.folder import RunFolder

    folder = RunFolder(run)
    folder.check()
    return Experiment.load(folder.experiment)


def selected(run: Path) -> Literal["best", "last"]:
    """The network that the result of a run is of."""
    return "best" if experiment_of(run).task.validation else "last"
