"""Randman: name the manifold that the spike times of a sample are on.

Each class is a smooth random manifold in the space of spike times (`rheobase.tasks.manifolds`). Every unit
fires the same number of spikes in every sample, so counts say nothing: all is in the timing. With
`RandmanCoordinates`, the place on the manifold is asked for instead of its class.

The first 80 % of the samples (in random order) are for training, the next 10 % to select models on, the last
10 % to test. Linear and nearest-neighbour baselines see the spike times themselves. How hard the task is
depends on units, dimension, smoothness and (by some hundredths) the manifolds' seed; with 1,000 samples per
class and `data_seed` 12:

    units  dim  alpha   nearest neighbour   linear
    3      2    2       .58                 .26
    10     2    2       1.0                 .43
    20     2    2       1.0                 .61
    20     1    1       1.0                 .43
    100    2    2       1.0                 1.0

Zenke & Vogels, "The remarkable robustness of surrogate gradient learning for instilling complex function in
spiking neural networks", Neural Computation 33 (2021), https://doi.org/10.1162/neco_a_01367
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from rheobase.config import option
from rheobase.neurons.base import time_constant
from rheobase.tasks import baselines
from rheobase.tasks.base import Task
from rheobase.tasks.dataset import Batch, Dataset, Splits
from rheobase.tasks.manifolds import ManifoldSpikes
from rheobase.tasks.metrics import MEAN_SQUARED_ERROR, Metric

_LEAK = {"tau_m": time_constant(0.95)}
_SYNAPSE = {"tau_m": 20.0, "tau_s": 10.0, "dt": 2.0}
_FOUNDING = {"units": 3, "steps": 200, "data_seed": 12}
_TO_THE_MAXIMUM = {
    "encoder": {"name": "sequence"},
    "network": {"name": "feed_forward", "hidden": [10], "bias": False},
    "neuron": {"name": "lif", **_LEAK},
    "readout": {"name": "leaky_integrator", **_LEAK},
    "loss": {"name": "cross_entropy_max"},
    "decoder": {"name": "membrane_max"},
}


class SpikeTimes(Dataset):
    """Spikes at given steps, made when a batch is asked for.

    Args:
        steps: When each unit fires, int16 `[N, spikes, units]`; two spikes of a unit in one step are one.
        length: The number of steps of a sequence.
        targets: `[N]` or `[N, K]`.
    """

    def __init__(self, steps: Tensor, length: int, targets: Tensor) -> None:
        self.steps, self.length, self.targets = steps, length, targets

    def __len__(self) -> int:
        return len(self.steps)

    def batch(self, indices: Tensor) -> Batch:
        when = self.steps.index_select(0, indices).long().transpose(0, 1)  # shape: [spikes, B, units]
        train = torch.zeros(self.length, *when.shape[1:]).scatter_(0, when, 1.0)
        return Batch(train.transpose(0, 1), self.targets.index_select(0, indices))


class SpikesOnManifolds(Task):
    """What classification and regression share: the data, their splits and what simple models see."""

    validation: float = option(
        default=0.1, at_least=0, at_most=0.5, help="share of the samples held out to select models on"
    )
    test: float = option(default=0.1, above=0, at_most=0.5, help="share of the samples to test on")
    manifolds: int = option(default=10, at_least=2, help="classes, each a manifold of its own")
    units: int = option(default=100, at_least=1, help="input neurons")
    steps: int = option(default=50, at_least=1, at_most=32767, unit="steps", help="length of a sequence")
    step_frac: float = option(
        default=1.0, above=0, at_most=1, help="share of the sequence, from its start, in which spikes fall"
    )
    dim: int = option(default=2, at_least=1, help="dimension of the manifolds")
    spikes: int = option(default=1, at_least=1, help="spikes of each unit, on a manifold each")
    samples: int = option(default=1000, at_least=10, help="samples of each class")
    alpha: float = option(default=2.0, above=0, help="smoothness of the manifolds")
    data_seed: int = option(default=0, at_least=0, at_most=2**32 - 1, help="seed of manifolds and samples")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Steps of one spike or none from each unit."""
        return (self.steps, self.units)

    @abstractmethod
    def targets(self, data: ManifoldSpikes) -> Tensor:
        """What is asked for, of each sample."""

    def splits(self) -> Splits:
        """The samples of the seed, in its order; `ValueError` if a split would be empty."""
        data = self._data
        steps = (data.times * (self.steps * self.step_frac)).to(torch.int16)
        number = len(steps)
        held, tested = round(self.validation * number), round(self.test * number)
        sizes = [number - held - tested, held, tested]
        if min(sizes[0], tested) < 1:
            raise ValueError(
                f"{type(self).__name__}: got {number} samples of which {held} are for validation and "
                f"{tested} to test on, wanted some left to train on, and one to test on; use more samples"
            )
        parts = zip(torch.split(steps, sizes), torch.split(self.targets(data), sizes), strict=True)
        train, validation, test = (SpikeTimes(when, self.steps, what) for when, what in parts)
        return Splits(train, validation if held else None, test)

    def baselines(self, splits: Splits | None = None) -> dict[str, float]:
        """The metric of `constant`, `linear` and `nearest_neighbour`, which see the spike times."""
        splits = splits or self.splits()
        assert isinstance(splits.train, SpikeTimes)
        assert isinstance(splits.test, SpikeTimes)
        times, test_times = (data.steps.flatten(1) / self.steps for data in (splits.train, splits.test))
        arrays = (times, splits.train.targets, test_times, splits.test.targets)
        fit = baselines.classification if self.classes else baselines.regression
        key = baselines.content_hash(*arrays, recipe=f"{fit.__name__} of spike times")
        return baselines.stored(key, lambda: fit(*arrays, self.scoring))

    @cached_property
    def _data(self) -> ManifoldSpikes:
        return ManifoldSpikes.draw(
            classes=self.manifolds,
            units=self.units,
            dim=self.dim,
            spikes=self.spikes,
            samples=self.samples,
            alpha=self.alpha,
            seed=self.data_seed,
        )


class Randman(SpikesOnManifolds):
    """Name the manifold.

    >>> task = Randman(manifolds=3, units=4, steps=20, samples=10)
    >>> task.input_shape, task.classes
    ((20, 4), ('0', '1', '2'))
    >>> task.splits().test.whole().inputs.sum((1, 2)).tolist()  # one spike of each unit
    [4.0, 4.0, 4.0]
    """

    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {
            **_TO_THE_MAXIMUM,
            "training": {"epochs": 35, "batch_size": 256, "learning_rate": 1e-2},
        },
        # The example of stork (https://github.com/fmi-basel/stork), whose optimizer is SMORMS3 and which
        # reaches .963 on the test data.
        "stork": {
            "task": {"units": 20, "steps": 100, "step_frac": 0.5, "dim": 1, "alpha": 1.0},
            "encoder": {"name": "sequence"},
            "network": {"name": "feed_forward", "hidden": [128], "bias": False, "initial_xi": 1.0},
            "neuron": {
                "name": "synaptic_lif",
                **_SYNAPSE,
                "surrogate": {"name": "fast_sigmoid", "slope": 20.0},
            },
            "readout": {"name": "synaptic_integrator", **_SYNAPSE},
            "loss": {"name": "cross_entropy_max"},
            "decoder": {"name": "membrane_max"},
            "training": {
                "epochs": 60,
                "batch_size": 250,
                "learning_rate": 5e-3,
                "schedule": "cosine",
            },
        },
        # The notebook that this project started from, which stays at chance: see docs/evolution.md.
        "founding": {
            "task": {**_FOUNDING, "samples": 75},
            "encoder": {"name": "sequence"},
            "network": {"name": "feed_forward", "hidden": [4]},
            "neuron": {"name": "lif", "preset": "snntorch", "tau_m": time_constant(0.85)},
            "readout": {"name": "lif", "preset": "snntorch", "tau_m": time_constant(0.85)},
            "loss": {"name": "cross_entropy_count"},
            "decoder": {"name": "spike_count"},
            "rule": {
                "name": "open_es",
                "population": 30,
                "sigma": 1.0,
                "mirrored": False,
                "shaping": "raw",
                "layers": ["dense1.weight"],
                "redraw": True,
            },
            "training": {"epochs": 100, "batch_size": 600, "learning_rate": 1e-2, "log_every": 1},
        },
        # Its data, where each input lasts from its spike on and membranes hardly leak: a hidden neuron fires
        # about as often as a rectified weighted sum of the spike times says, and the read-out's last membrane
        # is a weighted sum of these counts. See docs/evolution.md.
        "founding-fixed": {
            "task": _FOUNDING,
            "encoder": {"name": "trace"},
            "network": {"name": "feed_forward", "hidden": [30], "weights": "normal", "gain": 3.0},
            "neuron": {
                "name": "lif",
                "tau_m": 1e5,
                "resistance": 0.15,
                # With the gradient through resets, that of a count is bounded: it follows the membrane's.
                "detach": False,
                "surrogate": {"name": "fast_sigmoid", "slope": 4.0},
            },
            "readout": {"name": "leaky_integrator", "tau_m": 1e5, "resistance": 0.01},
            "loss": {"name": "cross_entropy_last"},
            "decoder": {"name": "membrane_last"},
            # The read-out's biases stay as they were drawn: added up over 200 steps, noise on them outweighs
            # that on the weights.
            "rule": {
                "name": "open_es",
                "population": 64,
                "sigma": 0.1,
                "layers": ["dense1", "dense2.weight"],
            },
            "training": {"epochs": 400, "batch_size": 256, "learning_rate": 0.1, "schedule": "cosine"},
        },
    }
    settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "open_es": {
            "rule": {"population": 20, "sigma": 0.05},
            "training": {"epochs": 70, "learning_rate": 3e-2, "schedule": "cosine"},
        },
        # For recipes of another rule.
        "bptt": {
            "training": {
                "epochs": 45,
                "batch_size": 128,
                "learning_rate": 3e-2,
                "schedule": "cosine",
            },
        },
    }

    @property
    def classes(self) -> tuple[str, ...]:
        """The numbers of the manifolds."""
        return tuple(map(str, range(self.manifolds)))

    @property
    def outputs(self) -> int:
        """One for each class."""
        return self.manifolds

    @property
    def chance(self) -> float:
        """The accuracy of a blind guess."""
        return 1 / self.manifolds

    def targets(self, data: ManifoldSpikes) -> Tensor:
        """The class."""
        return data.labels


class RandmanCoordinates(SpikesOnManifolds):
    """Say where on its manifold a sample is, whichever of them that is.

    >>> RandmanCoordinates(dim=3).outputs
    3
    """

    scoring: ClassVar[Metric] = MEAN_SQUARED_ERROR
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {
            **_TO_THE_MAXIMUM,
            "network": {"name": "feed_forward", "hidden": [100]},
            "loss": {"name": "mean_squared_error", "over": "last"},
            "decoder": {"name": "membrane_last"},
            "training": {"epochs": 35, "batch_size": 256, "learning_rate": 1e-2},
        },
    }

    @property
    def outputs(self) -> int:
        """One for each coordinate."""
        return self.dim

    @property
    def chance(self) -> float:
        """The error of the best constant, 1/2: the variance of a uniform number."""
        return 1 / 12

    def targets(self, data: ManifoldSpikes) -> Tensor:
        """The coordinates."""
        return data.coordinates.float()
