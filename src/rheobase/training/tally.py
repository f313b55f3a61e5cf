"""What an epoch adds up: losses, the metric, predicted classes, spikes. It is part of a checkpoint.

A step only appends; sums are made when they are asked for, so that a step never waits for a number. Spikes
are counted in the steps that are logged only (`log_every`), since reading them all takes longer than the
rest of the bookkeeping.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rheobase.training.objective import to_hertz


class Tally:
    """The samples seen so far in an epoch; `classes` is None for a task without classes.

    >>> tally = Tally(classes=2)
    >>> tally.add(torch.tensor(3.0), torch.tensor([0.0, 1.0]), torch.tensor([0, 1]))
    >>> tally.loss, tally.value
    (3.0, 0.5)
    """

    def __init__(self, classes: int | None) -> None:
        self.watched = 0  # samples x time steps whose spikes were counted
        self.spikes: dict[str, Tensor] = {}  # float64 [N] per layer
        self._classes = classes
        self._losses: list[Tensor] = []  # one number per batch
        self._scores: list[Tensor] = []  # the metric of each sample, float64 [B] per batch
        self._predictions: list[Tensor] = []  # predicted classes, int64 [...] per batch
        self._dependences: list[Tensor] = []  # of logged steps, a scalar each

    def add(self, loss: Tensor, scores: Tensor, predictions: Tensor) -> None:
        """Add a batch: its mean loss, the metric of each sample `[B]`, and its predictions."""
        self._losses.append(loss.detach())
        self._scores.append(scores.double())
        if self._classes is not None:
            self._predictions.append(predictions.flatten())

    def add_spikes(self, counts: Mapping[str, Tensor], sample_steps: int) -> None:
        """Add the spikes `[N]` of each layer over `sample_steps` (samples x time steps)."""
        self.watched += sample_steps
        for layer, count in counts.items():
            before = self.spikes.get(layer)
            self.spikes[layer] = count.double() if before is None else before + count

    def add_dependence(self, dependence: Tensor) -> None:
        """Add how much answers depended on the input in a batch."""
        self._dependences.append(dependence)

    @property
    def dependence(self) -> float | None:
        """How much answers depended on the input, at most; None where that was never to be seen."""
        return float(torch.stack(self._dependences).max()) if self._dependences else None

    @property
    def loss(self) -> float:
        """The mean loss per sample."""
        sizes = torch.tensor([len(scores) for scores in self._scores], dtype=torch.float64)
        return float((torch.stack(self._losses) * sizes).sum() / sizes.sum())

    @property
    def value(self) -> float:
        """The metric: its mean over the samples."""
        return float(torch.cat(self._scores).mean())

    def predicted(self) -> Tensor | None:
        """The share of predictions of each class, `[C]`; None without classes."""
        if self._classes is None:
            return None
        predictions = torch.cat(self._predictions)
        return torch.bincount(predictions, minlength=self._classes) / len(predictions)

    def rates(self, dt: float) -> dict[str, float]:
        """The mean firing rate of each layer in Hz."""
        return {n: to_hertz(float(s.mean()) / self.watched, dt) for n, s in self.spikes.items()}

    def state(self) -> dict[str, Tensor]:
        """All of it, as tensors."""
        if not self._losses:
            return {}
        predictions = {"predictions": torch.cat(self._predictions)} if self._predictions else {}
        dependences = {"dependences": torch.stack(self._dependences)} if self._dependences else {}
        return {
            "losses": torch.stack(self._losses),
            "scores": torch.cat(self._scores),
            "sizes": torch.tensor([len(scores) for scores in self._scores]),
            "watched": torch.tensor(self.watched),
            **predictions,
            **dependences,
            **{f"spikes/{layer}": count for layer, count in self.spikes.items()},
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Set what `state` returned."""
        if not state:
            return
        sizes = state["sizes"].tolist()
        self.watched = int(state["watched"])
        self._losses = list(torch.unbind(state["losses"]))
        self._scores = list(torch.split_with_sizes(state["scores"], sizes))
        self._predictions = [state["predictions"]] if "predictions" in state else []
        self._dependences = list(torch.unbind(state["dependences"])) if "dependences" in state else []
        self.spikes = {k.removeprefix("spikes/"): v for k, v in state.items() if k.startswith("spikes/")}
