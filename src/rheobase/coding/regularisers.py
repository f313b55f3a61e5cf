"""Regularisers: a price on how much a layer fires, added to the loss.

Shapes: T time steps, B samples, `...` the neurons of one layer (N in all). S is the spikes; r_n, in Hz, is
the mean rate of neuron n over the batch and time, r_n = 1000 mean_{t,b} S / dt, with dt in ms.

    RateLower    strength mean_n max(0, rate - r_n)^2
    RateUpper    strength mean_n max(0, r_n - rate)^2
    L1Activity   strength sum_{t,b,n} S
    L2Activity   strength mean_n (sum_{t,b} S)^2

All are linear in the spikes up to an outer function whose slope is not zero where the price is not, so a
layer that is silent below `RateLower` gets a gradient through the surrogate of its neurons. A neuron so far
below its threshold that the surrogate itself is zero there stays silent: no price on spikes can reach it.

Zenke & Vogels 2021, Neural Computation 33, "The remarkable robustness of surrogate gradient learning ..."
(bounds; there on spike counts), https://doi.org/10.1162/neco_a_01367; SpyTorch tutorial 3 (L1, L2),
https://github.com/fzenke/spytorch
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from rheobase.config import Config, option


class Regulariser(Config, ABC):
    """A price on the spikes of one layer."""

    room: ClassVar[str] = "rheobase.coding.regularisers"

    def __call__(self, spikes: Tensor) -> Tensor:
        """The price, a scalar, of a layer's spikes `[T, B, ...]`; `ValueError` for any other shape."""
        if spikes.dim() < 3 or spikes.numel() == 0 or not spikes.is_floating_point():
            raise ValueError(
                f"{type(self).__name__}: got spikes of shape {tuple(spikes.shape)} and {spikes.dtype}, "
                "wanted floating point [T, B, ...] (time, samples, neurons) with nothing of size 0"
            )
        return self._price(spikes)

    @abstractmethod
    def _price(self, spikes: Tensor) -> Tensor:
        """The price of spikes that were checked."""


def mean_rates(spikes: Tensor, dt: float) -> Tensor:
    """The mean firing rate of each neuron in Hz, `[...]`, from spikes `[T, B, ...]` in steps of `dt` ms.

    >>> import torch
    >>> mean_rates(torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]]]), dt=2.0)
    tensor([250.,   0.])
    """
    return spikes.mean((0, 1)) * (1000.0 / dt)


class RateLower(Regulariser):
    """Neurons that fire below `rate`, on average over batch and time, pay for it.

    >>> import torch
    >>> RateLower(rate=10.0, strength=0.5)(torch.zeros(100, 2, 3))  # 0.5 x (10 Hz)^2
    tensor(50.)
    """

    rate: float = option(default=1.0, unit="Hz", above=0, help="lowest mean firing rate that costs nothing")
    strength: float = option(default=1e-3, unit="1/Hz^2", at_least=0, help="factor of the price")
    dt: float = option(default=1.0, unit="ms", above=0, help="duration of a time step")

    def validate(self) -> None:
        if self.rate > 1000.0 / self.dt:
            raise ValueError(
                f"RateLower.rate: got {self.rate:g} Hz with dt {self.dt:g} ms, wanted at most "
                f"{1000.0 / self.dt:g} Hz, one spike per step"
            )

    def _price(self, spikes: Tensor) -> Tensor:
        return self.strength * (self.rate - mean_rates(spikes, self.dt)).relu().square().mean()


class RateUpper(Regulariser):
    """Neurons that fire above `rate`, on average over batch and time, pay for it.

    >>> import torch
    >>> RateUpper(rate=100.0, strength=0.5)(torch.ones(100, 2, 3))  # 0.5 x (900 Hz)^2
    tensor(405000.)
    """

    rate: float = option(
        default=100.0, unit="Hz", at_least=0, help="highest mean firing rate that costs nothing"
    )
    strength: float = option(default=1e-5, unit="1/Hz^2", at_least=0, help="factor of the price")
    dt: float = option(default=1.0, unit="ms", above=0, help="duration of a time step")

    def _price(self, spikes: Tensor) -> Tensor:
        return self.strength * (mean_rates(spikes, self.dt) - self.rate).relu().square().mean()


class L1Activity(Regulariser):
    """Every spike of the batch costs `strength`. Grows with the batch, the steps and the neurons.

    >>> import torch
    >>> L1Activity(strength=0.5)(torch.ones(100, 2, 3))
    tensor(300.)
    """

    strength: float = option(default=1e-5, at_least=0, help="price of one spike")

    def _price(self, spikes: Tensor) -> Tensor:
        return self.strength * spikes.sum()


class L2Activity(Regulariser):
    """A neuron pays `strength` times the square of its spikes over batch and time; the mean over neurons.

    Busy neurons pay most. Grows with the square of the batch and of the steps.

    >>> import torch
    >>> L2Activity(strength=0.5)(torch.ones(100, 2, 3))
    tensor(20000.)
    """

    strength: float = option(default=1e-5, at_least=0, help="price factor of a neuron's squared spike count")

    def _price(self, spikes: Tensor) -> Tensor:
        return self.strength * spikes.sum((0, 1)).square().mean()
