"""What tasks share that name the class of an image: checks, scaling, a validation share, recipes, baselines.

    a pixel p of an image as published  ->  p / white, in [0, 1]

The validation share is taken from the training images, with every class in it.

Not modelled: colour, and data sets larger than memory.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from rheobase.tasks import baselines
from rheobase.tasks.base import Task
from rheobase.tasks.dataset import ArrayDataset, Splits


@dataclass(frozen=True)
class LabelledImages:
    """Images as published, before scaling, with where they come from (for error messages)."""

    images: npt.NDArray[Any]  # shape: [N, height, width]
    labels: npt.NDArray[Any]  # shape: [N], classes from 0
    source: str

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise ValueError(
                f"{self.source}: got {len(self.images)} images and {len(self.labels)} labels, wanted as "
                "many of both; the files do not belong together or are damaged"
            )
        if len(self.images) == 0:
            raise ValueError(f"{self.source}: got 0 images, wanted at least 1")

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: npt.NDArray[np.int64]) -> LabelledImages:
        """The images at `indices`."""
        return LabelledImages(self.images[indices], self.labels[indices], self.source)

    def hold_out(self, share: int | float, seed: int) -> tuple[LabelledImages, LabelledImages]:
        """The rest and a random `share` (a number of images, or a fraction) with every class in it.

        The split of scikit-learn's `train_test_split(test_size=share, random_state=seed, stratify=labels)`.
        """
        from sklearn.model_selection import train_test_split

        try:
            rest, held_out = train_test_split(
                np.arange(len(self)), test_size=share, random_state=seed, stratify=self.labels
            )
        except ValueError as error:
            raise ValueError(
                f"{self.source}: cannot hold out {share} of {len(self)} images with every class on both "
                f"sides ({error}); choose another share or use more images"
            ) from error
        return self.take(rest), self.take(held_out)


class ImageClassification(Task):
    """Name the class of a grey image: inputs float32 `[B, 1, height, width]` in [0, 1], targets int64 `[B]`.

    A task says what its images look like and where they come from: `classes`, `input_shape`, `white`
    and `load`.
    """

    white: ClassVar[float] = 255.0
    """The value of a fully bright pixel in the images as published."""
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # https://snntorch.readthedocs.io/en/latest/tutorials/tutorial_5.html
        # The loss is on the membrane, and so is the decision: counting spikes (recipe "rate") wastes what
        # the membrane knows beyond the threshold.
        "default": {
            "encoder": {"name": "constant_current", "steps": 25},
            "loss": {"name": "cross_entropy_sum"},
            "decoder": {"name": "membrane_sum"},
            "network": {"name": "feed_forward", "hidden": [1000]},
            "neuron": {"name": "lif", "preset": "snntorch"},
            "training": {"epochs": 10, "batch_size": 128, "learning_rate": 5e-4},
        },
        # The class whose neuron fires most, with the loss on the counts.
        "rate": {
            "encoder": {"name": "constant_current", "steps": 25},
            "loss": {"name": "cross_entropy_count"},
            "decoder": {"name": "spike_count"},
            "network": {"name": "feed_forward", "hidden": [1000]},
            "neuron": {"name": "lif", "preset": "snntorch"},
            "training": {"epochs": 10, "batch_size": 128, "learning_rate": 5e-4},
        },
        # The class whose neuron fires first, from pixels that fire the earlier the brighter they are.
        "latency": {
            "encoder": {"name": "latency", "steps": 25, "tau": 20.0, "threshold": 0.2, "curve": "linear"},
            "loss": {"name": "first_spike_cross_entropy", "tau": 2.0},
            "decoder": {"name": "first_spike"},
            "network": {"name": "feed_forward", "hidden": [1000], "initial_rate": 20.0},
            "neuron": {"name": "lif", "preset": "snntorch"},
            "training": {"epochs": 10, "batch_size": 128, "learning_rate": 1e-3},
        },
        # Convolutions, a read-out that does not spike, shifted images.
        "best": {
            "encoder": {"name": "constant_current", "steps": 6},
            "loss": {"name": "cross_entropy_max"},
            "decoder": {"name": "membrane_max"},
            "network": {"name": "convolutional", "channels": [16, 32], "kernel": 5, "hidden": []},
            "neuron": {"name": "lif", "preset": "snntorch", "tau_m": 5.0},
            "readout": {"name": "leaky_integrator"},
            "training": {
                "epochs": 8,
                "batch_size": 64,
                "learning_rate": 4e-3,
                "schedule": "onecycle",
                "augment_pixels": 2,
            },
        },
    }

    settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Errors of its own at every step: fast, and steady.
        "decolle": {"training": {"learning_rate": 1e-3}},
        # Evaluations are the price, so the network is smaller and the image is shown for a shorter time.
        "low_rank_es": {
            "encoder": {"steps": 10},
            "network": {"hidden": [128]},
            "loss": {"name": "cross_entropy_count"},
            "decoder": {"name": "spike_count"},
            "rule": {"population": 400, "rank": 2, "sigma": 0.01},
            "training": {"epochs": 80, "batch_size": 500, "learning_rate": 1e-2, "schedule": "cosine"},
        },
    }

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the labels."""

    @property
    def outputs(self) -> int:
        """One per class."""
        return len(self.classes)

    @property
    def chance(self) -> float:
        """The accuracy of a blind guess, every class being as likely."""
        return 1 / len(self.classes)

    @abstractmethod
    def load(self) -> tuple[LabelledImages, LabelledImages]:
        """Training and test images as published."""

    def splits(self) -> Splits:
        """The data; `ValueError` for no images, wrong shapes, pixels or labels out of range or NaN."""
        train, test = self.load()
        if not self.validation:
            return Splits(self._dataset(train), None, self._dataset(test))
        train, validation = train.hold_out(self.validation, self.split_seed)
        return Splits(self._dataset(train), self._dataset(validation), self._dataset(test))

    def baselines(self, splits: Splits | None = None) -> dict[str, float]:
        """Test accuracy of `constant`, `linear` and `nearest_neighbour` (see `rheobase.tasks.baselines`)."""
        splits = splits or self.splits()
        train, test = splits.train.whole(), splits.test.whole()
        arrays = (train.inputs, train.targets, test.inputs, test.targets)
        return baselines.stored(baselines.content_hash(*arrays), lambda: baselines.classification(*arrays))

    def _dataset(self, data: LabelledImages) -> ArrayDataset:
        wanted = self.input_shape[1:]
        if data.images.shape[1:] != wanted or data.labels.ndim != 1:
            raise ValueError(
                f"{data.source}: got images of shape {data.images.shape} and labels of shape "
                f"{data.labels.shape}, wanted [N, {wanted[0]}, {wanted[1]}] and [N]"
            )
        pixels = _numbers(data.images, np.float32, f"{data.source}: pixels")
        labels = _numbers(data.labels, np.float64, f"{data.source}: labels")
        _check_range(pixels, self.white, f"{data.source}: pixels")
        _check_range(labels, self.outputs - 1, f"{data.source}: labels")
        if (labels != np.floor(labels)).any():
            raise ValueError(f"{data.source}: labels: got fractions, wanted whole numbers")
        pixels /= self.white
        return ArrayDataset(torch.from_numpy(pixels).unsqueeze(1), torch.from_numpy(labels.astype(np.int64)))


def _numbers(values: npt.NDArray[Any], dtype: type[Any], where: str) -> npt.NDArray[Any]:
    """A copy as `dtype`."""
    try:
        return np.array(values, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: got {values.dtype}, wanted numbers ({error})") from error


def _check_range(values: npt.NDArray[Any], high: float, where: str) -> None:
    if values.min() >= 0 and values.max() <= high:  # NaN propagates into both and compares false
        return
    good = (values >= 0) & (values <= high)
    bad = ~good.reshape(len(values), -1).all(1)
    first = int(bad.argmax())
    got = values[first][~good[first]].reshape(-1)[0]
    raise ValueError(
        f"{where}: got {got:g} in sample {first} ({int(bad.sum())} such samples of {len(values)}), "
        f"wanted values from 0 to {high:g}; mend or drop these samples"
    )
