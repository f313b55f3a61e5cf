"""Values as Poisson spikes of neurons that each prefer one: a_k = exp(-(x - c_k)^2 / (2 sigma^2))."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from rheobase.coding.encoders.base import Encoder
from rheobase.coding.encoders.poisson_rate import draw, probability_of
from rheobase.config import option


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
        probability_of(self.max_rate, self.dt, "Population")

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.steps, *input_shape, self.neurons)

    def activity(self, values: Tensor) -> Tensor:
        """Tuning curves at `values` `[B, ...]`: shares of `max_rate` in [0, 1], `[B, ..., neurons]`."""
        preferred = torch.linspace(0.0, 1.0, self.neurons, dtype=values.dtype, device=values.device)
        distance = (values.unsqueeze(-1) - preferred) * ((self.neurons - 1) / self.width)  # in sigmas
        return torch.exp(-0.5 * distance**2)

    def _encode(self, values: Tensor, generator: torch.Generator | None) -> Tensor:
        probability = self.activity(values) * probability_of(self.max_rate, self.dt, "Population")
        return draw(probability, self.steps, generator)
