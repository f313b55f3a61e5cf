"""The trained network of a run folder."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Literal

from rheobase.layers.network import Network
from rheobase.training.checkpoint import Checkpoint, read_checkpoint
from rheobase.training.errors import CheckpointError
from rheobase.training.experiment import Experiment
from rheobase.training.folder import RunFolder
from rheobase.training.setup import build_network, put_on_substrate

Which = Literal["best", "last"]


def load_network(folder: Path, which: Which = "best") -> tuple[Experiment, Network]:
    """The experiment of a run, and its network with the weights of a checkpoint.

    Warns (`UserWarning`) where that checkpoint is damaged and an older one took its place.

    Raises:
        FolderError: If the folder holds no run.
        CheckpointError: If the checkpoint cannot be used.
        ValueError: If the experiment file cannot be read.
    """
    if which not in ("best", "last"):
        raise ValueError(f"which: got {which!r}, wanted 'best' or 'last'")
    run = RunFolder(folder)
    run.check()
    experiment = Experiment.load(run.experiment)
    found = read_checkpoint(run.checkpoints, which)
    if found.problems:
        warnings.warn(f"{'; '.join(found.problems)}: using {found.path}", stacklevel=2)
    network = build_network(experiment)
    put_on_substrate(experiment, network)
    load_weights(network, found.checkpoint, found.path)
    return experiment, network


def load_weights(network: Network, checkpoint: Checkpoint, path: Path) -> None:
    """Set the network's parameters and buffers.

    Raises:
        CheckpointError: If they are not those of this network.
    """
    try:
        network.load_state_dict(checkpoint.group("model"))
    except RuntimeError as error:
        raise CheckpointError(
            f"{path}: its weights do not fit the network of the experiment ({error}); was experiment.toml "
            "changed? Put it back"
        ) from error
