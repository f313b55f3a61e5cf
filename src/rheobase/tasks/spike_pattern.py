"""Spike patterns: fire a given pattern of spikes in answer to another, over and over.

A pattern of input spikes repeats without a pause, and so does the pattern of target spikes. Training goes
through this endless repetition in windows of so many ms, one sample each, in order: a rule that works on one
continuous simulation gets an update per window, others see each window as a sequence of its own. The test is
one pass of the pattern, after one that is not scored, in which traces and membranes settle.

Scored is the van Rossum cost (`rheobase.coding.spike_trains`), which is about 4 times the targets' rate in
Hz for a silent network, and 0 for the pattern itself. The summary also says how many target spikes were
matched, within 2 ms, how many were missed, and how many spikes were too many.

Patterns: those of the SuperSpike benchmarks (`poisson`, `auryn`, `oxford`, see `data/ssbm`); a pattern of
Poisson spikes made from a seed (`generated`); or one's own files.

Zenke & Ganguli, "SuperSpike: supervised learning in multilayer spiking neural networks", Neural Computation
30 (2018).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from rheobase.coding.spike_trains import coincidences, van_rossum_cost
from rheobase.config import option
from rheobase.tasks.base import Task
from rheobase.tasks.dataset import Batch, Dataset, Splits
from rheobase.tasks.metrics import Metric
from rheobase.tasks.ras import Raster, read_raster
from rheobase.tasks.streams import Stream

TOLERANCE = 2.0  # ms
_ROUND = 100.0  # ms to which the duration of a file's pattern is rounded up

#: Of the bundled patterns: duration in ms, inputs, outputs, number of the first target neuron.
_BUNDLED: dict[str, tuple[float, int, int, int]] = {
    "poisson": (500.0, 100, 1, 0),
    "auryn": (3500.0, 100, 100, 0),
    "oxford": (1890.0, 200, 200, 1),
}

_NEURON = {"name": "synaptic_lif", "preset": "superspike"}
_DEFAULT: dict[str, Any] = {
    "encoder": {"name": "sequence"},
    "network": {
        "name": "feed_forward",
        "hidden": [],
        "bias": False,
        "weights": "normal",
        "gain": 50.0,
        "forward_delay": 0.8,
        "shortest_forward_delay": 0.8,
    },
    "neuron": _NEURON,
    "readout": _NEURON,
    "rule": {"name": "superspike", "continuous": True, "cutoff": 30.0},
    "loss": {"name": "van_rossum"},
    "decoder": {"name": "spike_train"},
    "training": {
        "steps": 500,
        "batch_size": 1,
        "optimizer": "rmaxprop",
        "learning_rate": 2.0,
        "schedule": "cosine",
        "weight_bound": 100.0,
    },
}


def _changed(**tables: dict[str, Any]) -> dict[str, Any]:
    return _DEFAULT | {name: {**_DEFAULT.get(name, {}), **table} for name, table in tables.items()}


class SpikePattern(Task):
    """Turn one repeating pattern of spikes into another.

    >>> task = SpikePattern()
    >>> task.input_shape, task.outputs, round(task.chance, 2)
    ((5000, 100), 1, 40.3)
    """

    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Seed of the project: one neuron, 100 inputs, five target spikes, 500 trials.
        "default": _DEFAULT,
        "hidden": _changed(network={"hidden": [8]}),
        "auryn": _changed(
            task={"pattern": "auryn"},
            network={"hidden": [32]},
            rule={"heterosynaptic": 2e-8},
            training={"steps": 2000, "learning_rate": 1.0},
        ),
        # 1,000 s, of which 20 without learning; a tenth of the learning rate from 400 s on.
        "oxford": _changed(
            task={"pattern": "oxford"},
            network={"hidden": [256]},
            rule={"heterosynaptic": 2e-8, "burn_in": 20_000.0},
            training={"steps": 2000, "learning_rate": 1.0, "schedule": "drop"},
        ),
    }

    pattern: Literal["poisson", "auryn", "oxford", "generated"] = option(
        default="poisson",
        help="bundled pattern, or one made from pattern_seed; not used where files are given",
    )
    inputs: str | None = option(
        default=None, help="file of input spikes (.ras: time in s and neuron, per line)"
    )
    targets: str | None = option(default=None, help="file of target spikes")
    inputs_sha256: str | None = option(default=None, help="checksum that the file of input spikes must have")
    targets_sha256: str | None = option(
        default=None, help="checksum that the file of target spikes must have"
    )
    inputs_from: int = option(
        default=0, at_least=0, at_most=1, help="number of the file's first input neuron"
    )
    targets_from: int = option(
        default=0, at_least=0, at_most=1, help="number of the file's first target neuron"
    )
    input_neurons: int | None = option(
        default=None, at_least=1, help="input neurons (of files, up to the last that fires if none)"
    )
    output_neurons: int | None = option(
        default=None, at_least=1, help="output neurons (of files, up to the last that fires if none)"
    )
    duration: float | None = option(
        default=None,
        above=0,
        unit="ms",
        help="duration of the pattern (of files, that of their spikes rounded up to 100 ms if none)",
    )
    rate: float = option(default=5.0, unit="Hz", above=0, help="rate of generated inputs")
    target_times: tuple[float, ...] = option(
        default=(83.0, 166.0, 249.0, 332.0, 415.0),
        unit="ms",
        at_least=0,
        help="target spikes of generated patterns",
    )
    pattern_seed: int = option(default=0, at_least=0, help="seed of generated patterns")
    window: float = option(default=500.0, unit="ms", above=0, help="duration of a training sample")
    dt: float = option(default=0.1, unit="ms", above=0, help="duration of a time step")

    def validate(self) -> None:
        if (self.inputs is None) != (self.targets is None):
            given, missing = ("inputs", "targets") if self.inputs else ("targets", "inputs")
            raise ValueError(
                f"SpikePattern.{missing}: got a file of {given} only, wanted both; name the other, too"
            )
        if self.inputs is None and (self.inputs_sha256 or self.targets_sha256):
            raise ValueError("SpikePattern: got a checksum without files, wanted inputs and targets as well")

    @property
    def scoring(self) -> Metric:  # type: ignore[override]  # it depends on the duration of a step
        """The van Rossum cost."""
        return Metric("cost", False, functools.partial(_costs, dt=self.dt))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """A window of the input trains."""
        return (max(1, round(self.window / self.dt)), self._trains()[0].shape[1])

    @property
    def outputs(self) -> int:
        """One per target train."""
        return self._trains()[1].shape[1]

    @property
    def chance(self) -> float:
        """The cost of a network that never fires."""
        return self._silent()

    def splits(self) -> Splits:
        """Windows without end to train on; one pass to test on, after another."""
        inputs, targets = self._trains()
        return Splits(_Windows(inputs, targets, self.input_shape[0]), None, _Pass(inputs, targets))

    def baselines(self, splits: Splits | None = None) -> dict[str, float]:
        """The cost of silence."""
        return {"silent": self._silent()}

    def details(self, predictions: Tensor, targets: Tensor, mask: Tensor | None) -> dict[str, float]:
        """Target spikes matched and missed, spikes too many, and whether all is as it should be (0 or 1)."""
        keep = slice(None) if mask is None else mask[:, 0]
        spikes, wanted = predictions[keep, 0], targets[keep, 0]  # shape: [T, K]
        period = len(spikes) * self.dt
        matched = sum(
            coincidences(_times(s, self.dt), _times(w, self.dt), TOLERANCE, period)
            for s, w in zip(spikes.unbind(1), wanted.unbind(1), strict=True)
        )
        missed, extra = int(wanted.sum()) - matched, int(spikes.sum()) - matched
        return {
            "matched": float(matched),
            "missed": float(missed),
            "extra": float(extra),
            "reproduced": float(missed == 0 and extra == 0),
        }

    def _silent(self) -> float:
        batch = self.splits().test.whole()
        return self.scoring.mean(torch.zeros_like(batch.targets), batch.targets, batch.mask)

    def _trains(self) -> tuple[Tensor, Tensor]:
        """Inputs `[P, N]` and targets `[P, K]` of one pass."""
        return _trains(self)


@functools.lru_cache(maxsize=4)
def _trains(task: SpikePattern) -> tuple[Tensor, Tensor]:
    if task.inputs is None and task.pattern == "generated":
        return _generated(task)
    if task.inputs is not None and task.targets is not None:
        rasters = (
            read_raster(Path(task.inputs).expanduser(), first=task.inputs_from, checksum=task.inputs_sha256),
            read_raster(
                Path(task.targets).expanduser(), first=task.targets_from, checksum=task.targets_sha256
            ),
        )
        last = max(float(raster.times.max()) for raster in rasters)
        duration = task.duration or _ROUND * math.ceil((last + task.dt) / _ROUND)
        sizes = (task.input_neurons or rasters[0].size, task.output_neurons or rasters[1].size)
    else:
        length, *own, first = _BUNDLED[task.pattern]
        rasters = _bundled(task.pattern, first)
        duration = task.duration or length
        sizes = (task.input_neurons or own[0], task.output_neurons or own[1])
    steps = round(duration / task.dt)
    return rasters[0].train(steps, sizes[0], task.dt), rasters[1].train(steps, sizes[1], task.dt)


def _bundled(name: str, first: int) -> tuple[Raster, Raster]:
    folder = Path(str(files("rheobase.tasks") / "data" / "ssbm" / name))
    return read_raster(folder / "input.ras"), read_raster(folder / "target.ras", first=first)


def _generated(task: SpikePattern) -> tuple[Tensor, Tensor]:
    duration = task.duration or 500.0
    steps, size, outputs = round(duration / task.dt), task.input_neurons or 100, task.output_neurons or 1
    if task.rate * task.dt > 1000.0:
        raise ValueError(
            f"SpikePattern.rate: got {task.rate:g} Hz, wanted at most one spike a step, {1000 / task.dt:g} Hz"
        )
    share = torch.tensor(task.rate * task.dt / 1000.0).expand(steps, 1, size)
    inputs = Stream("spike_pattern", task.pattern_seed, "inputs").spikes(torch.tensor([0]), share)[:, 0]
    targets = torch.zeros(steps, outputs)
    for time in task.target_times:
        if round(time / task.dt) >= steps:
            raise ValueError(
                f"SpikePattern.target_times: got {time:g} ms, wanted times below the duration of "
                f"{duration:g} ms"
            )
        targets[round(time / task.dt)] = 1.0
    return inputs, targets


class _Windows(Dataset):
    """The endless repetition, cut into windows."""

    endless = True

    def __init__(self, inputs: Tensor, targets: Tensor, steps: int) -> None:
        self._inputs, self._targets, self._steps = inputs, targets, steps

    def __len__(self) -> int:
        return max(1, math.ceil(len(self._inputs) / self._steps))

    def batch(self, indices: Tensor) -> Batch:
        times = indices.unsqueeze(1) * self._steps + torch.arange(self._steps)
        times = times % len(self._inputs)  # shape: [B, T]
        return Batch(self._inputs[times], self._targets[times.t()])


class _Pass(Dataset):
    """One pass, after one that does not count."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self._batch = Batch(
            torch.cat([inputs, inputs]).unsqueeze(0),
            torch.cat([targets, targets]).unsqueeze(1),
            (torch.arange(2 * len(inputs)) >= len(inputs)).unsqueeze(1),
        )

    def __len__(self) -> int:
        return 1

    def batch(self, indices: Tensor) -> Batch:
        if indices.tolist() != [0]:
            raise ValueError(f"got indices {indices.tolist()}, wanted [0], the only pass")
        return self._batch


def _costs(predictions: Tensor, targets: Tensor, mask: Tensor | None, dt: float) -> Tensor:
    return van_rossum_cost(predictions, targets, dt, mask=mask).double()


def _times(train: Tensor, dt: float) -> list[float]:
    times: list[float] = (train.nonzero().flatten() * dt).tolist()
    return times
