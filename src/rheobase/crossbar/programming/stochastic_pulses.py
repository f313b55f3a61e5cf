"""Stochastic pulse trains: each update is right on average, whatever the size of a step.

A wish of n steps (a fraction, as a rule) is written as a whole number of pulses with that mean: floor(n) or
ceil(n), or with `independent` slots as the coincidences of two random trains of `length` slots, a binomial
number. At most `length` pulses per write; what is beyond is lost.

Gokmen & Vlasov, Frontiers in Neuroscience 10 (2016) 333, for outer products; here the trains stand for
`.grad`, whatever rule made it. Not modelled: correlation of trains along rows and columns.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from rheobase.config import option
from rheobase.crossbar.array import Placed
from rheobase.crossbar.programming.base import Programming, State, Steps, apply, in_steps


class StochasticPulses(Programming):
    """Random whole numbers of pulses whose mean is the wish."""

    digital: ClassVar[str] = "random bits"

    length: int = option(default=31, at_least=1, unit="pulses", help="most pulses per write")
    steps: Steps = option(
        default="nominal", help="how wishes are counted: by one step size, or the present one"
    )
    independent: bool = option(default=False, help="binomial numbers of pulses, as of independent trains")

    def _write(self, placed: Placed, wish: Tensor, state: State, generator: torch.Generator) -> None:
        array = placed.array
        steps = in_steps(array, array.spread(wish.flatten(1)), self.steps)
        apply(array, steps.sign() * self._draw(steps.abs(), generator), generator)

    def _draw(self, mean: Tensor, generator: torch.Generator) -> Tensor:
        mean = mean.clamp(max=self.length)
        if self.independent:
            slots = torch.full_like(mean, self.length)
            return torch.binomial(slots, mean / self.length, generator=generator)
        lots = torch.rand(mean.shape, generator=generator, dtype=mean.dtype)
        return (mean + lots).floor()
