"""Recurrent connections in the forms that the kernels read (see `rheobase.kernels.recurrent_source`).

Connections of one and the same delay are a matrix. Others are taps: for each neuron, the weights of
the connections that exist, and where in a window of past values each finds its source's. Values of one
neuron lie side by side for a vector of samples; one step further back is `size * lanes` further down.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from rheobase.kernels.vectors import lanes

Way = Literal["dense", "taps"]


@dataclass(frozen=True)
class Connections:
    """Weights `[K, M, N]` (or `[M, N]`, for K = 1) from N neurons to M inputs, with their delays in steps.

    Where there is a `mask` `[M, N]` (and no delays), only weights in it count; the others are zero.
    """

    given: Tensor
    delay: Tensor | None
    none: bool = False  # whether the kernels see no connections at all
    mask: Tensor | None = None

    @classmethod
    def of(cls, weight: Tensor, delay: Tensor | None, mask: Tensor | None = None) -> Connections:
        """From weights and delays of shape `[K, M, N]` or `[M, N]`."""
        weight = weight.detach()
        if delay is None:
            return cls(weight.sum(0) if weight.dim() == 3 else weight, None, mask=mask)
        return cls(weight, delay.reshape(weight.shape if weight.dim() == 3 else (1, *weight.shape)))

    @functools.cached_property
    def weight(self) -> Tensor:
        """The weights, `[K, M, N]`."""
        return self.given if self.given.dim() == 3 else self.given[None]

    @property
    def columns(self) -> int:
        """The number of inputs M."""
        return self.given.shape[-2]

    def delays(self) -> list[int]:
        """The delays that occur."""
        return [1] if self.delay is None else self._occurring

    @functools.cached_property
    def _occurring(self) -> list[int]:
        assert self.delay is not None
        return [int(d) for d in np.flatnonzero(np.bincount(self.delay.numpy().reshape(-1)))]

    @property
    def way(self) -> Way:
        """The kernels that serve."""
        return "dense" if len(self.delays()) == 1 and not self.none else "taps"

    def cut(self) -> Connections:
        """Of the same shape and delays, with all weights zero."""
        delay = torch.ones_like(self.weight, dtype=torch.int64) if self.delay is None else self.delay
        return Connections(torch.zeros_like(self.weight), delay, none=True)

    def forward(self) -> list[Any]:
        """Taps for the forward kernel, to each of the M inputs: weights, offsets and ranges."""
        return self._taps(self.weight.permute(1, 0, 2), (1, 0, 2), self.weight.shape[2])

    def backward(self) -> list[Any]:
        """Those for the backward kernel, from each of the N neurons."""
        return self._taps(self.weight.permute(2, 0, 1), (2, 0, 1), self.weight.shape[1])

    def whole(self) -> Tensor:
        """All weights between two neurons together, `[M, N]`, whatever the mask."""
        return self.given if self.given.dim() == 2 else self.given.sum(0)

    def _taps(self, weight: Tensor, order: tuple[int, ...], size: int) -> list[Any]:
        """Weights, offsets, and the range of each of the first axis's neurons; the others count `size`."""
        assert self.delay is not None
        values = weight.contiguous().numpy()
        here, tap, other = np.nonzero(values)
        steps = self.delay.permute(*order).contiguous().numpy()[here, tap, other]
        offsets = (other - steps * size) * lanes(values.itemsize)
        starts = np.zeros(len(values) + 1, np.int64)
        np.cumsum(np.bincount(here, minlength=len(values)), out=starts[1:])
        return [values[here, tap, other], offsets.astype(np.int32), starts]


def weight_gradient(by_current: Tensor, emissions: Tensor, given: Connections, product: Any) -> Tensor:
    """Derivatives `[K, M, N]` by the weights, or `[M, N]` if those of all K are the same.

    Args:
        by_current: Derivatives by the inputs, `[T, B, M]`.
        emissions: What was emitted, `[D + T, B, N]`.
        given: The connections.
        product: (g `[R, M]`, x `[R, N]`) -> g^T x.
    """
    steps, depth = by_current.shape[0], emissions.shape[0] - by_current.shape[0]
    flat = by_current.flatten(0, 1)
    total: Tensor | None = None
    for d in given.delays():
        by = product(flat, emissions[depth - d : depth - d + steps].flatten(0, 1))
        if given.way == "dense":
            whole: Tensor = by if given.mask is None else by * given.mask
            return whole
        assert given.delay is not None
        part = torch.where(given.delay == d, by, 0.0)
        total = part if total is None else total.add_(part)
    assert total is not None
    return total


def history_gradient(by_current: Tensor, given: Connections, depth: int) -> Tensor:
    """Derivatives `[D, B, N]` by what was emitted in the D steps before the first."""
    weight = given.weight if given.mask is None else given.weight * given.mask
    total = by_current.new_zeros(depth, by_current.shape[1], weight.shape[2])
    for d in given.delays():
        part = weight if given.delay is None else torch.where(given.delay == d, weight, 0.0)
        reached = by_current[:d]
        total[depth - d : depth - d + len(reached)] += reached @ part.sum(0)
    return total
