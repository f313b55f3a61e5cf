"""Spiking XOR: the exclusive or of two bits that are patterns of spikes.

The inputs are three disjoint sets: a reference, which fires in every trial, and one set for each bit, which
fires if the bit is 1. Each input of a set has a time of its own within the first 10 ms of the stimulus, the
same in all trials. Before, during and after, all inputs fire at random at a low rate, and the stimulus begins
at a random time. The output of the right answer shall fire, once or more, from the onset until 15 ms after
the stimulus, and neither output at any other time. A trial is right only if all of this holds: the metric is
the share of trials that are not.

A single layer cannot do it: for 0 and 1, and 1 and 0, it would have to fire in answer to either set and be
silent in answer to both. Chance is .5 for a guess between the outputs; always firing, or never, is wrong in
every trial.

Zenke & Ganguli, "SuperSpike: supervised learning in multilayer spiking neural networks", Neural Computation
30 (2018). There trials follow each other in one simulation; here each begins at rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from rheobase.coding.spike_trains import response_errors
from rheobase.config import option
from rheobase.tasks.dataset import Batch, Splits
from rheobase.tasks.generated import GeneratedTask
from rheobase.tasks.metrics import Metric
from rheobase.tasks.streams import Stream

_STIMULUS, _AFTER = 10.0, 15.0  # ms
_NEURON = {"name": "synaptic_lif", "preset": "superspike"}


def _wrong(predictions: Tensor, targets: Tensor, mask: Tensor | None) -> Tensor:
    return response_errors(predictions, targets).abs().amax((0, 2)).double()


_DEFAULT: dict[str, Any] = {
    "encoder": {"name": "sequence"},
    "network": {
        "name": "feed_forward",
        "hidden": [64],
        "bias": False,
        "weights": "normal",
        "gain": 50.0,
        "forward_delay": 0.8,
        "shortest_forward_delay": 0.8,
    },
    "neuron": _NEURON,
    "readout": _NEURON,
    "rule": {
        "name": "superspike",
        "cutoff": 30.0,
        # With random feedback, the regulariser is what keeps hidden neurons from firing in every trial. When
        # errors have become rare, it would pull until there are more.
        "heterosynaptic": 0.24,
        "heterosynaptic_updates": 6000,
        # What must be right in every trial needs to spare: of the threshold, and of time.
        "readout_margin": 2.0,
        "hidden_margin": 1.0,
    },
    "loss": {"name": "response_windows", "margin": 7.0},
    "decoder": {"name": "spike_train"},
    "training": {
        "steps": 6000,
        "batch_size": 10,
        "optimizer": "rmaxprop",
        "learning_rate": 3.0,
        # A memory of 1,000 updates: with the authors' of 60, one rare error makes as large a step as many do.
        "smoothing": 0.999,
        "schedule": "cosine",
        # No hidden spike may move an output by more than some 4 mV: no answer hangs on a single neuron.
        "weight_bound": 15.0,
    },
}


class SpikingXOR(GeneratedTask):
    """Fire the first output for equal bits, the second for different ones.

    >>> batch = SpikingXOR(test_samples=10).splits().test.whole()
    >>> batch.inputs.shape, batch.targets.shape
    (torch.Size([10, 800, 100]), torch.Size([800, 10, 2]))
    """

    scoring: ClassVar[Metric] = Metric("error", False, _wrong)
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": _DEFAULT,
        "random_feedback": {**_DEFAULT, "rule": {**_DEFAULT["rule"], "feedback": "random"}},
        "no_hidden": {**_DEFAULT, "network": {**_DEFAULT["network"], "hidden": []}},
    }

    test_samples: int = option(default=400, at_least=10, help="trials to test on")
    inputs: int = option(default=100, at_least=3, help="input neurons")
    background: float = option(default=4.0, unit="Hz", at_least=0, help="rate of random input spikes")
    duration: float = option(default=80.0, unit="ms", at_least=30, help="duration of a trial")
    pattern_seed: int = option(default=0, at_least=0, help="seed of the sets' spike times")
    dt: float = option(default=0.1, unit="ms", above=0, help="duration of a time step")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Spikes of the inputs."""
        return (round(self.duration / self.dt), self.inputs)

    @property
    def outputs(self) -> int:
        """Equal, different."""
        return 2

    @property
    def chance(self) -> float:
        """A response of one output or the other, at the right time."""
        return 0.5

    def baselines(self, splits: Splits | None = None) -> dict[str, float]:
        """Silence, which is wrong in every trial, and always the same output, in every other one."""
        return {"silent": 1.0, "constant": 0.5}

    def draw(self, stream: Stream, indices: Tensor) -> Batch:
        steps, size = self.input_shape
        batch, window = len(indices), round((_STIMULUS + _AFTER) / self.dt)
        bits = stream.part("bits").whole(indices, 2, 2)  # shape: [B, 2]
        onset = stream.part("onset").whole(indices, 1, steps - window)  # shape: [B, 1]
        times = Stream("spiking_xor", self.pattern_seed, "times").whole(
            torch.tensor([0]), size, round(_STIMULUS / self.dt)
        )
        third = size // 3
        owner = (
            torch.arange(size).div(third, rounding_mode="floor").clamp(max=2)
        )  # reference, first, second bit
        fires = torch.cat([torch.ones_like(bits[:, :1]), bits], 1)[:, owner].float()  # shape: [B, N]
        share = torch.tensor(self.background * self.dt / 1000.0).expand(steps, batch, size)
        spikes = stream.part("background").spikes(indices, share).transpose(0, 1).contiguous()
        spikes.scatter_add_(1, (onset + times).unsqueeze(1), fires.unsqueeze(1))
        time = torch.arange(steps).unsqueeze(1)
        within = (time >= onset.t()) & (time < onset.t() + window)  # shape: [T, B]
        answer = bits.sum(1) % 2
        targets = torch.nn.functional.one_hot(answer, 2) * within.unsqueeze(2)
        return Batch(spikes.clamp_(max=1.0), targets.float())
