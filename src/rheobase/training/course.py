"""How training is divided: steps into epochs, samples into steps.

An epoch is one pass over the training data, in an order drawn afresh. Data without end know no pass:
there training takes `steps` steps over samples 0, 1, 2, ..., each seen once, and the epochs are equal
parts of these (the last may be shorter), at whose ends training is looked at.

`steps` also ends training on other data, within an epoch if it comes to that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import Self

from rheobase.tasks.dataset import Dataset
from rheobase.training.experiment import Training


@dataclass(frozen=True)
class Course:
    """Steps and samples of a training.

    >>> course = Course(epochs=3, steps=8, per_epoch=3, batch_size=10, samples=None)
    >>> [len(course.order(epoch, torch.Generator())) for epoch in range(3)]
    [30, 30, 20]
    """

    epochs: int
    steps: int  # in all
    per_epoch: int  # steps of an epoch
    batch_size: int
    samples: int | None  # of the training data; None where they have no end

    @classmethod
    def of(cls, training: Training, data: Dataset) -> Self:
        """The course that the options and the data make.

        Raises:
            ValueError: If the data have no end and no number of steps was asked for.
        """
        if data.endless:
            if training.steps is None:
                raise ValueError(
                    "training.steps: got none for a task that makes its samples, wanted how many steps to "
                    "train, such as 5000"
                )
            epochs = min(training.epochs, training.steps)
            per_epoch = math.ceil(training.steps / epochs)
            return cls(
                math.ceil(training.steps / per_epoch), training.steps, per_epoch, training.batch_size, None
            )
        per_epoch = math.ceil(len(data) / training.batch_size)
        steps = training.epochs * per_epoch if training.steps is None else training.steps
        return cls(math.ceil(steps / per_epoch), steps, per_epoch, training.batch_size, len(data))

    def order(self, epoch: int, generator: torch.Generator) -> Tensor:
        """The samples of an epoch (from 0) in the order of training, int64."""
        left = (self.steps - epoch * self.per_epoch) * self.batch_size  # that may still be taken
        if self.samples is None:
            size = self.per_epoch * self.batch_size
            return torch.arange(epoch * size, epoch * size + min(size, left))
        return torch.randperm(self.samples, generator=generator)[:left]
