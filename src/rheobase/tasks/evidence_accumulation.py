"""Evidence accumulation: cues come on the left and on the right; later, say where there were more.

Seven cues of 100 ms, 50 ms apart, each left or right; a delay; then a recall signal, during which the output
must name the side that had more cues. Four groups of input neurons: left and right fire during their cues,
the recall group during the recall, the last one always (noise). All fire at random (Poisson).

In a sequence, one side is the likelier, `bias` of the time; the answer is the side that did have more. The
memory that is needed is a count, and lasts over the delay.

Bellec, Scherr, Subramoney, Hajek, Salaj, Legenstein & Maass, "A solution to the learning dilemma for
recurrent networks of spiking neurons", Nature Communications 11 (2020); the task is after Morcos & Harvey,
Nature Neuroscience 19 (2016). Not modelled: an input rate that differs between the groups of cues.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from rheobase.config import option
from rheobase.tasks.dataset import Batch
from rheobase.tasks.generated import GeneratedTask
from rheobase.tasks.metrics import ERROR_RATE, Metric
from rheobase.tasks.store_recall import check_rate
from rheobase.tasks.streams import Stream


class EvidenceAccumulation(GeneratedTask):
    """Say which side had more cues, after a delay.

    >>> task = EvidenceAccumulation()
    >>> task.input_shape, task.classes
    ((2250, 40), ('left', 'right'))
    """

    scoring: ClassVar[Metric] = ERROR_RATE
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {
            "encoder": {"name": "sequence"},
            "network": {
                "name": "recurrent",
                "hidden": [50],
                "adaptive": 50,
                "adaptive_neuron": {
                    "name": "adaptive_lif",
                    "preset": "eprop",
                    "threshold": 0.6,
                    "tau_a": 2000.0,
                    "beta": 0.0174,
                    "refractory": 5.0,
                },
                "weights": "normal",
            },
            "neuron": {"name": "lif", "preset": "eprop", "threshold": 0.6, "refractory": 5.0},
            "readout": {"name": "leaky_integrator"},
            "loss": {"name": "cross_entropy_mean"},
            "decoder": {"name": "membrane_mean", "window": 150},
            "training": {
                "steps": 150,
                "batch_size": 64,
                "learning_rate": 5e-3,
                "schedule": "cosine",
                "clip_norm": 1.0,
                "log_every": 5,
            },
        },
        # The same number of neurons, none of which adapts: for comparison.
        "lif": {
            "encoder": {"name": "sequence"},
            "network": {"name": "recurrent", "hidden": [100], "weights": "normal"},
            "neuron": {"name": "lif", "preset": "eprop", "threshold": 0.6, "refractory": 5.0},
            "readout": {"name": "leaky_integrator"},
            "loss": {"name": "cross_entropy_mean"},
            "decoder": {"name": "membrane_mean", "window": 150},
            "training": {
                "steps": 150,
                "batch_size": 64,
                "learning_rate": 5e-3,
                "schedule": "cosine",
                "clip_norm": 1.0,
                "log_every": 5,
            },
        },
    }
    classes: ClassVar[tuple[str, ...]] = ("left", "right")
    fitted_on: ClassVar[int] = 1000

    test_samples: int = option(default=500, at_least=10, help="samples to test on")
    cues: int = option(default=7, at_least=1, help="cues of a sequence; an odd number")
    bias: float = option(
        default=0.7, at_least=0.5, at_most=1, help="chance that a cue is on the likelier side"
    )
    cue: float = option(default=100.0, unit="ms", above=0, help="duration of a cue")
    pause: float = option(default=50.0, unit="ms", at_least=0, help="time behind each cue")
    delay: float = option(
        default=1050.0, unit="ms", at_least=0, help="time from the last pause to the recall"
    )
    recall: float = option(default=150.0, unit="ms", above=0, help="duration of the recall")
    population: int = option(default=10, at_least=1, help="neurons of each of the four groups")
    rate: float = option(default=40.0, unit="Hz", above=0, help="firing rate of an active group")
    noise: float = option(default=10.0, unit="Hz", at_least=0, help="firing rate of the noise group")
    dt: float = option(default=1.0, unit="ms", above=0, help="duration of a time step")

    def validate(self) -> None:
        check_rate(self, max(self.rate, self.noise))
        if self.cues % 2 == 0:
            raise ValueError(
                f"EvidenceAccumulation.cues: got {self.cues}, wanted an odd number: an even one may be a draw"
            )

    def _steps(self, duration: float) -> int:
        return round(duration / self.dt)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Spikes of all groups."""
        cues = self.cues * (self._steps(self.cue) + self._steps(self.pause))
        return (cues + self._steps(self.delay) + self._steps(self.recall), 4 * self.population)

    @property
    def outputs(self) -> int:
        """One per side."""
        return 2

    @property
    def chance(self) -> float:
        """The error of a blind guess."""
        return 0.5

    def draw(self, stream: Stream, indices: Tensor) -> Batch:
        side = stream.part("side").whole(indices, 1, 2)  # the likelier one, shape: [B, 1]
        likely = stream.part("cues").uniform(indices, self.cues) < self.bias
        right = torch.where(likely, side, 1 - side).t()  # shape: [cues, B]
        targets = (right.sum(0) * 2 > self.cues).long()
        steps, cue, asked = self.input_shape[0], self._steps(self.cue), self._steps(self.recall)
        active = torch.zeros(steps, len(indices), 4)
        for k in range(self.cues):
            start = k * (cue + self._steps(self.pause))
            active[start : start + cue, :, 0] = 1.0 - right[k]
            active[start : start + cue, :, 1] = right[k].float()
        active[steps - asked :, :, 2] = 1.0
        share = active * self.rate
        share[..., 3] = self.noise
        spikes = stream.part("spikes").spikes(indices, share * self.dt / 1000.0, copies=self.population)
        mask = active[..., 2] > 0
        return Batch(spikes.transpose(0, 1), targets, mask)

    def simple_view(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The spike counts of the groups over windows of a cue and its pause."""
        width = self._steps(self.cue) + self._steps(self.pause)
        groups = batch.inputs.reshape(*batch.inputs.shape[:2], 4, self.population).sum(3)  # shape: [B, T, 4]
        windows = torch.split(groups, width, 1)
        return torch.stack([w.sum(1) for w in windows], 1).flatten(1), batch.targets
