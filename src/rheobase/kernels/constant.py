"""An input that does not change in time, without T copies of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Constant:
    """The same `value` at each of `steps` time steps.

    Layers that act on each time step alone are applied once; kernels read the one copy. It stands
    wherever a sequence `[T, B, ...]` may.

    Args:
        value: Tensor, shape `[B, ...]`.
        steps: Number of time steps T, at least 1.

    >>> Constant(torch.zeros(4, 2), steps=25).shape
    (25, 4, 2)
    """

    value: Tensor
    steps: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"Constant.steps: got {self.steps}, wanted at least 1 time step")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape `(T, B, ...)` of the sequence it stands for."""
        return (self.steps, *self.value.shape)

    @property
    def dtype(self) -> torch.dtype:
        """The value's dtype."""
        return self.value.dtype

    @property
    def device(self) -> torch.device:
        """The value's device."""
        return self.value.device

    def map(self, function: Callable[[Tensor], Tensor]) -> Constant:
        """`function` applied once to the value, standing for all time steps."""
        return Constant(function(self.value), self.steps)

    def expand(self) -> Tensor:
        """The sequence as a tensor `[T, B, ...]`: a view with stride 0 in time."""
        return self.value.expand(self.steps, *self.value.shape)


# torch.compile and torch.export then take it as an argument of a network.
torch.export.register_dataclass(Constant, serialized_type_name="rheobase.Constant")
