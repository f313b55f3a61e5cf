"""Values as rates of random spikes: P(spike at t) = x max_rate dt / 1000, max_rate in Hz and dt in ms.

Not modelled: refractoriness (steps are independent), more than one spike per step.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from rheobase.coding.encoders.base import Encoder
from rheobase.config import option


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
        probability_of(self.max_rate, self.dt, "PoissonRate")

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.steps, *input_shape)

    def _encode(self, values: Tensor, generator: torch.Generator | None) -> Tensor:
        return draw(values * probability_of(self.max_rate, self.dt, "PoissonRate"), self.steps, generator)


def probability_of(rate: float, dt: float, who: str) -> float:
    """Chance of a spike in one step of `dt` ms at `rate` Hz."""
    probability = rate * dt / 1000.0
    if probability > 1:
        raise ValueError(
            f"{who}.max_rate: got {rate:g} Hz with dt {dt:g} ms, which is more than one spike per step; "
            f"wanted at most {1000.0 / dt:g} Hz, or a shorter dt"
        )
    return probability


def draw(probability: Tensor, steps: int, generator: torch.Generator | None) -> Tensor:
    """Spikes `[T, ...]`, independent at each step, for probabilities `[...]`."""
    return torch.bernoulli(probability.expand(steps, *probability.shape), generator=generator)
