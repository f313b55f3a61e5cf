"""Losses on spike trains, filtered by a kernel k (see `rheobase.coding.spike_trains`).

    VanRossum         mean (k * (target - S))^2
    ResponseWindows   the same of errors: a spike outside its window, a window without one

The gradient of `VanRossum` with respect to spikes is exact, that of `ResponseWindows` is not, and says how.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from rheobase.coding.filters import Filter
from rheobase.coding.losses.base import Loss
from rheobase.coding.spike_trains import SUPERSPIKE, response_errors, van_rossum_cost
from rheobase.config import option


class _OfTrains(Loss):
    """What losses on target trains `[T, B, C]` share."""

    signal: ClassVar[Literal["spikes", "v"]] = "spikes"
    labels_only: ClassVar[bool] = False
    trains_only: ClassVar[bool] = True
    stepwise: ClassVar[bool] = True

    filter: Filter = option(default=SUPERSPIKE, help="what spikes are filtered with")
    dt: float = option(default=0.1, unit="ms", above=0, help="duration of a time step")


class VanRossum(_OfTrains):
    """The squared van Rossum distance to target spike trains, as a cost per time.

    An unmatched spike that stands alone costs 4 per second, as in the figures of SuperSpike's authors: a
    silent neuron costs 4 times the rate of its targets in Hz.
    Source: van Rossum, "A novel spike distance", Neural Computation 13 (2001).

    >>> target = torch.zeros(10_000, 1, 1)  # one second
    >>> target[5000] = 1.0
    >>> VanRossum()(torch.zeros_like(target), target)
    tensor(4.0271)
    """

    def _loss(self, signal: Tensor, target: Tensor) -> Tensor:
        return van_rossum_cost(signal, target, self.dt, self.filter).mean()

    def _masked(self, signal: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        return van_rossum_cost(signal, target, self.dt, self.filter, mask).mean()


class ResponseWindows(_OfTrains):
    """Filtered errors of neurons that shall fire within windows of time, at any moment, and not outside.

    Targets are 1 in a neuron's windows, else 0. An error is -1 at each spike outside, and +1 at the end of a
    window without a spike; what is minimised is the van Rossum cost of the errors. An error is taken to have
    a derivative of -1 by the spikes of its step, wherever it is: spikes are discouraged where they were
    wrong, and encouraged before the end of a window that was missed. With a `margin`, windows end earlier
    than the targets say: what is learnt then has time to spare where it is tested without (not in the paper).
    Source: the error signals of spiking XOR in Zenke & Ganguli, "SuperSpike", Neural Computation 30 (2018).

    >>> target = torch.zeros(100, 1, 1)
    >>> target[20:60] = 1.0
    >>> spikes = torch.zeros_like(target)
    >>> spikes[30] = 1.0
    >>> ResponseWindows()(spikes, target)
    tensor(0.)
    """

    margin: float = option(
        default=0.0, unit="ms", at_least=0, help="how much earlier than its target says a window ends"
    )

    def _loss(self, signal: Tensor, target: Tensor) -> Tensor:
        target = self._narrowed(target)
        errors = response_errors(signal.detach(), target) + (signal.detach() - signal)
        return van_rossum_cost(torch.zeros_like(errors), errors, self.dt, self.filter).mean()

    def _narrowed(self, target: Tensor) -> Tensor:
        """Targets whose windows end `margin` earlier."""
        late = round(self.margin / self.dt)
        if not late:
            return target
        inside = target > 0
        # A step stays if all steps up to `late` later are in a window too; after the sequence there is none.
        count = functional.pad(inside.cumsum(0), (0, 0, 0, 0, 1, 0))  # of the steps before each
        last = (torch.arange(len(target), device=target.device) + late + 1).clamp(max=len(target))
        kept = count[last] - count[:-1] == late + 1
        if int(_windows(kept)) != int(_windows(inside)):
            raise ValueError(
                f"ResponseWindows.margin: got {self.margin:g} ms, wanted less than the shortest window"
            )
        return target * kept

    def _masked(self, signal: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        raise ValueError(
            "ResponseWindows: got a mask of the steps that count, wanted none: windows say when to fire"
        )


def _windows(inside: Tensor) -> Tensor:
    """How many runs of true steps there are, bool `[T, B, N]`."""
    return inside[0].sum() + (inside[1:] & ~inside[:-1]).sum()
