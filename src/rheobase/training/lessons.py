"""From the indices of a batch to what a learning rule gets: shifted, encoded, with its loss and its score."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from rheobase.layers.network import Network
from rheobase.layers.noise import renew_noise
from rheobase.rules.base import Lesson, Reduced
from rheobase.tasks.dataset import Batch, Dataset
from rheobase.training.augment import shift_images
from rheobase.training.experiment import Experiment
from rheobase.training.objective import Objective
from rheobase.training.seeding import Generators
from rheobase.training.sharing import Sharing, cut


@dataclass(frozen=True)
class Lessons:
    """Makes the lessons of an experiment.

    Attributes:
        experiment: Whose task and encoder they are of.
        samples: What is trained on.
        network: Its injected noise is drawn anew for each.
        objective: What is judged.
        sharing: Which of the samples are this process's.
        generators: Of codes, shifts and noise; their states move on.
    """

    experiment: Experiment
    samples: Dataset
    network: Network
    objective: Objective
    sharing: Sharing
    generators: Generators

    def make(self, indices: Tensor, watched: bool) -> tuple[Lesson, Batch]:
        """The lesson of these samples (of this process's block of them), and the batch it is made of.

        Args:
            indices: Of the whole batch.
            watched: Whether all spikes are to be recorded.
        """
        training, encoder = self.experiment.training, self.experiment.encoder
        block = self.sharing.block(len(indices))
        whole = encoder.random or bool(training.augment_pixels)  # what is random is drawn for all, then cut
        batch = self.samples.batch(indices if whole else indices[block])
        inputs = batch.inputs
        if training.augment_pixels:
            inputs = shift_images(inputs, training.augment_pixels, self.generators.augmentation)
        sequence = encoder.encode(inputs, self.generators.encoder)
        if whole and block != slice(0, len(indices)):
            sequence, batch = cut(sequence, block), self.samples.batch(indices[block])
        renew_noise(self.network, self.generators.noise, block.start)
        names = self.objective.training
        if watched:
            names = tuple(dict.fromkeys((*names, *self.objective.spikes.values())))
        score = functools.partial(self._score, batch=batch)
        lesson = Lesson(
            inputs=sequence,
            objective=functools.partial(self.objective.loss, targets=batch.targets, mask=batch.mask),
            record=names,
            targets=batch.targets,
            score=lambda record: score(self.objective.predictions(record)),
            higher_is_better=self.experiment.task.higher_is_better,
            judged=self.objective.training,
            reduced=self._reduced(batch, sequence.shape[0], score),
            counts=batch.mask,
            judge=self.objective.loss,
            judged_with=(batch.targets, *([] if batch.mask is None else [batch.mask])),
        )
        return lesson, batch

    def _score(self, predictions: Tensor, batch: Batch) -> Tensor:
        return self.experiment.task.scoring(predictions, batch.targets, batch.mask).float().mean()

    def _reduced(
        self, batch: Batch, steps: int, score: Callable[[Tensor], Tensor]
    ) -> dict[Literal["loss", "score"], Reduced]:
        """How to judge by what is left of the read-out over time, where that can be."""
        found: dict[Literal["loss", "score"], Reduced | None] = {
            "loss": self.objective.reduced_loss(batch),
            "score": self.objective.reduced_score(steps, score),
        }
        return {name: judge for name, judge in found.items() if judge is not None}
