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
from rheobase.kernels.lots import whole_numbers


class StochasticPulses(Programming):
    """Random whole numbers of pulses whose mean is the wish.

    >>> import torch
    >>> from rheobase.crossbar.array import place
    >>> from rheobase.crossbar.devices.constant_step import ConstantStep
    >>> from rheobase.crossbar.mapping import Offset
    >>> from rheobase.layers.dense import Dense
    >>> law = ConstantStep(step_up=0.01, step_down=0.01)  # 0.02 of a weight's range of -1 to 1
    >>> placed = place(Dense(3, 2), law, Offset(), generator=None, largest=1.0)
    >>> generator = torch.Generator().manual_seed(0)
    >>> scheme = StochasticPulses()
    >>> state = scheme.begin(placed)
    >>> for _ in range(40):
    ...     scheme.write(placed, torch.full((2, 3), 0.005), state, generator)  # a quarter of a step
    >>> round(float(placed.array.pulses[0].float().mean()), 1)  # 10 are expected
    10.2
    """

    digital: ClassVar[str] = "random bits"

    length: int = option(default=31, at_least=1, unit="pulses", help="most pulses per write")
    steps: Steps = option(
        default="nominal", help="how wishes are counted: by one step size, or the present one"
    )
    independent: bool = option(default=False, help="binomial numbers of pulses, as of independent trains")

    def _write(self, placed: Placed, wish: Tensor, state: State, generator: torch.Generator) -> None:
        array = placed.array
        steps = in_steps(array, array.spread(wish.flatten(1)), self.steps)
        apply(array, self._draw(steps, generator), generator)

    def _draw(self, steps: Tensor, generator: torch.Generator) -> Tensor:
        """Pulses, above 0 up and below 0 down, whose mean is `steps`."""
        if self.independent:
            mean = steps.abs().clamp(max=self.length)
            slots = torch.full_like(mean, self.length)
            return steps.sign() * torch.binomial(slots, mean / self.length, generator=generator)
        key = int(torch.randint(2**63 - 1, (), generator=generator))
        return whole_numbers(steps, self.length, key)
