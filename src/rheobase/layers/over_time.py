"""Applying what knows no time to every time step at once."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from rheobase.kernels.constant import Constant


def over_time(function: Callable[[Tensor], Tensor], x: Tensor | Constant) -> Tensor | Constant:
    """`function` of `[B, ...]`, applied to all steps of `[T, B, ...]` in one call (as `[T*B, ...]`)."""
    if isinstance(x, Constant):
        return x.map(function)
    y = function(x.flatten(0, 1))
    return y.reshape(x.shape[0], x.shape[1], *y.shape[1:])


class OverTime(nn.Module):
    """Any torch module, applied to each time step: convolution, pooling, batch norm, dropout, ...

    An input that does not change in time (`Constant`) passes through once. Note that a module with
    randomness or batch statistics then draws or counts once as well, not once per step.

    Args:
        module: A module on `[B, ...]`; several are chained.

    Shape: `[T, B, ...] -> [T, B, ...]`.

    >>> import torch
    >>> OverTime(nn.Conv2d(1, 4, 3))(torch.zeros(5, 2, 1, 8, 8)).shape
    torch.Size([5, 2, 4, 6, 6])
    """

    def __init__(self, *module: nn.Module) -> None:
        super().__init__()
        self.module = module[0] if len(module) == 1 else nn.Sequential(*module)

    def forward(self, x: Tensor | Constant) -> Tensor | Constant:
        """The module's result at each time step."""
        return over_time(self.module, x)
