"""Metrics: one number per sample that says how good a prediction is; a result is their mean.

    ACCURACY            share of right answers
    ERROR_RATE          share of wrong answers
    MEAN_SQUARED_ERROR  mean of (prediction - target)^2
    NORMALISED_ERROR    sum_t (prediction - target)^2 / sum_t (target - mean_t target)^2, so that the
                        constant that fits best has 1

Predictions and targets are `[B]` or `[B, K]`, one answer for each sample, or time-major sequences `[T, B]`
or `[T, B, K]`, of which only the steps count that a mask `[T, B]` names (all without one). Numbers
for a sample are means over its steps and outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Metric:
    """A name, which way is better, and the number for each sample.

    >>> ACCURACY(torch.tensor([0, 1]), torch.tensor([0, 2])).tolist()
    [1.0, 0.0]
    """

    name: str
    higher_is_better: bool
    per_sample: Callable[[Tensor, Tensor, Tensor | None], Tensor]

    def __call__(self, predictions: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
        """The number for each sample, float64 `[B]`.

        Raises:
            ValueError: If predictions and targets differ in shape.
        """
        if predictions.shape != targets.shape:
            raise ValueError(
                f"{self.name}: got predictions of shape {tuple(predictions.shape)} for targets of shape "
                f"{tuple(targets.shape)}, wanted the same; for a target at every step choose a decoder that "
                "reads every step, for one target a decoder that gives one answer"
            )
        return self.per_sample(predictions, targets, mask)

    def mean(self, predictions: Tensor, targets: Tensor, mask: Tensor | None = None) -> float:
        """The mean over samples."""
        return float(self(predictions, targets, mask).mean())


def _means(values: Tensor, sequence: bool, mask: Tensor | None) -> Tensor:
    """Means `[B]` over the outputs, and over the steps of a sequence that count."""
    values = values.double()
    if not sequence:
        return values.flatten(1).mean(1) if values.dim() > 1 else values
    over_steps = values.flatten(2).mean(2) if values.dim() > 2 else values  # shape: [T, B]
    if mask is None:
        return over_steps.mean(0)
    return (over_steps * mask).sum(0) / mask.sum(0)


def _right(predictions: Tensor, targets: Tensor, mask: Tensor | None) -> Tensor:
    return _means(predictions == targets, targets.dim() > 1, mask)


def _wrong(predictions: Tensor, targets: Tensor, mask: Tensor | None) -> Tensor:
    return _means(predictions != targets, targets.dim() > 1, mask)


def _squared(predictions: Tensor, targets: Tensor, mask: Tensor | None) -> Tensor:
    error = (predictions.double() - targets.double()).square()
    return _means(error, targets.dim() > 2, mask)


def _normalised(predictions: Tensor, targets: Tensor, mask: Tensor | None) -> Tensor:
    if targets.dim() != 3:
        raise ValueError(
            f"normalised error: got targets of shape {tuple(targets.shape)}, wanted sequences [T, B, K]"
        )
    kept = torch.ones(targets.shape[:2]) if mask is None else mask
    weight = kept.double().unsqueeze(-1)  # shape: [T, B, 1]
    truth = targets.double()
    centre = (truth * weight).sum(0) / weight.sum(0)  # shape: [B, K]
    spread = ((truth - centre).square() * weight).sum((0, 2))
    return ((predictions.double() - truth).square() * weight).sum((0, 2)) / spread


ACCURACY = Metric("accuracy", True, _right)
ERROR_RATE = Metric("error", False, _wrong)
MEAN_SQUARED_ERROR = Metric("mse", False, _squared)
NORMALISED_ERROR = Metric("nmse", False, _normalised)
