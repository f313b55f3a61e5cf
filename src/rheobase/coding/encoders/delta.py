"""Changes of a sequence as spikes: one at t if x[t] - x[t-1] >= threshold.

Not modelled: an event camera's memory of its last event (neighbouring steps are compared).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from rheobase.coding.encoders.base import Encoder, time_first
from rheobase.config import option


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
        sequence = time_first(values, "Delta")
        before = torch.zeros_like(sequence[:1]) if self.from_zero else sequence[:1]
        change = torch.diff(sequence, dim=0, prepend=before)
        spikes = (change >= self.threshold).to(values.dtype)
        return spikes - (change <= -self.threshold).to(values.dtype) if self.off_spikes else spikes
