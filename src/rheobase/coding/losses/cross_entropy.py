"""Cross-entropy, CE(z, y) = ln sum_k exp(z_k) - z_y, on membranes or spike counts.

v is the membrane, S the spikes of the output layer, y the label.

    CrossEntropySum     sum_t CE(v[t], y)
    CrossEntropyMean    mean_t CE(v[t], y[t]), over the steps that count
    CrossEntropyMax     CE(max_t v[t], y)
    CrossEntropyLast    CE(v[T-1], y)
    CrossEntropyCount   CE(sum_t S[t], y)

Eshraghian et al. 2023, "Training spiking neural networks using lessons from deep learning", Proc. IEEE 111,
section III, https://doi.org/10.1109/JPROC.2023.3308088
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor
from torch.nn import functional

from rheobase.coding.cross_entropy import cross_entropies, total
from rheobase.coding.losses.base import Loss
from rheobase.kernels.reduction import Reduction


class CrossEntropySum(Loss):
    """Cross-entropy on the membrane at every step, summed over the steps.

    Every step is asked for the answer, so the gradient reaches early steps directly; the value grows with T.
    Source: snnTorch tutorial 5, https://snntorch.readthedocs.io/en/latest/tutorials/tutorial_5.html

    >>> import torch
    >>> CrossEntropySum()(torch.zeros(25, 1, 10), torch.tensor([3]))  # 25 ln 10
    tensor(57.5646)
    """

    signal: ClassVar[Literal["spikes", "v"]] = "v"

    def _loss(self, signal: Tensor, target: Tensor) -> Tensor:
        return total(signal.flatten(0, 1), target, 1 / signal.shape[1])


class CrossEntropyMean(Loss):
    """Cross-entropy on the membrane, mean over the steps that count: those of the mask, or all.

    Labels are `[B]`, or `[T, B]` where the answer changes in time.

    >>> import torch
    >>> CrossEntropyMean()(torch.zeros(25, 1, 10), torch.tensor([3]))  # ln 10
    tensor(2.3026)
    """

    signal: ClassVar[Literal["spikes", "v"]] = "v"
    stepwise: ClassVar[bool] = True

    def _loss(self, signal: Tensor, target: Tensor) -> Tensor:
        rows = signal.flatten(0, 1)
        return total(rows, target.flatten(), 1 / len(rows))

    def _masked(self, signal: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        return functional.cross_entropy(signal[mask], target.expand(mask.shape)[mask])


class _OfReduced(Loss):
    """Cross-entropy on one number per neuron: what is left of its signal."""

    def _reduced(self, reduced: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(reduced, target)

    def _of_members(self, reduced: Tensor, target: Tensor) -> Tensor:
        return cross_entropies(reduced, target)


class CrossEntropyMax(_OfReduced):
    """Cross-entropy on the highest membrane over time.

    The gradient goes to the step of the maximum alone (the first, if several are equal).
    Source: SpyTorch tutorials 2 to 4, https://github.com/fzenke/spytorch

    >>> import torch
    >>> CrossEntropyMax()(torch.zeros(25, 1, 10), torch.tensor([3]))  # ln 10
    tensor(2.3026)
    """

    signal: ClassVar[Literal["spikes", "v"]] = "v"

    @property
    def reduction(self) -> Reduction:
        return Reduction(self.signal, "max")

    def _loss(self, signal: Tensor, target: Tensor) -> Tensor:
        # max, not amax: amax would share the gradient among equal steps, as in a membrane at rest.
        return self._reduced(signal.max(0).values, target)


class CrossEntropyLast(_OfReduced):
    """Cross-entropy on the membrane at the last step.

    For a read-out that adds up what it gets. The gradient reaches earlier steps through the membrane alone.

    >>> import torch
    >>> CrossEntropyLast()(torch.zeros(25, 1, 10), torch.tensor([3]))  # ln 10
    tensor(2.3026)
    """

    signal: ClassVar[Literal["spikes", "v"]] = "v"

    @property
    def reduction(self) -> Reduction:
        return Reduction(self.signal, "last")

    def _loss(self, signal: Tensor, target: Tensor) -> Tensor:
        return self._reduced(signal[-1], target)


class CrossEntropyCount(_OfReduced):
    """Cross-entropy on the spike counts.

    Source: snnTorch `functional.ce_count_loss`.

    >>> import torch
    >>> CrossEntropyCount()(torch.zeros(25, 1, 10), torch.tensor([3]))  # ln 10
    tensor(2.3026)
    """

    signal: ClassVar[Literal["spikes", "v"]] = "spikes"

    @property
    def reduction(self) -> Reduction:
        return Reduction(self.signal, "sum")

    def _loss(self, signal: Tensor, target: Tensor) -> Tensor:
        return self._reduced(signal.sum(0), target)
