"""Surrogate derivatives: what replaces the derivative of the spike's step function.

`derivative(x)` is used in place of the Dirac impulse, x being the distance of the membrane from
the threshold; `primitive(x)` is a function with exactly that derivative. Both are written with
`rheobase.operators`, so that the same lines serve torch, the traced kernels and the online rules.
All formulas are stable: none overflows for any finite x.

Review: Neftci, Mostafa & Zenke, "Surrogate gradient learning in spiking neural networks",
IEEE Signal Processing Magazine 36 (2019).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

from rheobase.config import Config, option
from rheobase.operators import Value, absolute, atan, erf, exp, maximum, minimum, spike, tanh, where


class Surrogate(Config, ABC):
    """A stand-in for the derivative of the step function.

    >>> FastSigmoid(slope=10.0).derivative(0.0)
    1.0
    """

    room: ClassVar[str] = "rheobase.surrogate"
    smooth: ClassVar[bool] = False

    @abstractmethod
    def derivative(self, x: Value) -> Value:
        """The surrogate derivative at x (same shape as x)."""

    @abstractmethod
    def primitive(self, x: Value) -> Value:
        """A function whose derivative is `derivative`."""


class FastSigmoid(Surrogate):
    """1 / (1 + slope |x|)^2 (SuperSpike: Zenke & Ganguli, Neural Computation 30, 2018).

    >>> FastSigmoid(slope=10.0).derivative(0.1)
    0.25
    """

    slope: float = option(default=25.0, above=0, help="steepness; larger is narrower")

    def derivative(self, x: Value) -> Value:
        d = self.slope * absolute(x) + 1.0
        return 1.0 / (d * d)

    def primitive(self, x: Value) -> Value:
        return x / (1.0 + self.slope * absolute(x))


class Triangular(Surrogate):
    """damping max(0, 1 - |x| / width) (Bellec et al., NeurIPS 2018 and Nature Comm. 11, 2020).

    >>> Triangular(damping=0.5).derivative(0.5)
    0.25
    """

    damping: float = option(default=0.3, above=0, help="height of the triangle (gamma)")
    width: float = option(default=1.0, above=0, help="half width of the triangle")

    def derivative(self, x: Value) -> Value:
        return self.damping * maximum(1.0 - absolute(x) / self.width, 0.0)

    def primitive(self, x: Value) -> Value:
        u = maximum(minimum(x / self.width, 1.0), -1.0)
        return (self.damping * self.width) * (u - 0.5 * u * absolute(u))


class Arctan(Surrogate):
    """(alpha / 2) / (1 + (pi alpha x / 2)^2) (Fang et al., ICCV 2021; snnTorch's default).

    >>> Arctan(alpha=2.0).derivative(0.0)
    1.0
    """

    alpha: float = option(default=2.0, above=0, help="steepness; larger is narrower")

    def derivative(self, x: Value) -> Value:
        u = (math.pi / 2 * self.alpha) * x
        return (self.alpha / 2) / (1.0 + u * u)

    def primitive(self, x: Value) -> Value:
        return atan((math.pi / 2 * self.alpha) * x) / math.pi


class Sigmoid(Surrogate):
    """Derivative of the logistic function, slope s(1 - s) with s = 1 / (1 + e^(-slope x)).

    >>> Sigmoid(slope=4.0).derivative(0.0)
    1.0
    """

    slope: float = option(default=4.0, above=0, help="steepness; larger is narrower")

    def derivative(self, x: Value) -> Value:
        # In e^-|x|, which cannot overflow; s(1 - s) is even.
        e = exp(-self.slope * absolute(x))
        return self.slope * e / ((1.0 + e) * (1.0 + e))

    def primitive(self, x: Value) -> Value:
        return 0.5 * (1.0 + tanh((0.5 * self.slope) * x))


class Gaussian(Surrogate):
    """Density of the normal distribution (Yin, Corradi & Bohte, Nature Machine Int. 3, 2021).

    >>> round(Gaussian(sigma=0.4).derivative(0.0), 4)  # 1 / (0.4 sqrt(2 pi))
    0.9974
    """

    sigma: float = option(default=0.4, above=0, help="standard deviation")

    def derivative(self, x: Value) -> Value:
        u = x / self.sigma
        return (1.0 / (self.sigma * math.sqrt(2 * math.pi))) * exp(-0.5 * (u * u))

    def primitive(self, x: Value) -> Value:
        return 0.5 * erf(x / (self.sigma * math.sqrt(2.0)))


class Boxcar(Surrogate):
    """Height 1 / (2 width) for |x| < width, else 0: the straight-through window.

    >>> Boxcar(width=0.25).derivative(0.1), Boxcar(width=0.25).derivative(0.3)
    (2.0, 0.0)
    """

    width: float = option(default=0.5, above=0, help="half width of the window")

    def derivative(self, x: Value) -> Value:
        return where(absolute(x) < self.width, 0.5 / self.width, 0.0 * x)

    def primitive(self, x: Value) -> Value:
        return maximum(minimum(x, self.width), -self.width) * (0.5 / self.width)


class SpikeItself(Surrogate):
    """1 where the neuron fired, else 0: the spike is its own derivative.

    Eshraghian et al., "Training spiking neural networks using lessons from deep learning",
    Proc. IEEE 111 (2023), tutorial 5. Silent neurons get no gradient at all. At x = 0 exactly the
    derivative is 0, whether the threshold is strict or not.
    """

    def derivative(self, x: Value) -> Value:
        return spike(x, self)

    def primitive(self, x: Value) -> Value:
        return maximum(x, 0.0)


class _Smooth(Surrogate):
    """A surrogate whose primitive replaces the step itself; private, for checking gradients."""

    smooth: ClassVar[bool] = True
    of: Surrogate = option(default=FastSigmoid(), help="the surrogate whose primitive is the spike")

    def derivative(self, x: Value) -> Value:
        return self.of.derivative(x)

    def primitive(self, x: Value) -> Value:
        return self.of.primitive(x)


def smoothed(surrogate: Surrogate) -> Surrogate:
    """`surrogate` with its primitive in place of the step: forward and backward agree exactly.

    Spikes then are graded values, not events. Meant for finite-difference checks.
    """
    return _Smooth(of=surrogate)
