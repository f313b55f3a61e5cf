"""Tasks whose samples are made from their numbers: without end to train on, fixed to test on.

Sample i of a split is made from random numbers that belong to i (`rheobase.tasks.streams`): it is the same
whenever and wherever it is asked for. Training takes samples 0, 1, 2, ... and never sees one twice, so a
training of S steps of B samples has S B of them; `training.steps` says how long it is.

The splits have streams of their own. That of the test depends on no seed: results of all seeds are on the
same samples.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from rheobase.config import option
from rheobase.registry import name_of
from rheobase.tasks import baselines
from rheobase.tasks.base import Task
from rheobase.tasks.dataset import Batch, Dataset, Splits
from rheobase.tasks.metrics import Metric
from rheobase.tasks.streams import Stream

_AT_ONCE = 100  # samples for which baselines make whole inputs at a time


class GeneratedTask(Task):
    """A task that makes its samples. A subclass says how (`draw`), and what simple models get to see."""

    fitted_on: ClassVar[int] = 5000
    """Training samples on which the baselines are fitted."""

    validation: float = option(
        default=0.0, at_least=0, at_most=0.9, help="validation samples, as a share of test_samples"
    )
    test_samples: int = option(default=1000, at_least=10, help="samples to test on")
    data_seed: int = option(default=0, at_least=0, help="seed of the training and validation samples")

    @abstractmethod
    def draw(self, stream: Stream, indices: Tensor) -> Batch:
        """The samples of a stream at `indices`, int64 `[B]`."""

    def splits(self) -> Splits:
        """Training data without end; validation data if asked for; the test data."""
        name, held = name_of(type(self)), round(self.validation * self.test_samples)
        train, validation = (Stream(name, self.data_seed, split) for split in ("train", "validation"))
        return Splits(
            Drawn(self, train, self.fitted_on, endless=True),
            Drawn(self, validation, held) if held else None,
            Drawn(self, Stream(name, 0, "test"), self.test_samples),
        )

    def simple_view(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What simple models are fitted on: inputs `[M, F]` and targets, classes `[M]` or values `[M, K]`.

        The flattened inputs and the targets, unless a task says otherwise.
        """
        return batch.inputs.flatten(1), batch.targets

    @property
    def simple_scoring(self) -> Metric:
        """The metric for what simple models are fitted on."""
        return self.scoring

    def baselines(self, splits: Splits | None = None) -> dict[str, float]:
        """The metric of `constant`, `linear` and `nearest_neighbour` (see `rheobase.tasks.baselines`)."""
        splits = splits or self.splits()
        x, y = self._view(splits.train)
        test_x, test_y = self._view(splits.test)
        fit = baselines.regression if y.is_floating_point() else baselines.classification
        key = baselines.content_hash(x, y, test_x, test_y, recipe=f"{fit.__name__} {self.metric}")

        def compute() -> baselines.Scores:
            return fit(x, y, test_x, test_y, self.simple_scoring)

        return baselines.stored(key, compute)

    def _view(self, data: Dataset) -> tuple[Tensor, Tensor]:
        parts = [self.simple_view(data.batch(i)) for i in torch.split(torch.arange(len(data)), _AT_ONCE)]
        inputs, targets = zip(*parts, strict=True)
        return torch.cat(inputs), torch.cat(targets)


class Drawn(Dataset):
    """A split of a generated task.

    Args:
        task: What makes the samples.
        stream: The random numbers they are made from.
        size: How many there are, or stand for the split if it is endless.
        endless: Whether it goes on beyond `size`.
    """

    def __init__(self, task: GeneratedTask, stream: Stream, size: int, *, endless: bool = False) -> None:
        self._task, self._stream, self._size = task, stream, size
        self.endless = endless

    def __len__(self) -> int:
        return self._size

    def batch(self, indices: Tensor) -> Batch:
        self.check(indices)
        return self._task.draw(self._stream, indices)
