"""Mean squared error of the membrane: mean (v - target)^2, over the steps that count, or at the last."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor
from torch.nn import functional

from rheobase.coding.losses.base import Loss
from rheobase.config import option
from rheobase.kernels.reduction import Reduction


class MeanSquaredError(Loss):
    """Mean squared distance of the membrane from its target, over samples, outputs and the chosen steps.

    Targets are values `[B, C]` (the same at every step) or `[T, B, C]`, or labels `[B]`: `on` for the right
    class, `off` for the others. The mean is over steps too, so the value does not grow with T.

    >>> import torch
    >>> MeanSquaredError()(torch.zeros(25, 1, 10), torch.tensor([3]))  # one of ten classes is off by 1
    tensor(0.1000)
    """

    signal: ClassVar[Literal["spikes", "v"]] = "v"
    labels_only: ClassVar[bool] = False
    stepwise: ClassVar[bool] = True

    over: Literal["all", "last"] = option(
        default="all", help="compare at all steps, or at the last one alone"
    )
    on: float = option(default=1.0, help="target of the right class, where targets are labels")
    off: float = option(default=0.0, help="target of the other classes, where targets are labels")

    @property
    def reduction(self) -> Reduction | None:
        return Reduction(self.signal, "last") if self.over == "last" else None

    def _reduced(self, reduced: Tensor, target: Tensor) -> Tensor:
        return (reduced - self._values(reduced, target)).square().mean()

    def _loss(self, signal: Tensor, target: Tensor) -> Tensor:
        error = signal - self._values(signal, target)  # a target [B, C] broadcasts over time
        return (error if self.over == "all" else error[-1]).square().mean()

    def _masked(self, signal: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        if self.over == "last":
            raise ValueError(
                "MeanSquaredError: got a mask of the steps that count and over='last', wanted over='all'"
            )
        return (signal - self._values(signal, target))[mask].square().mean()

    def _values(self, signal: Tensor, target: Tensor) -> Tensor:
        if target.is_floating_point():
            return target
        right = functional.one_hot(target, signal.shape[-1]).to(signal.dtype)
        return self.off + (self.on - self.off) * right
