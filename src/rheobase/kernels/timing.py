"""Spike-timing-dependent plasticity as numbers: what a spike does to a weight, given the spikes before it.

For a synapse with weight w from a presynaptic s(t) to a postsynaptic z(t), within the bounds low ... high,
u = (w - low) / (high - low), at each step t in this order:

    z(t) = 1    u += (1 - u)^m+  (x1 - silent) (A2+ + A3+ y2)     potentiation
    s(t) = 1    u -=      u^m-   y1            (A2- + A3- x2)     depression

after each of which w is put back within its bounds. x1, x2 are traces of s; y1, y2 of z. As seen at step t,
they hold the spikes of the steps before:

    all pairs    x(t) = decay x(t-1) + gain s(t-1)
    nearest      x(t) = gain s(t-1) where that is not zero, else decay x(t-1)

So two spikes in one step make no pair, and slow traces do not hold the spike that reads them. With
`same_step`, x1 holds s(t) as well (without the gain): an input that makes a neuron fire within the same
step came before that spike. Inputs that are no spikes count as so many of them.

An exponential window has gain = decay = exp(-dt/tau); a window of one step has decay 0 and gain 1.
Morrison, Diesmann & Gerstner, "Phenomenological models of synaptic plasticity based on spike timing",
Biological Cybernetics 98, 459 (2008); Pfister & Gerstner, J. Neuroscience 26, 9673 (2006) for triplets.

Not modelled: axonal and dendritic delays (shift the spikes), windows that are not exponential, changes that
come later than the spikes that cause them (see `rheobase.rules.rstdp`).
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor


class Window(NamedTuple):
    """How a trace forgets: see the module's text."""

    decay: float
    gain: float

    @classmethod
    def exponential(cls, tau: float, dt: float) -> Window:
        """A trace that falls to 1/e within `tau` ms.

        >>> Window.exponential(20.0, 1.0).decay
        0.951229424500714
        """
        decay = math.exp(-dt / tau)
        return cls(decay, decay)


#: A trace that remembers the step before, and no other.
ONE_STEP = Window(0.0, 1.0)

#: The traces that a synapse reads, by name: of its inputs, and of its outputs.
TRACES = ("pre", "pre_slow", "post", "post_slow")

Power = Literal["constant", "linear", "power"]


class Timing(NamedTuple):
    """A rule of spike timing: see the module's text. Amplitudes are in units of high - low.

    Attributes:
        pre, pre_slow, post, post_slow: The windows of x1, x2, y1, y2.
        plus, minus: A2+ and A2-.
        plus_triplet, minus_triplet: A3+ and A3-.
        silent: The trace x1 at which a postsynaptic spike leaves a weight as it is.
        power_plus, power_minus: m+ and m-.
        low, high: The bounds of a weight.
        nearest: Whether traces hold the last spike only.
        same_step: Whether an input comes before a spike of the same step.
    """

    pre: Window
    post: Window
    plus: float
    minus: float
    pre_slow: Window = Window(0.0, 0.0)
    post_slow: Window = Window(0.0, 0.0)
    plus_triplet: float = 0.0
    minus_triplet: float = 0.0
    silent: float = 0.0
    power_plus: float = 0.0
    power_minus: float = 0.0
    low: float = 0.0
    high: float = 1.0
    nearest: bool = False
    same_step: bool = False

    @property
    def windows(self) -> tuple[Window, Window, Window, Window]:
        """In the order of `TRACES`."""
        return (self.pre, self.pre_slow, self.post, self.post_slow)

    @property
    def triplets(self) -> bool:
        """Whether slow traces matter."""
        return bool(self.plus_triplet or self.minus_triplet)

    @property
    def depresses(self) -> bool:
        """Whether presynaptic spikes change weights."""
        return bool(self.minus or self.minus_triplet)

    def raised(self, weight: Tensor) -> Tensor:
        """How much potentiation of amplitude 1 adds to each weight.

        >>> timing = Timing(ONE_STEP, ONE_STEP, 1.0, 1.0, power_plus=1.0, high=4.0)
        >>> timing.raised(torch.tensor([1.0, 4.0])).tolist()
        [3.0, 0.0]
        """
        return self._scaled((self.high - weight) / (self.high - self.low), self.power_plus)

    def lowered(self, weight: Tensor) -> Tensor:
        """How much depression of amplitude 1 takes off each weight."""
        return self._scaled((weight - self.low) / (self.high - self.low), self.power_minus)

    def _scaled(self, room: Tensor, power: float) -> Tensor:
        size = self.high - self.low
        if power == 0.0:
            return torch.full_like(room, size)
        return size * (room if power == 1.0 else room.clamp(min=0.0) ** power)

    def bounded(self, weight: Tensor) -> Tensor:
        """Weights, put back within the bounds."""
        return weight.clamp(self.low, self.high)


def power_of(exponent: float) -> Power:
    """The form of the weight dependence.

    >>> power_of(0.0), power_of(1.0), power_of(0.4)
    ('constant', 'linear', 'power')
    """
    return "constant" if exponent == 0.0 else "linear" if exponent == 1.0 else "power"
