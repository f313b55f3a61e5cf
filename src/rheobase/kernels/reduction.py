"""What is left of a read-out's signal over time: one number per sample and neuron.

    sum     sum of x[t] over the steps, or over the last `window` of them
    max     the largest x[t]
    last    x[T-1]
    first   the first step t at which x[t] > 0; T where there is none

A loss or a score that needs no more than this lets a population be evaluated without any tensor that grows
with T. `Reduction.of` is the definition. The population kernel makes the same bits, of sums wherever they are
exact (spikes), or torch sums columns in whole vectors (see `LEVELS`); the few columns that are left over
torch sums in another order, and there sums differ by rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

How = Literal["sum", "max", "last", "first"]

#: torch sums over an outer axis in levels: blocks of 2^p values, blocks of 2^p such sums, and so on.
LEVELS = 4


@dataclass(frozen=True)
class Reduction:
    """One number per sample and neuron from a signal of the read-out.

    Attributes:
        signal: "spikes" (what the read-out emits), or the name of a state variable.
        how: Which number.
        window: Of a sum, the number of steps at the end that count; all if None.

    >>> spikes = torch.tensor([[[0.0, 0.0]], [[1.0, 0.0]], [[1.0, 0.0]]])
    >>> [Reduction("spikes", how).of(spikes).tolist() for how in ("sum", "first")]
    [[[2.0, 0.0]], [[1.0, 3.0]]]
    """

    signal: str
    how: How
    window: int | None = None

    def __post_init__(self) -> None:
        if self.window is not None and (self.how != "sum" or self.window < 1):
            raise ValueError(
                f"Reduction.window: got {self.window} for '{self.how}', wanted at least 1, for 'sum'"
            )

    def of(self, signal: Tensor) -> Tensor:
        """`[B, N]` from a signal `[T, B, N]`."""
        if self.how == "sum":
            return (signal if self.window is None else signal[-self.window :]).sum(0)
        if self.how == "max":
            return signal.max(0).values
        if self.how == "last":
            return signal[-1]
        steps = signal.shape[0]
        index = torch.arange(steps, device=signal.device).view(-1, *[1] * (signal.dim() - 1))
        return torch.where(signal > 0, index, steps).amin(0).to(signal.dtype)

    def start(self, steps: int) -> int:
        """The first step that counts.

        >>> Reduction("v", "sum", window=3).start(10), Reduction("v", "sum", window=30).start(10)
        (7, 0)
        """
        return 0 if self.window is None else max(steps - self.window, 0)


def summing(reduction: Reduction, steps: int) -> tuple[int, int]:
    """Of a sum: the first step that counts, and the power of its levels."""
    start = reduction.start(steps)
    return start, level_power(steps - start)


def level_power(steps: int) -> int:
    """p: each level of a sum over `steps` values has blocks of 2^p of the level below.

    >>> level_power(200), level_power(1 << 20)
    (4, 5)
    """
    return max(4, (steps - 1).bit_length() // LEVELS)
