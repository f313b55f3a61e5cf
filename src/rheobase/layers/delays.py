"""Delays of connections: from a spike to its effect, in ms, fixed or learnt.

A fixed delay is a whole number of time steps. A learnt one, d, may lie between two: a spike then arrives
in part at each (linear interpolation),

    weight w (1 - f) at floor(d),   w f at floor(d) + 1,   f = d - floor(d),   d in time steps,

and the derivative of f by d is the gradient of the delay. Interpolating positions in order to learn them
is the method of Khalfaoui-Hassani, Pellegrini & Masquelier, "Dilated convolution with learnable
spacings", ICLR 2023; for delays in spiking networks: Hammouamri, Khalfaoui-Hassani & Masquelier,
"Learning delays in spiking neural networks using dilated convolutions with learnable spacings", ICLR
2024, who blur over more steps than two (a Gaussian that narrows in training) and round at the end.

Not done: that blur (a delay feels its two neighbouring steps only, so it learns where signals are smooth
over the distance it has to go), and rounding: what was learnt between two steps stays there in evaluation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from rheobase.layers.projection import projected

#: One delay in ms for all connections, the ends of a range (inclusive) from which each is drawn, or one per
#: connection, a tensor [to, from].
Delays = float | tuple[float, float] | Tensor


class ConnectionDelays(nn.Module, ABC):
    """The delay of each connection of a layer."""

    @property
    @abstractmethod
    def longest(self) -> int:
        """The longest delay that there can be, in time steps."""

    @abstractmethod
    def ms(self) -> Tensor:
        """The delays in ms, `[to, from]`."""

    @abstractmethod
    def taps(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Weights `[to, from]` or `[taps, to, from]`, and likewise the steps after which each acts."""


class FixedDelays(ConnectionDelays):
    """Delays of whole time steps, drawn or given: a buffer.

    Args:
        delays: See `Delays`. Ranges are drawn from torch's global generator, each whole number of steps being
            as likely as the others.
        shape: Number of postsynaptic and of presynaptic units.
        dt: Duration of a time step in ms.
        least: The shortest delay that there can be, in time steps.

    Raises:
        ValueError: On delays that are too short, not whole multiples of `dt`, or of another shape.

    >>> FixedDelays(4.0, (1, 2), dt=2.0).steps
    tensor([[2, 2]])
    """

    steps: Tensor

    def __init__(self, delays: Delays, shape: tuple[int, int], *, dt: float, least: int = 0) -> None:
        super().__init__()
        low, high = _ends(delays, shape, dt, least)
        _check_whole(low, dt)
        _check_whole(high, dt)
        low, high = (low / dt).round(), (high / dt).round()
        drawn = low
        if isinstance(delays, tuple):
            drawn = low + (torch.rand(shape, dtype=low.dtype) * (high - low + 1)).floor()
        self.dt = dt
        self.register_buffer("steps", drawn.to(torch.int64))

    @property
    def longest(self) -> int:
        """The longest delay in time steps."""
        return int(self.steps.max())

    def ms(self) -> Tensor:
        """The delays in ms, `[to, from]`."""
        return self.steps * self.dt

    def taps(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The weights as they are, and the delays in steps."""
        return weight, self.steps

    def extra_repr(self) -> str:
        return f"{int(self.steps.min()) * self.dt:g} to {self.longest * self.dt:g} ms"


class LearntDelays(ConnectionDelays):
    """Delays that are trained, and may lie between two time steps.

    Before each use they are put back to between the shortest and the longest that there can be, should a
    step of the optimizer have left that range.

    Args:
        delays: The delays at the start: see `Delays`. Those of a range are uniform in it.
        shape: Number of postsynaptic and of presynaptic units.
        dt: Duration of a time step in ms.
        least: The shortest delay that there can be, in time steps.
        longest: The longest delay that may be learnt, in ms; by default the longest at the start.
        speed: How many ms a delay moves where a weight would move by 1: the parameter is delay / speed.

    Raises:
        ValueError: On delays that are out of bounds or of another shape, or where there is nothing to learn.

    >>> delays = LearntDelays(torch.tensor([[2.25]]), (1, 1), dt=1.0, longest=5.0)
    >>> weight, steps = delays.taps(torch.tensor([[4.0]]))
    >>> weight.flatten().tolist(), steps.flatten().tolist()
    ([3.0, 1.0], [2, 3])
    """

    position: Tensor

    def __init__(
        self,
        delays: Delays,
        shape: tuple[int, int],
        *,
        dt: float,
        least: int = 0,
        longest: float | None = None,
        speed: float = 1.0,
    ) -> None:
        super().__init__()
        low, high = _ends(delays, shape, dt, least)
        end = high.max() if longest is None else torch.tensor(longest, dtype=high.dtype)
        _check_whole(end, dt)
        self.dt, self.least, self._longest, self.speed = dt, least, round(float(end) / dt), speed
        if self._longest <= least or bool((high > end + 1e-6 * dt).any()):
            raise ValueError(
                f"delays: got {float(high.max()):g} ms, to be learnt up to {float(end):g} ms, wanted a "
                f"longest delay above {least * dt:g} ms that none is beyond"
            )
        drawn = low + torch.rand(shape, dtype=low.dtype) * (high - low) if isinstance(delays, tuple) else low
        self.position = nn.Parameter((drawn / speed).to(torch.get_default_dtype()))

    @property
    def longest(self) -> int:
        """The longest delay that may be learnt, in time steps."""
        return self._longest

    def ms(self) -> Tensor:
        """The delays in ms, `[to, from]`."""
        low, high = (end * self.dt / self.speed for end in (self.least, self.longest))
        return projected(self.position, low, high) * self.speed

    def taps(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The weights at the step before each delay and at the one after it, both `[2, to, from]`."""
        delay = self.ms() / self.dt
        before = delay.detach().floor().clamp(self.least, self.longest - 1)
        share = delay - before
        steps = before.to(torch.int64)
        return torch.stack([weight * (1.0 - share), weight * share]), torch.stack([steps, steps + 1])

    def extra_repr(self) -> str:
        return f"learnt, {self.least * self.dt:g} to {self.longest * self.dt:g} ms"


def _ends(delays: Delays, shape: tuple[int, int], dt: float, least: int) -> tuple[Tensor, Tensor]:
    """The ends of the range of each delay in ms, float64 `[to, from]`."""
    ends = delays if isinstance(delays, tuple) else (delays, delays)
    low, high = (torch.as_tensor(end, dtype=torch.float64).detach() for end in ends)
    if low.dim() and tuple(low.shape) != shape:
        raise ValueError(
            f"delays: got shape {tuple(low.shape)}, wanted {shape}: to each neuron (first) from each neuron "
            "(last)"
        )
    if bool((high < low).any()):
        raise ValueError(f"delays: got the range {delays} ms, wanted the shorter end first")
    if bool((low < least * dt - 1e-6 * dt).any()):
        raise ValueError(
            f"delays: got {float(low.min()):g} ms, wanted at least {least * dt:g} ms"
            + (", one time step: a spike takes effect in a later step" if least else "")
        )
    return low.expand(shape), high.expand(shape)


def _check_whole(delays: Tensor, dt: float) -> None:
    off = delays[((delays / dt - (delays / dt).round()).abs() > 1e-6)]
    if off.numel():
        raise ValueError(
            f"delays: got {float(off[0]):g} ms, wanted whole multiples of the time step of {dt:g} ms; choose "
            "others, or another dt"
        )


def make_delays(
    delays: Delays,
    shape: tuple[int, int],
    *,
    dt: float,
    least: int,
    learnt: bool,
    longest: float | None,
    speed: float,
) -> ConnectionDelays:
    """Fixed or learnt delays."""
    if learnt:
        return LearntDelays(delays, shape, dt=dt, least=least, longest=longest, speed=speed)
    if longest is not None:
        raise ValueError(
            f"longest_delay: got {longest:g} ms for delays that are not learnt; leave it out, or ask for "
            "learn_delays=True"
        )
    return FixedDelays(delays, shape, dt=dt, least=least)
