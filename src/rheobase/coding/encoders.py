"""Encoders: values become an input sequence, time-major.

Shapes: T time steps, B samples, `...` the features of one sample (pixels, channels), K neurons per feature.

    ConstantCurrent   I[t] = gain x                                      the same current at every step
    PoissonRate       P(spike at t) = x max_rate dt / 1000               max_rate in Hz, dt in ms
    Latency           t = tau ln(x / (x - threshold)) or tau (1 - x)     one spike or none; t, tau in ms
    Delta             spike at t if x[t] - x[t-1] >= threshold           values are a sequence already
    Sequence          I[t] = gain x[t] + offset                          values are a sequence already
    Trace             I[t] = a I[t-1] + gain x[t], a = exp(-dt/tau)      values are a sequence already
    ThresholdCrossing spikes where x crosses a level between t-1 and t   values are a sequence already
    Population        a_k = exp(-(x - c_k)^2 / (2 sigma^2))              then PoissonRate on a_k

Not modelled: refractoriness in the Poisson code (steps are independent); more than one spike per step; events
finer than dt; an event camera's memory of its last event (`Delta` compares neighbouring steps).

Gerstner, Kistler, Naud & Paninski 2014, "Neuronal Dynamics", chapter 7, https://neuronaldynamics.epfl.ch
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor

from rheobase.coding.filters import Exponential
from rheobase.config import Config, option
from rheobase.kernels.constant import Constant
from rheobase.kernels.workspace import zeros


class Encoder(Config, ABC):
    """Turns a batch of values into an input sequence."""

    room: ClassVar[str] = "rheobase.coding.encoders"
    random: ClassVar[bool] = False  # draws random numbers: `encode` then needs a generator
    unit_interval: ClassVar[bool] = True  # takes values in [0, 1] only; otherwise any finite values

    def encode(self, values: Tensor, generator: torch.Generator | None = None) -> Tensor | Constant:
        """Values `[B, ...]` as a sequence `[T, B, ...]` of the same dtype, on the same device.

        Raises `ValueError` for values that are not floating point, empty, not finite or outside [0, 1] (see
        `unit_interval`), and for a random encoder without a generator on the device of the values.
        """
        self._check(values, generator)
        return self._encode(values, generator)

    @abstractmethod
    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape `(T, ...)` of one encoded sample, for the shape `(...)` of one sample (no batch axis)."""

    @abstractmethod
    def _encode(self, values: Tensor, generator: torch.Generator | None) -> Tensor | Constant:
        """`encode` on values that were checked."""

    def _check(self, values: Tensor, generator: torch.Generator | None) -> None:
        who = type(self).__name__
        shape = tuple(values.shape)
        if not values.is_floating_point():
            raise ValueError(
                f"{who}: got values of {values.dtype}, wanted floating point; for bytes, divide by 255"
            )
        if values.dim() < 2 or values.numel() == 0:
            raise ValueError(f"{who}: got values of shape {shape}, wanted [B, ...] with nothing of size 0")
        low, high = (float(extreme) for extreme in values.detach().aminmax())  # NaN wins in both
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(
                f"{who}: got values that are NaN or infinite, wanted finite ones; clean the data"
            )
        if self.unit_interval and (low < 0 or high > 1):
            raise ValueError(
                f"{who}: got values from {low:g} to {high:g}, wanted 0 to 1; scale the data to that range"
            )
        if self.random and generator is None:
            raise ValueError(f"{who}: got no generator, wanted a seeded torch.Generator; its code is random")
        if self.random and generator is not None and generator.device.type != values.device.type:
            raise ValueError(
                f"{who}: got a generator on {generator.device} for values on {values.device}, wanted one "
                "device; make it with torch.Generator(device=...)"
            )


class ConstantCurrent(Encoder):
    """Every value is an input current, `gain` times the value, the same at each step. Any finite values.

    Source: snnTorch tutorial 5 (static MNIST, 25 steps),
    https://snntorch.readthedocs.io/en/latest/tutorials/tutorial_5.html

    >>> ConstantCurrent(steps=25, gain=2.0).encode(torch.tensor([[0.5, 1.0]])).value
    tensor([[1., 2.]])
    """

    unit_interval: ClassVar[bool] = False

    steps: int = option(
        default=25, unit="steps", at_least=1, help="time steps for which the values are shown"
    )
    gain: float = option(default=1.0, help="input current per unit of value")

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.steps, *input_shape)

    def _encode(self, values: Tensor, generator: torch.Generator | None) -> Constant:
        return Constant(values if self.gain == 1.0 else values * self.gain, self.steps)


class PoissonRate(Encoder):
    """Independent random spikes whose rate is the value times `max_rate`.

    At most one spike per step, drawn with probability rate x dt, so that the mean rate is exact. The other
    common reading, 1 - exp(-rate x dt), counts at least one event of a Poisson process and loses the second
    ones.

    >>> spikes = PoissonRate(steps=4, max_rate=1000.0).encode(torch.tensor([[0.0, 1.0]]), torch.Generator())
    >>> spikes.sum(0)
    tensor([[0., 4.]])
    """

    random: ClassVar[bool] = True

    steps: int = option(
        default=100, unit="steps", at_least=1, help="time steps for which the values are shown"
    )
    max_rate: float = option(default=100.0, unit="Hz", above=0, help="firing rate of the value 1")
    dt: float = option(default=1.0, unit="ms", above=0, help="duration of a time step")

    def validate(self) -> None:
        _probability(self.max_rate, self.dt, "PoissonRate")

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.steps, *input_shape)

    def _encode(self, values: Tensor, generator: torch.Generator | None) -> Tensor:
        return _draw(values * _probability(self.max_rate, self.dt, "PoissonRate"), self.steps, generator)


class Latency(Encoder):
    """At most one spike for each value: the larger, the earlier. Values up to `threshold` stay silent.

    `charging`: t = tau ln(x / (x - threshold)), the time in which a leaky integrator with time constant tau,
    driven by x, reaches the threshold. `linear`: t = tau (1 - x). The spike falls in step floor(t / dt); a
    time at or after the end, `steps` x dt, gives no spike.

    Source: SpyTorch tutorial 2 (charging; tau 20 ms, threshold 0.2, 100 steps),
    https://github.com/fzenke/spytorch; snnTorch `spikegen.latency` (linear).

    >>> Latency(steps=30).encode(torch.tensor([[1.0, 0.3, 0.2]])).argmax(0)  # 0.2 is silent
    tensor([[ 4, 21,  0]])
    """

    steps: int = option(default=100, unit="steps", at_least=1, help="time steps in which a spike can fall")
    tau: float = option(default=20.0, unit="ms", above=0, help="time constant of the latency")
    threshold: float = option(default=0.2, at_least=0, help="values up to this one give no spike")
    dt: float = option(default=1.0, unit="ms", above=0, help="duration of a time step")
    curve: Literal["charging", "linear"] = option(
        default="charging", help="how the time depends on the value"
    )

    def validate(self) -> None:
        if self.threshold >= 1:
            raise ValueError(
                f"Latency.threshold: got {self.threshold:g}, wanted below 1, or no value ever spikes"
            )
        if self.threshold == 0 and self.curve == "charging":
            raise ValueError(
                "Latency.threshold: got 0 with curve 'charging', where every time is then 0 ms; wanted "
                "above 0, or curve 'linear'"
            )

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.steps, *input_shape)

    def _encode(self, values: Tensor, generator: torch.Generator | None) -> Tensor:
        fires = values > self.threshold
        x = torch.where(fires, values, 1.0)  # keeps the logarithm finite where there is no spike
        charging = self.curve == "charging"
        times = self.tau * (torch.log(x / (x - self.threshold)) if charging else 1.0 - x)  # ms
        index = (times / self.dt).clamp(max=self.steps).long()  # truncates; `steps` means too late
        on = fires & (index < self.steps)
        spikes = zeros((self.steps, *values.shape), values.dtype, values.device)
        return spikes.scatter_(
            0, index.clamp(max=self.steps - 1).unsqueeze(0), on.to(values.dtype).unsqueeze(0)
        )


class Delta(Encoder):
    """Changes in time become spikes: +1 where a value rose by at least `threshold` since the step before.

    Values are a sequence `[B, T, ...]`, samples first, as they come out of a task; the result is time first,
    `[T, B, ...]`. With `off_spikes`, a fall by at least `threshold` gives -1. The first step has no step
    before it: it is silent, or with `from_zero` it is compared with 0. Any finite values.

    Source: snnTorch `spikegen.delta` (its `padding=True` is our default; its default is `from_zero`).

    >>> Delta(threshold=0.5, off_spikes=True).encode(torch.tensor([[[0.0], [0.6], [0.7], [0.1]]])).flatten()
    tensor([ 0.,  1.,  0., -1.])
    """

    unit_interval: ClassVar[bool] = False

    threshold: float = option(
        default=0.1, above=0, help="smallest change from one step to the next that gives a spike"
    )
    off_spikes: bool = option(default=False, help="give a spike of -1 where the value falls by the threshold")
    from_zero: bool = option(default=False, help="compare the first step with 0 instead of leaving it silent")

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape

    def _encode(self, values: Tensor, generator: torch.Generator | None) -> Tensor:
        sequence = _time_first(values, "Delta")
        before = torch.zeros_like(sequence[:1]) if self.from_zero else sequence[:1]
        change = torch.diff(sequence, dim=0, prepend=before)
        spikes = (change >= self.threshold).to(values.dtype)
        return spikes - (change <= -self.threshold).to(values.dtype) if self.off_spikes else spikes


class Sequence(Encoder):
    """Values that are a sequence already, `[B, T, ...]`, as input currents (or spikes) `[T, B, ...]`.

    >>> Sequence(gain=2.0).encode(torch.tensor([[[0.5], [1.0], [0.0]]])).flatten()
    tensor([1., 2., 0.])
    """

    unit_interval: ClassVar[bool] = False

    gain: float = option(default=1.0, help="input current per unit of value")
    offset: float = option(default=0.0, help="input current at the value 0")

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape

    def _encode(self, values: Tensor, generator: torch.Generator | None) -> Tensor:
        sequence = _time_first(values, "Sequence")
        if self.gain != 1.0:
            sequence = sequence * self.gain
        return (sequence + self.offset if self.offset else sequence).contiguous()


class Trace(Encoder):
    """Values that are a sequence already, `[B, T, ...]`, as what they leave behind: each adds to a current
    that decays with `tau`, or lasts. So an input that fires once is felt for longer than one step.

    >>> Trace().encode(torch.tensor([[[0.0], [1.0], [0.0]]])).flatten()
    tensor([0., 1., 1.])
    """

    unit_interval: ClassVar[bool] = False

    gain: float = option(default=1.0, help="input current per unit of value")
    tau: float | None = option(
        default=None, above=0, unit="ms", help="time constant of the decay (no decay if none)"
    )
    dt: float = option(default=1.0, unit="ms", above=0, help="duration of a time step")

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape

    def _encode(self, values: Tensor, generator: torch.Generator | None) -> Tensor:
        sequence = _time_first(values, "Trace") * self.gain
        if self.tau is None:
            return sequence.cumsum(0)
        return Exponential(tau=self.tau, normalise="none")(sequence, self.dt)


class ThresholdCrossing(Encoder):
    """Values in time as spikes of neurons that stand for levels: one fires where the value crosses its level.

    Levels are at k / (levels + 1), k = 1 ... levels. Each has a neuron for the way up and one for the way
    down, so a sequence `[B, T, ...]` of values in [0, 1] becomes spikes `[T, B, ..., 2 levels]`, the way up
    first. The value before the first step counts as 0.

    Bellec, Salaj, Subramoney, Legenstein & Maass 2018, "Long short-term memory and learning-to-learn in
    networks of spiking neurons", https://arxiv.org/abs/1803.09574 (80 such inputs for the grey values of an
    image read pixel by pixel).

    >>> up, down = ThresholdCrossing(levels=3).encode(torch.tensor([[[0.6], [0.1]]]))[:, 0, 0]
    >>> up, down  # over the levels 1/4 and 2/4, and back
    (tensor([1., 1., 0., 0., 0., 0.]), tensor([0., 0., 0., 1., 1., 0.]))
    """

    levels: int = option(default=40, at_least=1, help="levels, each with a neuron per direction")

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*input_shape, 2 * self.levels)

    def _encode(self, values: Tensor, generator: torch.Generator | None) -> Tensor:
        sequence = _time_first(values, "ThresholdCrossing")
        level = torch.arange(1, self.levels + 1, dtype=values.dtype, device=values.device) / (self.levels + 1)
        above = sequence.unsqueeze(-1) >= level  # shape: [T, B, ..., levels]
        before = torch.cat([torch.zeros_like(above[:1]), above[:-1]])
        return torch.cat([above & ~before, before & ~above], -1).to(values.dtype)


class Thermometer(Encoder):
    """Values in time as spikes of neurons that stand for levels: one fires at each step at or above its
    level.

    Levels are at k / (levels + 1), k = 1 ... levels. A sequence `[B, T, ...]` of values in [0, 1] becomes
    spikes `[T, B, ..., levels]`.

    >>> Thermometer(levels=3).encode(torch.tensor([[[0.6], [0.1]]]))[:, 0, 0].tolist()
    [[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """

    levels: int = option(default=4, at_least=1, help="levels, each with a neuron")

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*input_shape, self.levels)

    def _encode(self, values: Tensor, generator: torch.Generator | None) -> Tensor:
        sequence = _time_first(values, "Thermometer")
        level = torch.arange(1, self.levels + 1, dtype=values.dtype, device=values.device) / (self.levels + 1)
        return (sequence.unsqueeze(-1) >= level).to(values.dtype)


class Population(Encoder):
    """Each value is spread over `neurons` neurons with Gaussian tuning curves, which then fire at random.

    Neuron k prefers the value c_k = k / (neurons - 1); its rate is max_rate exp(-(x - c_k)^2 / (2 sigma^2))
    with sigma = width / (neurons - 1). The neurons are a new last axis of the result:
    `[T, B, ..., neurons]`.

    Source: Bohte, Kok & La Poutre 2002, Neurocomputing 48 (Gaussian receptive fields, width 1/1.5 of the
    spacing; there turned into latencies, with other centres), https://doi.org/10.1016/S0925-2312(01)00658-0

    >>> spikes = Population(neurons=3, steps=200).encode(torch.tensor([[0.5]]), torch.Generator())
    >>> spikes.shape, int(spikes.sum((0, 1, 2)).argmax())
    (torch.Size([200, 1, 1, 3]), 1)
    """

    random: ClassVar[bool] = True

    neurons: int = option(default=10, at_least=2, help="neurons for each value")
    steps: int = option(
        default=100, unit="steps", at_least=1, help="time steps for which the values are shown"
    )
    max_rate: float = option(
        default=100.0, unit="Hz", above=0, help="firing rate of a neuron at its preferred value"
    )
    width: float = option(
        default=2 / 3, above=0, help="standard deviation of the tuning curves, in units of their spacing"
    )
    dt: float = option(default=1.0, unit="ms", above=0, help="duration of a time step")

    def validate(self) -> None:
        _probability(self.max_rate, self.dt, "Population")

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.steps, *input_shape, self.neurons)

    def activity(self, values: Tensor) -> Tensor:
        """Tuning curves at `values` `[B, ...]`: shares of `max_rate` in [0, 1], `[B, ..., neurons]`."""
        preferred = torch.linspace(0.0, 1.0, self.neurons, dtype=values.dtype, device=values.device)
        distance = (values.unsqueeze(-1) - preferred) * ((self.neurons - 1) / self.width)  # in sigmas
        return torch.exp(-0.5 * distance**2)

    def _encode(self, values: Tensor, generator: torch.Generator | None) -> Tensor:
        probability = self.activity(values) * _probability(self.max_rate, self.dt, "Population")
        return _draw(probability, self.steps, generator)


def _time_first(values: Tensor, who: str) -> Tensor:
    """A sequence `[B, T, ...]` as `[T, B, ...]`."""
    if values.dim() < 3:
        raise ValueError(f"{who}: got values of shape {tuple(values.shape)}, wanted a sequence [B, T, ...]")
    return values.transpose(0, 1)


def _probability(rate: float, dt: float, who: str) -> float:
    """Chance of a spike in one step of `dt` ms at `rate` Hz."""
    probability = rate * dt / 1000.0
    if probability > 1:
        raise ValueError(
            f"{who}.max_rate: got {rate:g} Hz with dt {dt:g} ms, which is more than one spike per step; "
            f"wanted at most {1000.0 / dt:g} Hz, or a shorter dt"
        )
    return probability


def _draw(probability: Tensor, steps: int, generator: torch.Generator | None) -> Tensor:
    """Spikes `[T, ...]`, independent at each step, for probabilities `[...]`."""
    return torch.bernoulli(probability.expand(steps, *probability.shape), generator=generator)
