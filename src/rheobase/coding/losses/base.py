"""What a loss is: how far the output sequence is from the target, as one number with a gradient.

Shapes: T time steps, B samples, C classes. Each loss is a mean over the batch.

Those that need of a signal's course no more than one number per neuron (a count, a maximum, the last
value, the time of the first spike) say so (`Loss.reduction`), and can be had from that alone
(`Loss.from_reduced`).

Which steps count is said by a mask `[T, B]`; without one, all do. Losses that do not compare step by step
take none. Not modelled: class weights, label smoothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor

from rheobase.coding.decoders import check_signal
from rheobase.config import Config
from rheobase.kernels.reduction import Reduction
from rheobase.kernels.settled import settled


class Loss(Config, ABC):
    """Compares the output layer's signal with the targets."""

    room: ClassVar[str] = "rheobase.coding.losses"
    signal: ClassVar[Literal["spikes", "v"]]  # what of the output layer is compared
    labels_only: ClassVar[bool] = True  # targets are labels [B]; otherwise also values [B, C] or [T, B, C]
    trains_only: ClassVar[bool] = False  # targets are trains [T, B, C], never labels
    stepwise: ClassVar[bool] = False  # compares step by step: takes a mask, and labels [T, B]

    def __call__(self, signal: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss, a scalar, of the output `signal` `[T, B, C]` for labels `target`, integers `[B]` below C.

        Raises `ValueError` for other shapes, labels out of range, values where only labels will do, and a
        `mask` (bool `[T, B]`, the steps that count) where the loss does not compare step by step.
        """
        target = self._checked(signal, target)
        if mask is None:
            return self._loss(signal, target)
        self._check_mask(signal, mask)
        return self._masked(signal, target, mask)

    @property
    def reduction(self) -> Reduction | None:
        """All that the loss needs of the signal over time; None if it needs every step."""
        return None

    def from_reduced(self, reduced: Tensor, target: Tensor) -> Tensor:
        """The loss of a signal of which `reduced` `[B, C]` is left: the same number as from the whole.

        Raises `ValueError` for a loss that needs every step, and for targets as the loss itself does.
        """
        return self._reduced(reduced, self._checked(reduced[None], target))

    def of_members(self, reduced: Tensor, target: Tensor) -> Tensor:
        """`from_reduced` of each network of a population: `[P]` from `[P, B, C]`, to the same bits."""
        return self._of_members(reduced, self._checked(reduced[:1], target))

    def _of_members(self, reduced: Tensor, target: Tensor) -> Tensor:
        """`of_members` of what was checked."""
        return torch.stack([self._reduced(one, target) for one in reduced.contiguous()])

    def _reduced(self, reduced: Tensor, target: Tensor) -> Tensor:
        """`from_reduced` of what was checked; losses with a `reduction` have their own."""
        raise ValueError(f"{type(self).__name__}: got a reduced signal, wanted all steps [T, B, C]")

    @abstractmethod
    def _loss(self, signal: Tensor, target: Tensor) -> Tensor:
        """The loss of a signal and a target (int64 if labels) that were checked."""

    def _masked(self, signal: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """`_loss` over the steps that count; losses that are `stepwise` have their own."""
        raise ValueError(
            f"{type(self).__name__}: got a mask of the steps that count, and does not compare step by step; "
            "choose cross_entropy_mean for classes, or mean_squared_error for values"
        )

    def _checked(self, signal: Tensor, target: Tensor) -> Tensor:
        """The target (int64 if labels), if it fits the signal."""
        check_signal(signal, type(self).__name__)
        if target.is_floating_point() or target.dtype == torch.bool:
            self._check_values(signal, target)
            return target
        self._check_labels(signal, target)
        return target.long()

    def _check_mask(self, signal: Tensor, mask: Tensor) -> None:
        who = type(self).__name__
        if mask.dtype != torch.bool or mask.shape != signal.shape[:2]:
            raise ValueError(
                f"{who}: got a mask of {mask.dtype} and shape {tuple(mask.shape)} for a signal of shape "
                f"{tuple(signal.shape)}, wanted torch.bool of shape {tuple(signal.shape[:2])}"
            )

    def _check_labels(self, signal: Tensor, target: Tensor) -> None:
        who, (steps, batch, classes) = type(self).__name__, signal.shape
        if self.trains_only:
            raise ValueError(
                f"{who}: got labels, wanted spike trains of shape {tuple(signal.shape)}, one value at each "
                "step; choose a task whose targets are spike trains, or another loss"
            )
        if target.shape != (batch,) and not (self.stepwise and target.shape == (steps, batch)):
            each = f", or [{steps}, {batch}], one for each step" if self.stepwise else ""
            raise ValueError(
                f"{who}: got labels of shape {tuple(target.shape)} for a signal of shape "
                f"{tuple(signal.shape)}, wanted [{batch}], one for each sample{each}"
            )
        if torch.compiler.is_compiling():  # looking at values would break the graph
            return
        if settled(_has_labels_beyond, target, classes):
            low, high = (int(extreme) for extreme in target.aminmax())
            raise ValueError(
                f"{who}: got labels from {low} to {high}, wanted 0 to {classes - 1}; the network has "
                f"{classes} outputs, it needs one for each class"
            )

    def _check_values(self, signal: Tensor, target: Tensor) -> None:
        who, shape = type(self).__name__, tuple(target.shape)
        if self.labels_only or target.dtype == torch.bool:
            raise ValueError(
                f"{who}: got targets of {target.dtype}, wanted integer labels [B]; "
                "for values choose mean_squared_error"
            )
        shapes = (signal.shape,) if self.trains_only else (signal.shape, signal.shape[1:])
        if target.shape not in shapes:
            same = "" if self.trains_only else f"{tuple(signal.shape[1:])} (the same at every step) or "
            raise ValueError(
                f"{who}: got targets of shape {shape} for a signal of shape {tuple(signal.shape)}, wanted "
                f"{same}{tuple(signal.shape)}"
            )


def _has_labels_beyond(labels: Tensor, classes: int) -> bool:
    low, high = (int(extreme) for extreme in labels.aminmax())
    return low < 0 or high >= classes
