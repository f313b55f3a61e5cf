"""Pattern generation: turn one fixed random input into one fixed curve.

The input is the same spikes in every sequence, Poisson at `rate` Hz, with the times of which the network
must drive its read-out along a sum of sines,

    y_k(t) = sum_f A_kf sin(2 pi f t + phi_kf) / norm,    f = 1, 2, 3, 5 Hz

with A uniform in [.5, 2], phi uniform in [0, 2 pi), and the norm such that |y_k| is at most 1. Scored is
sum (prediction - y)^2 / sum (y - mean y)^2, which is 1 for the best constant.

Without input noise, the test is the pattern that was trained: this is a test of memory and of the learning
rule, not of generalisation. With `noise` Hz of further spikes, drawn afresh for each sequence, it is also
that. A nearest neighbour is no baseline here: it has the pattern by heart.

Bellec et al., Nature Communications 11 (2020), supplementary note on pattern generation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from rheobase.config import option
from rheobase.tasks.dataset import Batch, Splits
from rheobase.tasks.generated import GeneratedTask
from rheobase.tasks.metrics import NORMALISED_ERROR, Metric
from rheobase.tasks.store_recall import check_rate
from rheobase.tasks.streams import Stream

_FREQUENCIES = (1.0, 2.0, 3.0, 5.0)  # Hz
_FILTER = 20.0  # ms, of the input spikes that the linear baseline sees


def _of_rows(predictions: Tensor, targets: Tensor, mask: Tensor | None) -> Tensor:
    """The normalised error of steps that are given as samples, `[M, K]`."""
    return NORMALISED_ERROR(predictions.unsqueeze(1), targets.unsqueeze(1), mask)


class PatternGeneration(GeneratedTask):
    """Drive the read-out along a sum of sines.

    >>> task = PatternGeneration(duration=500.0, outputs_wanted=2)
    >>> batch = task.splits().test.whole()
    >>> batch.inputs.shape, batch.targets.shape
    (torch.Size([10, 500, 100]), torch.Size([500, 10, 2]))
    """

    scoring: ClassVar[Metric] = NORMALISED_ERROR
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {
            "encoder": {"name": "sequence"},
            "network": {
                "name": "recurrent",
                "hidden": [100],
                "weights": "normal",
                "recurrent_gain": 0.3,
            },
            "neuron": {
                "name": "lif",
                "preset": "eprop",
                "tau_m": 30.0,
                "threshold": 0.6,
                "refractory": 5.0,
            },
            "readout": {"name": "leaky_integrator", "tau_m": 30.0, "resistance": 0.1},
            "loss": {"name": "mean_squared_error"},
            "decoder": {"name": "membrane_trace"},
            "regularisers": [{"name": "rate_upper", "rate": 20.0, "strength": 1e-5}],
            "training": {
                "steps": 500,
                "batch_size": 1,
                "learning_rate": 5e-3,
                "schedule": "cosine",
                "clip_norm": 1.0,
            },
        },
    }
    fitted_on: ClassVar[int] = 10

    test_samples: int = option(default=10, at_least=10, help="samples to test on (alike, without noise)")
    duration: float = option(default=1000.0, unit="ms", above=0, help="duration of the pattern")
    outputs_wanted: int = option(default=1, at_least=1, help="curves to be generated at once")
    inputs: int = option(default=100, at_least=1, help="input neurons")
    rate: float = option(default=20.0, unit="Hz", above=0, help="firing rate of the fixed input")
    noise: float = option(default=0.0, unit="Hz", at_least=0, help="further input spikes, afresh each time")
    pattern_seed: int = option(default=0, at_least=0, help="seed of the fixed input and of the curves")
    dt: float = option(default=1.0, unit="ms", above=0, help="duration of a time step")

    def validate(self) -> None:
        check_rate(self, self.rate + self.noise)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Spikes of the input neurons."""
        return (max(1, round(self.duration / self.dt)), self.inputs)

    @property
    def outputs(self) -> int:
        """One per curve."""
        return self.outputs_wanted

    @property
    def chance(self) -> float:
        """The error of the best constant."""
        return 1.0

    def curves(self) -> Tensor:
        """The targets, `[T, K]`."""
        stream, number = Stream("pattern_generation", self.pattern_seed, "curves"), torch.tensor([0])
        shape = (len(_FREQUENCIES), self.outputs)
        amplitude = 0.5 + 1.5 * stream.part("amplitude").uniform(number, math.prod(shape)).reshape(shape)
        phase = 2 * math.pi * stream.part("phase").uniform(number, math.prod(shape)).reshape(shape)
        time = torch.arange(self.input_shape[0]) * (self.dt / 1000.0)  # s
        angle = 2 * math.pi * time[:, None, None] * torch.tensor(_FREQUENCIES)[:, None] + phase
        curves = (amplitude * torch.sin(angle)).sum(1)
        largest: Tensor = curves.abs().amax(0)
        return curves / largest

    def draw(self, stream: Stream, indices: Tensor) -> Batch:
        steps, size = self.input_shape
        fixed = Stream("pattern_generation", self.pattern_seed, "input")
        share = torch.tensor(self.dt / 1000.0)
        spikes = fixed.spikes(torch.tensor([0]), (self.rate * share).expand(steps, 1, size))
        spikes = spikes.expand(steps, len(indices), size)
        if self.noise:
            further = (self.noise * share).expand(steps, len(indices), size)
            spikes = torch.maximum(spikes, stream.part("noise").spikes(indices, further))
        targets = self.curves().unsqueeze(1).expand(steps, len(indices), self.outputs)
        return Batch(spikes.transpose(0, 1), targets)

    def simple_view(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Step by step, the input spikes filtered with 20 ms."""
        decay = math.exp(-self.dt / _FILTER)
        trace, traces = torch.zeros_like(batch.inputs[:, 0]), []
        for spikes in batch.inputs.unbind(1):
            trace = decay * trace + spikes
            traces.append(trace)
        return torch.stack(traces).flatten(0, 1), batch.targets.flatten(0, 1)

    @property
    def simple_scoring(self) -> Metric:
        """The metric on single steps."""
        return Metric(self.scoring.name, self.scoring.higher_is_better, _of_rows)

    def baselines(self, splits: Splits | None = None) -> dict[str, float]:
        """The metric of `constant` and `linear`."""
        scores = super().baselines(splits)
        return {name: value for name, value in scores.items() if name != "nearest_neighbour"}
