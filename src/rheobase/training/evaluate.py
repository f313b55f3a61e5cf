"""Evaluation: a network on a whole split, in batches, without gradients.

Noise, of a random encoder or injected into neurons, comes from the seed, afresh for each evaluation: the
same network gets the same result at any time.
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
from rheobase.layers.noise import renew_noise
from rheobase.tasks.dataset import Batch, Dataset
from rheobase.training.experiment import Experiment
from rheobase.training.objective import Objective, spike_counts, to_hertz
from rheobase.training.restore import Which, load_network
from rheobase.training.seeding import generator
from rheobase.training.setup import build_objective

#: Samples at a time, and the samples x steps that may not be exceeded: long sequences go in smaller batches.
BATCH = 256
SAMPLE_STEPS = 32_768
#: Samples whose predictions are kept beside their targets, where these are values.
KEPT = 2000

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Evaluation:
    """What a network scored on a split.

    Attributes:
        loss: Mean loss per sample, without regularisers.
        metric: Name of the task's metric.
        value: Its value.
        confusion: Answers by true class (rows) and predicted class, int64 `[C, C]`; None without classes.
        answers: Predictions and targets `[M, K]` of (at most `KEPT`) samples, where there is one answer in
            values for each; else None.
        details: Further numbers that the task has about predictions (`Task.details`), means over batches;
            only with `rates`.
        rates: Mean firing rate of each neuron in Hz, `[N]` per spiking layer; empty if not asked for.
        seconds: How long it took.
    """

    loss: float
    metric: str
    value: float
    confusion: Tensor | None
    answers: tuple[Tensor, Tensor] | None
    rates: dict[str, Tensor]
    details: dict[str, float]
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
    task, dt = experiment.task, experiment.neuron.dt
    noise = generator(experiment.training.seed, "evaluation")
    signals = objective.spikes if rates else {}
    record = tuple(dict.fromkeys((*objective.readout, *signals.values())))
    total, confusion, scores = 0.0, torch.zeros(task.outputs**2, dtype=torch.int64), []
    answers: list[tuple[Tensor, Tensor]] = []
    spikes: dict[str, Tensor] = {}
    details: dict[str, float] = {}
    sample_steps = 0
    steps = experiment.encoder.output_shape(task.input_shape)[0]
    with evaluating(network):
        for indices in torch.split(torch.arange(len(data)), batch_size(steps)):
            batch = data.batch(indices)
            renew_noise(network, noise)
            sequence = experiment.encoder.encode(batch.inputs, noise)
            seen = network(sequence, record=record)
            sample_steps += len(indices) * sequence.shape[0]
            total += float(objective.error(seen, batch.targets, batch.mask)) * len(indices)
            predicted = objective.predictions(seen)
            scores.append(task.scoring(predicted, batch.targets, batch.mask))
            if objective.classes:
                confusion += _confusions(predicted, batch, task.outputs)
            elif batch.targets.dim() == 2 and len(answers) * len(indices) < KEPT:
                answers.append((predicted, batch.targets))
            if rates:
                for name, number in task.details(predicted, batch.targets, batch.mask).items():
                    details[name] = details.get(name, 0.0) + number * len(indices) / len(data)
            for layer, counts in spike_counts(seen, signals).items():
                spikes[layer] = spikes.get(layer, torch.zeros(())) + counts.double()
    return Evaluation(
        loss=total / len(data),
        metric=task.metric,
        value=float(torch.cat(scores).mean()),
        confusion=confusion.reshape(task.outputs, task.outputs) if objective.classes else None,
        answers=_joined(answers),
        rates={layer: (s * to_hertz(1 / sample_steps, dt)).float() for layer, s in spikes.items()},
        details=details,
        seconds=time.perf_counter() - start,
    )


def batch_size(steps: int) -> int:
    """How many samples of so many steps are evaluated at a time.

    >>> batch_size(25), batch_size(2400)
    (256, 13)
    """
    return max(1, min(BATCH, SAMPLE_STEPS // steps))


def _confusions(predicted: Tensor, batch: Batch, classes: int) -> Tensor:
    """Answers by true and predicted class, int64 `[C * C]`; of a sequence, the steps that count."""
    pairs = batch.targets * classes + predicted
    if pairs.dim() > 1 and batch.mask is not None:
        pairs = pairs[batch.mask]
    return torch.bincount(pairs.flatten(), minlength=classes * classes)


def _joined(answers: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor] | None:
    if not answers:
        return None
    predictions, targets = zip(*answers, strict=True)
    return torch.cat(predictions)[:KEPT], torch.cat(targets)[:KEPT]


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
    """What a saved network says about inputs `[B, ...]`, as its task has them.

    One score for each class, of which the highest wins, or the values that were asked for: `[B, C]`, or
    `[T, B, C]` where there is an answer at each step.

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
    size = batch_size(experiment.encoder.output_shape(wanted)[0])
    with evaluating(network):
        parts = []
        for part in torch.split(inputs, size):
            renew_noise(network, noise)
            seen = network(experiment.encoder.encode(part, noise), record=objective.readout)
            parts.append(objective.scores(seen))
    return torch.cat(parts, -2)
