"""Sequential MNIST: handwritten digits that are seen bit by bit, one row or one pixel at a time.

    order "rows"     28 steps of 28 grey values
    order "pixels"   784 steps of one grey value, from the top left to the bottom right

Each row or pixel may be shown for several steps, and rows may be cut to the columns in their middle (digits
lie within 20). After the image come `cue` steps, which are black, or flicker between white and black
(`flicker`): signals that ask for the answer. The output counts at the last `answer` steps, or at all. Images,
splits and baselines (which see the whole image at once) are those of the task `mnist`.

Le, Jaitly & Hinton, arXiv:1504.00941 (2015); on spiking neurons: Bellec, Salaj, Subramoney, Legenstein &
Maass, NeurIPS 2018, from whom the recipe "pixels" takes its network (120 LIF and 100 adaptive neurons with
delays up to 10 ms, 80 input neurons that fire when the grey value crosses a level). There: above 96 % on
60,000 images after 36,000 steps, and 63 % without adaptive neurons.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from rheobase.config import option
from rheobase.tasks.base import Task
from rheobase.tasks.dataset import ArrayDataset, Batch, Dataset, Splits
from rheobase.tasks.mnist import MNIST

#: Neurons of the recipe "srnn": those of the recipe "pixels", in units of their threshold, which keeps all
#: weights at about 1; with a surrogate that also reaches neurons far from it.
_SRNN_NEURON: dict[str, Any] = {
    "name": "adaptive_lif",
    "preset": "lsnn",
    "threshold": 1.0,
    "surrogate": {"name": "fast_sigmoid", "slope": 3.0},
}
_SRNN_NETWORK: dict[str, Any] = {
    "name": "recurrent",
    "hidden": [120],
    "adaptive": 100,
    "adaptive_neuron": {**_SRNN_NEURON, "beta": 180.0},
    "longest_delay": 10.0,
    "weights": "normal",
    "excitatory": 0.75,
    "input_excitatory": 0.75,
    "balanced": True,
    "plain_readout": True,
    "bias": False,
    "gain": 4.0,
    "readout_gain": 1.0,
}


#: Row by row. Augmentation, epochs and reach were chosen on 800 of the training digits (validation=0.2).
_SRNN_ROWS: dict[str, Any] = {
    "task": {"hold": 2, "columns": 20, "cue": 8, "answer": 24},
    "encoder": {"name": "thermometer", "levels": 4},
    "network": {**_SRNN_NETWORK, "forward_delay": 10.0},
    "neuron": {**_SRNN_NEURON, "beta": 0.0},
    "readout": {"name": "leaky_integrator"},
    "loss": {"name": "cross_entropy_mean"},
    "decoder": {"name": "membrane_mean", "window": 24},
    "training": {
        "epochs": 30,
        "batch_size": 32,
        "learning_rate": 1e-2,
        "schedule": "onecycle",
        "clip_norm": 1.0,
        "augment_pixels": 1,
    },
}

_MEMTRANSISTOR: dict[str, Any] = {
    "name": "crossbar",
    "device": {"name": "memtransistor", "preset": "memtransistor-5"},
    "programming": {"name": "write_verify", "rounds": 2},
    "reach": 3.0,
}

#: Pixel by pixel. Without signals while the output counts, nothing fires then, and nothing can be learnt: in
#: the cue, inputs flicker. A threshold of 0.05 makes all weights, the read-out's too, about 0.1, so that one
#: learning rate suits all.
_PIXEL_NEURON: dict[str, Any] = {"name": "adaptive_lif", "preset": "lsnn", "threshold": 0.05}
_SRNN_PIXELS: dict[str, Any] = {
    "task": {"order": "pixels", "cue": 56, "flicker": 4, "answer": 56},
    "encoder": {"name": "threshold_crossing", "levels": 40},
    "network": {
        **_SRNN_NETWORK,
        "adaptive_neuron": {**_PIXEL_NEURON, "beta": 9.0},
        "gain": 1.0,
    },
    "neuron": {**_PIXEL_NEURON, "beta": 0.0},
    "readout": {"name": "leaky_integrator"},
    "loss": {"name": "cross_entropy_mean"},
    "decoder": {"name": "membrane_mean", "window": 56},
    "training": {
        "epochs": 16,
        "batch_size": 32,
        "learning_rate": 1e-2,
        "schedule": "onecycle",
        "clip_norm": 1.0,
    },
}


class _AnswerAtTheEnd(ArrayDataset):
    """Sequences whose output counts at the last `answer` steps only."""

    def __init__(self, inputs: Tensor, targets: Tensor, answer: int) -> None:
        super().__init__(inputs, targets)
        self.answer = answer

    def batch(self, indices: Tensor) -> Batch:
        batch = super().batch(indices)
        samples, steps = batch.inputs.shape[:2]
        counts = torch.arange(steps) >= steps - self.answer
        return Batch(batch.inputs, batch.targets, counts.unsqueeze(1).expand(steps, samples).contiguous())


class SequentialMNIST(Task):
    """Handwritten digits, row by row or pixel by pixel.

    >>> SequentialMNIST().input_shape, SequentialMNIST(order="pixels", cue=56).input_shape
    ((28, 28), (840, 1))
    """

    classes: ClassVar[tuple[str, ...]] = MNIST.classes
    white: ClassVar[float] = MNIST.white
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Of three that were tried, the best on 800 of the training digits (validation=0.2).
        "default": {
            "task": {"cue": 4, "answer": 4},
            "encoder": {"name": "sequence"},
            "network": {"name": "recurrent", "hidden": [256], "weights": "normal", "recurrent_gain": 0.3},
            "neuron": {
                "name": "adaptive_lif",
                "tau_m": 10.0,
                "tau_a": 30.0,
                "beta": 0.2,
                "surrogate": {"name": "fast_sigmoid", "slope": 5.0},
            },
            "readout": {"name": "leaky_integrator", "tau_m": 20.0},
            "loss": {"name": "cross_entropy_mean"},
            "decoder": {"name": "membrane_mean", "window": 4},
            "training": {
                "epochs": 30,
                "batch_size": 64,
                "learning_rate": 4e-3,
                "schedule": "onecycle",
                "augment_pixels": 1,
            },
        },
        "pixels": {
            "task": {"order": "pixels", "cue": 56, "answer": 56},
            "encoder": {"name": "threshold_crossing", "levels": 40},
            "network": {
                "name": "recurrent",
                "hidden": [120],
                "adaptive": 100,
                "adaptive_neuron": {"name": "adaptive_lif", "preset": "lsnn"},
                "longest_delay": 10.0,
                "weights": "normal",
            },
            "neuron": {"name": "adaptive_lif", "preset": "lsnn", "beta": 0.0},
            "readout": {"name": "leaky_integrator"},
            "loss": {"name": "cross_entropy_mean"},
            "decoder": {"name": "membrane_mean", "window": 56},
            "training": {
                "epochs": 8,
                "batch_size": 32,
                "learning_rate": 5e-3,
                "schedule": "cosine",
                "clip_norm": 1.0,
            },
        },
        # The network that an SRNN for memtransistor crossbars was to have: 80 inputs, of
        # which 60 excite and 20 inhibit, 120 LIF and 100 adaptive neurons with signs, delays up to
        # 10 ms and a refractory period of 5 ms; row by row, 2 ms each.
        "srnn": _SRNN_ROWS,
        # The same trained in place on memtransistors with 5 % of variation: cells that reach three times the
        # largest initial weight (else a third of the weights end at their bound), and two rounds per write.
        "srnn_memtransistor": {
            **_SRNN_ROWS,
            "substrate": _MEMTRANSISTOR,
        },
        # By spikes alone: all but the read-out stays as drawn, and that learns from a teacher's spikes.
        # Chosen on 800 of the training digits: an input and connections among neurons that matter more, a
        # read-out that remembers the upper rows, the share of the common mean that is left out, and the rate.
        "srnn_stdp": {
            **_SRNN_ROWS,
            "network": {**_SRNN_ROWS["network"], "gain": 8.0, "recurrent_gain": 20.0},
            "readout": {"name": "leaky_integrator", "tau_m": 40.0},
            "rule": {"name": "rstdp", "hidden": "fixed", "tau_plus": 40.0, "centre": 0.7},
            "training": {
                "epochs": 30,
                "batch_size": 32,
                "learning_rate": 0.1,
                "schedule": "onecycle",
            },
        },
        # The same network pixel by pixel.
        "srnn_pixels": _SRNN_PIXELS,
        # In place, it stands less noise from write to write than row by row: cells that reach half as far,
        # and finer writes.
        "srnn_pixels_memtransistor": {
            **_SRNN_PIXELS,
            "substrate": {
                **_MEMTRANSISTOR,
                "programming": {"name": "write_verify", "rounds": 4, "tolerance": 0.005},
                "reach": 1.5,
            },
        },
    }

    order: Literal["rows", "pixels"] = option(default="rows", help="what is seen at a step")
    hold: int = option(default=1, at_least=1, unit="steps", help="how long each row or pixel is shown")
    columns: int = option(
        default=28, at_least=1, at_most=28, unit="px", help="columns that are seen, in the middle (rows only)"
    )
    cue: int = option(default=0, at_least=0, unit="steps", help="blank steps after the image")
    flicker: int | None = option(
        default=None,
        at_least=1,
        unit="steps",
        help="in the cue, white and black take turns, for so many steps each (all black if none)",
    )
    answer: int | None = option(
        default=None,
        at_least=1,
        unit="steps",
        help="last steps, at which alone the output counts (all if none)",
    )
    data: Literal["bundled", "full"] = option(
        default="bundled", help="bundled: 5,000 digits, no download; full: all 70,000, from OpenML"
    )
    path: str | None = option(default=None, help="folder where scikit-learn keeps the full data")

    def validate(self) -> None:
        self._images()
        if self.order == "pixels" and self.columns != 28:
            raise ValueError(
                f"SequentialMNIST.columns: got {self.columns} with the order 'pixels', wanted 28: only "
                "rows can be cut"
            )
        steps = self.input_shape[0]
        if self.answer is not None and self.answer > steps:
            raise ValueError(
                f"SequentialMNIST.answer: got {self.answer} steps of a sequence that has {steps}, wanted at "
                "most as many; set it lower or make the cue longer"
            )

    def _images(self) -> MNIST:
        return MNIST(data=self.data, path=self.path, validation=self.validation, split_seed=self.split_seed)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Steps, and grey values of a step."""
        if self.order == "rows":
            return (28 * self.hold + self.cue, self.columns)
        return (784 * self.hold + self.cue, 1)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """A whole image."""
        return self._images().input_shape

    def present(self, samples: Tensor) -> Tensor:
        """Images `[B, 1, 28, 28]` as sequences."""
        first = (28 - self.columns) // 2
        rows = samples[..., first : first + self.columns].reshape(len(samples), 28, -1)
        sequences = rows if self.order == "rows" else rows.reshape(len(samples), 784, 1)
        sequences = sequences.repeat_interleave(self.hold, 1)
        sequences = functional.pad(sequences, (0, 0, 0, self.cue))
        if self.flicker is not None:
            white = torch.arange(self.cue) // self.flicker % 2 == 0
            sequences[:, sequences.shape[1] - self.cue :][:, white] = 1.0
        return sequences

    @property
    def outputs(self) -> int:
        """One per class."""
        return len(self.classes)

    @property
    def chance(self) -> float:
        """The accuracy of a blind guess."""
        return 1 / len(self.classes)

    def splits(self) -> Splits:
        images = self._images().splits()
        held = None if images.validation is None else self._sequences(images.validation)
        return Splits(self._sequences(images.train), held, self._sequences(images.test))

    def _sequences(self, data: Dataset) -> ArrayDataset:
        whole = data.whole()
        sequences = self.present(whole.inputs)
        if self.answer is None:
            return ArrayDataset(sequences, whole.targets)
        return _AnswerAtTheEnd(sequences, whole.targets, self.answer)

    def baselines(self, splits: Splits | None = None) -> dict[str, float]:
        """Those of `mnist`: simple models that see the whole image."""
        return self._images().baselines()
