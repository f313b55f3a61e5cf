"""Store and recall: keep one bit while others go by, and say it when asked.

A sequence has periods (12 of 200 ms). In each, one of two groups of input neurons fires: the bit of that
period, 0 or 1. A third group fires while a bit is to be stored, a fourth while the stored one is to be said;
the groups of the bits are then silent. Other neurons are silent, up to a noise rate. The answer is the
output of the recall's period; its error is the share of recalls that are answered wrong.

    commands "repeated": a store follows with probability p per period, then a recall with probability p per
                         period, then the next store, ...; at least one pair in each sequence
    commands "once":     one store in the first half, one recall in the second

A sequence is `[T, groups x population]` spikes; targets are the stored bit at every step of a recall.

Bellec, Salaj, Subramoney, Legenstein & Maass, "Long short-term memory and learning-to-learn in networks of
spiking neurons", NeurIPS 2018 (repeated; 25 neurons a group, learnt at an error below .05); the form "once"
with 5 neurons a group is that of Norse, `norse.dataset.memory`, https://github.com/norse/norse.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from rheobase.config import option
from rheobase.tasks.dataset import Batch
from rheobase.tasks.generated import GeneratedTask
from rheobase.tasks.metrics import ERROR_RATE, Metric
from rheobase.tasks.streams import Stream

_GROUPS = 4  # bit 0, bit 1, store, recall


class StoreRecall(GeneratedTask):
    """Keep a bit through distractors until asked for it.

    >>> batch = StoreRecall(periods=4).splits().train.batch(torch.tensor([0]))
    >>> batch.inputs.shape, batch.targets.shape
    (torch.Size([1, 800, 100]), torch.Size([800, 1]))
    """

    scoring: ClassVar[Metric] = ERROR_RATE
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {
            "encoder": {"name": "sequence"},
            "network": {
                "name": "recurrent",
                "hidden": [10],
                "adaptive": 10,
                "adaptive_neuron": {
                    "name": "adaptive_lif",
                    "preset": "lsnn",
                    "tau_a": 1200.0,
                    "beta": 1.7,
                    "refractory": 3.0,
                },
                "weights": "normal",
            },
            "neuron": {"name": "adaptive_lif", "preset": "lsnn", "beta": 0.0, "refractory": 3.0},
            "readout": {"name": "leaky_integrator", "tau_m": 50.0},
            "loss": {"name": "cross_entropy_mean"},
            "decoder": {"name": "membrane_trace", "block": 200},
            "training": {
                "steps": 200,
                "batch_size": 64,
                "learning_rate": 2e-2,
                "schedule": "cosine",
                "clip_norm": 1.0,
                "log_every": 5,
            },
        },
    }
    classes: ClassVar[tuple[str, ...]] = ("0", "1")
    fitted_on: ClassVar[int] = 500

    test_samples: int = option(default=500, at_least=10, help="samples to test on")
    commands: Literal["repeated", "once"] = option(
        default="repeated", help="how stores and recalls are drawn"
    )
    probability: float = option(
        default=1 / 6, above=0, at_most=1, help="of a store or recall in a period (repeated)"
    )
    periods: int = option(default=12, at_least=2, help="periods of a sequence")
    period: float = option(default=200.0, unit="ms", above=0, help="duration of a period")
    population: int = option(default=25, at_least=1, help="neurons of each of the four groups")
    rate: float = option(default=50.0, unit="Hz", above=0, help="firing rate of an active group")
    noise: float = option(default=0.0, unit="Hz", at_least=0, help="firing rate of the other groups")
    dt: float = option(default=1.0, unit="ms", above=0, help="duration of a time step")

    def validate(self) -> None:
        check_rate(self, max(self.rate, self.noise))

    @property
    def period_steps(self) -> int:
        """Time steps of a period."""
        return max(1, round(self.period / self.dt))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Spikes of all groups."""
        return (self.periods * self.period_steps, _GROUPS * self.population)

    @property
    def outputs(self) -> int:
        """One per bit."""
        return 2

    @property
    def chance(self) -> float:
        """The error of a blind guess."""
        return 0.5

    def plan(self, stream: Stream, indices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For each period: the groups that fire `[P, B, 4]`, whether it is a recall, and the bit stored."""
        bits = stream.part("bits").whole(indices, self.periods, 2).t()  # shape: [P, B]
        once = self.commands == "once"
        stores, recalls = (self._once if once else self._repeated)(stream.part("commands"), indices)
        held, kept = torch.zeros_like(bits), torch.zeros_like(bits[0])
        for p in range(self.periods):
            kept = torch.where(stores[p], bits[p], kept)
            held[p] = kept
        shown = ~recalls
        active = torch.stack([(bits == 0) & shown, (bits == 1) & shown, stores, recalls], -1)
        return active.float(), recalls, held

    def _once(self, stream: Stream, indices: Tensor) -> tuple[Tensor, Tensor]:
        half = self.periods // 2
        store = stream.part("store").whole(indices, 1, half)[:, 0]
        recall = half + stream.part("recall").whole(indices, 1, self.periods - half)[:, 0]
        return tuple(functional.one_hot(x, self.periods).bool().t() for x in (store, recall))  # type: ignore[return-value]

    def _repeated(self, stream: Stream, indices: Tensor) -> tuple[Tensor, Tensor]:
        happens = stream.uniform(indices, self.periods).t() < self.probability  # shape: [P, B]
        stores, recalls = torch.zeros_like(happens), torch.zeros_like(happens)
        holding = torch.zeros(len(indices), dtype=torch.bool)
        asked = torch.zeros_like(holding)
        for p in range(self.periods):
            # There must be one pair: the last two periods make it, if none came by itself.
            pressed = ~asked & (p >= self.periods - 2 + holding.long())
            now = happens[p] | pressed
            # No store in the last period: nothing could ask for it.
            stores[p] = ~holding & now & (p < self.periods - 1)
            recalls[p] = holding & now
            holding = (holding | stores[p]) & ~recalls[p]
            asked |= recalls[p]
        return stores, recalls

    def draw(self, stream: Stream, indices: Tensor) -> Batch:
        active, recalls, held = self.plan(stream, indices)
        share = (self.noise + (self.rate - self.noise) * active) * self.dt / 1000.0
        steps = self.period_steps
        spikes = stream.part("spikes").spikes(indices, share, steps, self.population)
        targets, mask = held.repeat_interleave(steps, 0), recalls.repeat_interleave(steps, 0)
        return Batch(spikes.transpose(0, 1), targets, mask)

    def simple_view(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """For each recall, the spike counts of the groups in every period, the latest last."""
        samples = len(batch.inputs)
        shape = (samples, self.periods, self.period_steps, _GROUPS, self.population)
        counts = batch.inputs.reshape(shape).sum((2, 4))  # shape: [B, P, 4]
        starts = slice(0, None, self.period_steps)
        mask = batch.mask
        assert mask is not None
        period, sample = mask[starts].nonzero(as_tuple=True)
        padded = functional.pad(counts, (0, 0, self.periods, 0))
        before = period[:, None] + 1 + torch.arange(self.periods)  # the periods up to the recall's
        return padded[sample[:, None], before].flatten(1), batch.targets[starts][period, sample]


def check_rate(task: Any, rate: float) -> None:
    """Refuse a rate of more than one spike per step of the task's `dt`."""
    if rate * task.dt > 1000.0:
        raise ValueError(
            f"{type(task).__name__}.rate: got {rate:g} Hz with dt {task.dt:g} ms, which is more than one "
            f"spike per step; wanted at most {1000.0 / task.dt:g} Hz, or a shorter dt"
        )
