"""Hinge on the spike counts n: (1/C) sum_{k != y} max(0, margin + n_k - n_y)."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor
from torch.nn import functional

from rheobase.coding.losses.base import Loss
from rheobase.config import option
from rheobase.kernels.reduction import Reduction


class CountHinge(Loss):
    """Hinge on the spike counts: the right neuron must lead every other one by `margin` spikes.

    (1/C) sum over the wrong classes of max(0, margin + n_wrong - n_right). Beyond the margin nothing pushes,
    so counts do not grow without end as they may under cross-entropy.

    Source: Weston & Watkins 1999, ESANN, "Support vector machines for multi-class pattern recognition"; the
    1/C is that of `torch.nn.functional.multi_margin_loss`.

    >>> import torch
    >>> CountHinge(margin=2.0)(torch.zeros(25, 1, 10), torch.tensor([3]))  # 9 of 10 classes, 2 spikes each
    tensor(1.8000)
    """

    signal: ClassVar[Literal["spikes", "v"]] = "spikes"

    margin: float = option(
        default=1.0, unit="spikes", above=0, help="lead in spikes that the right class must have"
    )

    @property
    def reduction(self) -> Reduction:
        return Reduction(self.signal, "sum")

    def _loss(self, signal: Tensor, target: Tensor) -> Tensor:
        return self._reduced(signal.sum(0), target)

    def _reduced(self, reduced: Tensor, target: Tensor) -> Tensor:
        return functional.multi_margin_loss(reduced, target, margin=self.margin)
