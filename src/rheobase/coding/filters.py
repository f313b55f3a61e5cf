"""Filters of spike trains: exponential, double-exponential, alpha.

    Exponential         k(t) = exp(-t/tau)
    DoubleExponential   k(t) = (exp(-t/tau_decay) - exp(-t/tau_rise)) / (tau_decay - tau_rise)
    Alpha               k(t) = t/tau^2 exp(-t/tau), the limit of equal time constants

In steps of dt, a filter is one leaky sum after another, z' = a z + g x with a = exp(-dt/tau) or, by Euler's
scheme, 1 - dt/tau. Normalised by "area", each has g = 1 - a, so that a spike's response sums to 1 over the
steps; by "peak", the largest response to a spike is 1; with "none", the first sum takes a spike as it is
(g = 1), as a synaptic current does before it is low-passed by the membrane.

The adjoint of a filter is the filter run backward in time. All run in `rheobase.kernels.linear`, with
gradients, in time proportional to the number of steps.

Not modelled: filters with memory beyond their states (rectangles), delays.

van Rossum, "A novel spike distance", Neural Computation 13 (2001) for filtered spike trains.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor

from rheobase.config import Config, option
from rheobase.kernels.linear import LinearSystem, respond, respond_adjoint
from rheobase.neurons.dynamics import Scheme

Norm = Literal["area", "peak", "none"]


class Filter(Config, ABC):
    """A causal filter of sequences `[T, ...]`."""

    room: ClassVar[str] = "rheobase.coding.filters"

    normalise: Norm = option(default="area", help="response to a spike: sums to 1, peaks at 1, or neither")
    scheme: Scheme = option(default="exponential", help="how a leak is integrated over a step")

    def __call__(self, x: Tensor, dt: float) -> Tensor:
        """`x` `[T, ...]` filtered, from rest; differentiable.

        >>> x = torch.tensor([1.0, 0.0, 0.0])
        >>> Exponential(tau=2.0, scheme="euler")(x, dt=1.0).tolist()
        [0.5, 0.25, 0.125]
        """
        return respond(self.system(dt), x)[0]

    def adjoint(self, g: Tensor, dt: float) -> Tensor:
        """`g` `[T, ...]` filtered backward in time: sum_t g[t] filter(x)[t] = sum_t adjoint(g)[t] x[t].

        >>> g = torch.tensor([0.0, 0.0, 1.0])
        >>> Exponential(tau=2.0, scheme="euler").adjoint(g, dt=1.0).tolist()
        [0.125, 0.25, 0.5]
        """
        return respond_adjoint(self.system(dt), g)[0]

    def system(self, dt: float) -> LinearSystem:
        """The filter in steps of `dt` ms, as a linear system with a state per leaky sum.

        Raises:
            ValueError: If Euler's scheme is not stable with such steps.
        """
        decays = [self._decay(tau, dt) for tau in self.time_constants()]
        gains = [1.0 - decay for decay in decays]
        if self.normalise == "none":
            gains[0] = 1.0
        plain = _cascade(decays, gains)
        if self.normalise != "peak":
            return plain
        peak = self.peak_step(dt)
        impulse = torch.zeros(2 * peak + 2, dtype=torch.float64)
        impulse[0] = 1.0
        gains[0] /= float(respond(plain, impulse)[0].max())
        return _cascade(decays, gains)

    @abstractmethod
    def time_constants(self) -> tuple[float, ...]:
        """The time constants in ms, in the order in which the sums are taken."""

    def energy(self) -> float:
        """The integral over time of k^2 in 1/ms, for a kernel of area 1 and steps without duration."""
        taus = self.time_constants()
        return 1.0 / (2.0 * sum(taus))

    def peak_step(self, dt: float) -> int:
        """About the step at which the response to a spike is largest."""
        taus = self.time_constants()
        if len(taus) == 1:
            return 0
        rise, decay = taus
        if math.isclose(rise, decay, rel_tol=1e-6):
            return math.ceil(rise / dt)
        return math.ceil(rise * decay / (decay - rise) * math.log(decay / rise) / dt)

    def _decay(self, tau: float, dt: float) -> float:
        if self.scheme == "exponential":
            return math.exp(-dt / tau)
        if dt > tau:
            raise ValueError(
                f"{type(self).__name__}: got a time constant of {tau:g} ms with steps of {dt:g} ms, "
                "wanted at least one step for scheme 'euler'; use scheme 'exponential' or shorter steps"
            )
        return 1.0 - dt / tau


class Exponential(Filter):
    """One leaky sum: rises at once, then decays with `tau`.

    >>> Exponential(tau=5.0).energy()
    0.1
    """

    tau: float = option(default=10.0, unit="ms", above=0, help="time constant")

    def time_constants(self) -> tuple[float, ...]:
        """The one."""
        return (self.tau,)


class DoubleExponential(Filter):
    """Two leaky sums: rises with `tau_rise`, decays with `tau_decay` (which may be exchanged).

    >>> round(DoubleExponential(normalise="none")(torch.eye(200)[0], dt=0.1).max().item(), 2)
    0.25
    """

    tau_rise: float = option(default=5.0, unit="ms", above=0, help="time constant of the rise")
    tau_decay: float = option(default=10.0, unit="ms", above=0, help="time constant of the decay")

    def time_constants(self) -> tuple[float, ...]:
        """Rise and decay."""
        return (self.tau_rise, self.tau_decay)


class Alpha(Filter):
    """Two leaky sums of one time constant: largest after `tau`.

    >>> int(Alpha(tau=5.0)(torch.eye(50)[0], dt=0.5).argmax()) in (9, 10)
    True
    """

    tau: float = option(default=5.0, unit="ms", above=0, help="time constant, and time of the peak")

    def time_constants(self) -> tuple[float, ...]:
        """The one, twice."""
        return (self.tau, self.tau)


def _cascade(decays: list[float], gains: list[float]) -> LinearSystem:
    """One leaky sum, or a second one of the first."""
    if len(decays) == 1:
        return LinearSystem(((decays[0],),), (gains[0],), (1.0,))
    (a, b), (g, h) = decays, gains
    return LinearSystem(((a, 0.0), (h * a, b)), (g, h * g), (0.0, 1.0))
