"""Evaluation: a network on a whole split, in batches, without gradients.

Noise of a random encoder comes from the seed, afresh for each evaluation: the same network gets the same
result at any time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from rheobase.layers.network import Network
from rheobase.tasks.base import Dataset
from rheobase.training.experiment import Experiment
from rheobase.training.objective import Objective, spike_counts, to_hertz
from rheobase.training.restore import Which, load_network
from rheobase.training.seeding import generator
from rheobase.training.setup import build_objective

#: Samples at a time.
BATCH = 256

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Evaluation:
    """What a network scored on a split.

    Attributes:
        loss: Mean loss per sample, without regularisers.
        metric: Name of the task's metric.
        value: Its value.
        confusion: Samples by true class (rows) and predicted class, int64 `[C, C]`.
        rates: Mean firing rate of each neuron in Hz, `[N]` per spiking layer; empty if not asked for.
        seconds: How long it took.
    """

    loss: float
    metric: str
    value: float
    confusion: Tensor
    rates: dict[str, Tensor]
    seconds: float


@contextmanager
def evaluating(network: Network) -> Iterator[None]:
    """Evaluation mode and no gradients within."""
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        network.train(training)


def measure(
    experiment: Experiment, network: Network, objective: Objective, data: Dataset, *, rates: bool = False
) -> Evaluation:
    """Evaluate `network` on `data`; with `rates`, count the spikes of every neuron too."""
    start = time.perf_counter()
    classes = experiment.task.outputs
    noise = generator(experiment.training.seed, "evaluation")
    signals = objective.spikes if rates else {}
    record = tuple(dict.fromkeys((*objective.readout, *signals.values())))
    total, confusion = 0.0, torch.zeros(classes * classes, dtype=torch.int64)
    spikes: dict[str, Tensor] = {}
    steps = 0
    with evaluating(network):
        for indices in torch.split(torch.arange(len(data)), BATCH):
            batch = data.batch(indices)
            sequence = experiment.encoder.encode(batch.inputs, noise)
            seen = network(sequence, record=record)
            steps = sequence.shape[0]
            total += float(objective.error(seen, batch.targets)) * len(indices)
            predicted = objective.predictions(seen)
            confusion += torch.bincount(batch.targets * classes + predicted, minlength=classes * classes)
            for layer, counts in spike_counts(seen, signals).items():
                spikes[layer] = spikes.get(layer, torch.zeros(())) + counts.double()
    confusion = confusion.reshape(classes, classes)
    dt = experiment.neuron.dt
    return Evaluation(
        loss=total / len(data),
        metric=experiment.task.metric,
        value=float(confusion.trace()) / len(data),
        confusion=confusion,
        rates={layer: (s * to_hertz(1 / (steps * len(data)), dt)).float() for layer, s in spikes.items()},
        seconds=time.perf_counter() - start,
    )


def evaluate(folder: Path, *, which: Which = "best", split: Split = "test") -> Evaluation:
    """Evaluate a saved network of a run on one split of its task.

    Raises:
        RunError: If the folder holds no run, or the checkpoint cannot be used.
        ValueError: If the task has no such split.
    """
    experiment, network = load_network(folder, which)
    splits = experiment.task.splits()
    data = {"train": splits.train, "validation": splits.validation, "test": splits.test}.get(split)
    if data is None:
        raise ValueError(
            f"{folder}: got split {split!r}, wanted one of train, test"
            f"{', validation' if splits.validation else ''}; a run has a validation split if it was trained "
            "with the task's option 'validation' above 0"
        )
    return measure(experiment, network, build_objective(experiment, network), data, rates=True)


def predict(folder: Path, inputs: Tensor, which: Which = "best") -> Tensor:
    """Scores `[B, C]` of a saved network for inputs `[B, ...]`, as its task has them; the highest wins.

    Raises:
        RunError: If the folder holds no run, or the checkpoint cannot be used.
        ValueError: If the inputs do not have the shape of the task's, or are out of range.
    """
    experiment, network = load_network(folder, which)
    wanted = experiment.task.input_shape
    if tuple(inputs.shape[1:]) != wanted or len(inputs) == 0:
        shape = ", ".join(map(str, wanted))
        raise ValueError(f"inputs: got shape {tuple(inputs.shape)}, wanted [B, {shape}] with B of at least 1")
    objective = build_objective(experiment, network)
    noise = generator(experiment.training.seed, "evaluation")
    with evaluating(network):
        return torch.cat(
            [
                objective.scores(network(experiment.encoder.encode(part, noise), record=objective.readout))
                for part in torch.split(inputs, BATCH)
            ]
        )
