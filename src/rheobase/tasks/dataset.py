"""Data of a task: samples by index, behind `Dataset`, in the splits that a task loads.

A `Dataset` hands out a `Batch` for any choice of indices, whether its samples are in memory (`ArrayDataset`),
made when they are asked for (`rheobase.tasks.generated`), or read from somewhere (write one).

Not modelled: augmentation, which is training's (`rheobase.training.augment`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Some samples of a data set.

    Attributes:
        inputs: `[B, ...]`.
        targets: Classes `[B]`, or values `[B, K]`; where there is one at every time step, classes `[T, B]`
            or values `[T, B, K]`.
        mask: bool `[T, B]`, the time steps at which the output counts; all of them if None.
    """

    inputs: Tensor
    targets: Tensor
    mask: Tensor | None = None


class Dataset(ABC):
    """Samples by index.

    An `endless` one goes on beyond its length, which is then the number of samples that stand for it where
    a finite number is wanted.
    """

    endless: bool = False

    @abstractmethod
    def __len__(self) -> int:
        """The number of samples."""

    @abstractmethod
    def batch(self, indices: Tensor) -> Batch:
        """The samples at `indices`, int64 `[B]`, in that order."""

    def check(self, indices: Tensor) -> None:
        """Raise `ValueError` for indices that are not int64 `[B]`, or not among the samples."""
        if indices.dim() != 1 or indices.dtype != torch.int64:
            raise ValueError(
                f"got indices of shape {tuple(indices.shape)} and type {indices.dtype}, "
                "wanted torch.int64 of shape [B]"
            )
        if len(indices) and (int(indices.min()) < 0 or not (self.endless or int(indices.max()) < len(self))):
            wanted = "0 and up" if self.endless else f"0 to {len(self) - 1}"
            raise ValueError(
                f"got indices from {int(indices.min())} to {int(indices.max())}, wanted {wanted}"
            )

    def whole(self) -> Batch:
        """Every sample, in order."""
        return self.batch(torch.arange(len(self)))


class ArrayDataset(Dataset):
    """A data set in memory: inputs `[N, ...]` and targets `[N]` or `[N, ...]`, both finite.

    Raises `ValueError` where there is no sample, the numbers of samples differ, or a value is NaN or
    infinite; and at `batch` where the indices are not int64 `[B]` within the data set.

    >>> data = ArrayDataset(torch.tensor([[0.0], [0.5], [1.0]]), torch.tensor([0, 1, 1]))
    >>> len(data), data.batch(torch.tensor([2, 0])).inputs.tolist()
    (3, [[1.0], [0.0]])
    """

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        if inputs.dim() == 0 or targets.dim() == 0 or len(inputs) != len(targets):
            raise ValueError(
                f"got inputs of shape {tuple(inputs.shape)} and targets of shape {tuple(targets.shape)}, "
                "wanted the same number of samples along the first dimension of both"
            )
        if len(inputs) == 0:
            raise ValueError("got a data set of 0 samples, wanted at least 1")
        for name, values in (("inputs", inputs), ("targets", targets)):
            # The extremes first (NaN propagates into them): no array as large as the data is made.
            if values.numel() == 0 or torch.isfinite(torch.stack(torch.aminmax(values))).all():
                continue
            bad = ~torch.isfinite(values).reshape(len(values), -1).all(1)
            raise ValueError(
                f"got NaN or infinite {name} in {int(bad.sum())} of {len(values)} samples, first in "
                f"sample {int(bad.nonzero()[0])}, wanted finite values; mend or drop these samples"
            )
        self.inputs = inputs
        self.targets = targets

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, indices: Tensor) -> Batch:
        self.check(indices)
        return Batch(self.inputs.index_select(0, indices), self.targets.index_select(0, indices))


@dataclass(frozen=True)
class Splits:
    """Data to train on, to select models on (`None` where not asked for), and to report on."""

    train: Dataset
    validation: Dataset | None
    test: Dataset
