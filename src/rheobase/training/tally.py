"""What an epoch adds up: loss, hits, predicted classes, spikes. It is part of a checkpoint.

Sums stay in tensors, so that a training step never waits for a number. Spikes are counted in the steps
that are logged only (`log_every`), since reading them all takes longer than the rest of the bookkeeping.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rheobase.training.objective import to_hertz


class Tally:
    """Sums over the samples seen so far in an epoch.

    >>> tally = Tally(classes=2)
    >>> tally.add(torch.tensor(3.0), torch.tensor([0, 1]), torch.tensor([1, 1]))
    >>> tally.loss, tally.accuracy
    (3.0, 0.5)
    """

    def __init__(self, classes: int) -> None:
        self.samples = torch.zeros((), dtype=torch.int64)
        self.total = torch.zeros((), dtype=torch.float64)  # loss x samples
        self.hits = torch.zeros((), dtype=torch.int64)
        self.predicted = torch.zeros(classes, dtype=torch.int64)
        self.watched = torch.zeros((), dtype=torch.int64)  # samples x time steps whose spikes were counted
        self.spikes: dict[str, Tensor] = {}  # float64 [N] per layer

    def add(self, loss: Tensor, predictions: Tensor, targets: Tensor) -> None:
        """Add a batch: its mean loss, its predictions `[B]` and targets `[B]`."""
        size = len(targets)
        self.samples += size
        self.total += loss.detach() * size
        self.hits += (predictions == targets).sum()
        self.predicted += torch.bincount(predictions, minlength=len(self.predicted))

    def add_spikes(self, counts: Mapping[str, Tensor], sample_steps: int) -> None:
        """Add the spikes `[N]` of each layer over `sample_steps` (samples x time steps)."""
        self.watched += sample_steps
        for layer, count in counts.items():
            before = self.spikes.get(layer)
            self.spikes[layer] = count.double() if before is None else before + count

    @property
    def loss(self) -> float:
        """The mean loss per sample."""
        return float(self.total / self.samples)

    @property
    def accuracy(self) -> float:
        """The share of samples predicted right."""
        return float(self.hits / self.samples)

    def rates(self, dt: float) -> dict[str, float]:
        """The mean firing rate of each layer in Hz."""
        return {n: to_hertz(float(s.mean() / self.watched), dt) for n, s in self.spikes.items()}

    def state(self) -> dict[str, Tensor]:
        """All sums, as tensors."""
        own = {n: getattr(self, n) for n in ("samples", "total", "hits", "predicted", "watched")}
        return own | {f"spikes/{layer}": count for layer, count in self.spikes.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Set what `state` returned."""
        for name, value in state.items():
            group, _, layer = name.partition("/")
            if layer:
                self.spikes[layer] = value
            else:
                setattr(self, group, value)
