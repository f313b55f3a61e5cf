"""Cross-entropy on the times of first spikes: CE(-t_first dt / tau, y), dt and tau in ms.

The gradient with respect to spikes is exact. Not modelled: times finer than a step.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from rheobase.coding.cross_entropy import cross_entropies
from rheobase.coding.losses.base import Loss
from rheobase.config import option
from rheobase.kernels.reduction import Reduction


class FirstSpikeCrossEntropy(Loss):
    """Cross-entropy on minus the first-spike times: the right neuron must fire before the others.

    The number of steps before the first spike, S being 0 or 1, is

        t_first = sum_t prod_{s <= t} (1 - S[s])            (T for a neuron that never fires)

    and is differentiated as it stands: d t_first / d S[k] is exactly how the time would change if the spike
    at step k were there rather than not. So a silent neuron is drawn towards firing, early steps most (the
    derivative is k - T); a first spike carries the wait until the second one; what comes after the first
    spike carries nothing. Raises `ValueError` for spikes that are not 0 or 1.

    Source of the loss: Goeltz et al. 2021, "Fast and energy-efficient neuromorphic deep learning with
    first-spike times", Nature Machine Intelligence 3, https://doi.org/10.1038/s42256-021-00388-x; there the
    times are continuous.

    >>> spikes = torch.tensor([[[0.0, 0.0]], [[1.0, 0.0]], [[1.0, 0.0]]])  # first spikes: step 1, never (3)
    >>> FirstSpikeCrossEntropy()(spikes, torch.tensor([0]))  # ln(1 + exp(1 - 3))
    tensor(0.1269)
    """

    signal: ClassVar[Literal["spikes", "v"]] = "spikes"

    tau: float = option(
        default=1.0, unit="ms", above=0, help="lead at which the odds of a class grow by a factor e"
    )
    dt: float = option(default=1.0, unit="ms", above=0, help="duration of a time step")

    @property
    def reduction(self) -> Reduction:
        return Reduction(self.signal, "first")

    def _reduced(self, reduced: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(self._logits(reduced), target)

    def _of_members(self, reduced: Tensor, target: Tensor) -> Tensor:
        return cross_entropies(self._logits(reduced), target)

    def _logits(self, first: Tensor) -> Tensor:
        times = first * self.dt  # ms
        return -times / self.tau

    def _loss(self, signal: Tensor, target: Tensor) -> Tensor:
        if not torch.compiler.is_compiling() and not bool(((signal == 0) | (signal == 1)).all()):
            raise ValueError(
                "FirstSpikeCrossEntropy: got spikes other than 0 and 1, wanted spikes; for a membrane "
                "use another loss"
            )
        silent_so_far = torch.cumprod(1 - signal, 0)
        return self._reduced(silent_so_far.sum(0), target)
