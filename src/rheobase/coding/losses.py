"""Losses: how far the output sequence is from the target, as one number with a gradient.

Shapes: T time steps, B samples, C classes. S is the spikes, v the membrane of the output layer, y the label,
n = sum_t S[t] the spike count, CE(z, y) = ln sum_k exp(z_k) - z_y. Each loss is a mean over the batch.

    CrossEntropySum          sum_t CE(v[t], y)
    CrossEntropyMean         mean_t CE(v[t], y[t]), over the steps that count
    CrossEntropyMax          CE(max_t v[t], y)
    CrossEntropyLast         CE(v[T-1], y)
    CrossEntropyCount        CE(n, y)
    FirstSpikeCrossEntropy   CE(-t_first dt / tau, y)                           (dt, tau in ms)
    CountHinge               (1/C) sum_{k != y} max(0, margin + n_k - n_y)
    MeanSquaredError         mean (v - target)^2, over the steps that count, or at the last
    VanRossum                mean (k * (target - S))^2 in the scale of `rheobase.coding.spike_trains`
    ResponseWindows          the same of errors: a spike outside its window, a window without one

Those that need of a signal's course no more than one number per neuron (a count, a maximum, the last
value, the time of the first spike) say so (`Loss.reduction`), and can be had from that alone
(`Loss.from_reduced`).

Which steps count is said by a mask `[T, B]`; without one, all do. Losses that do not compare step by step
take none.

The gradient with respect to spikes is exact (but for `ResponseWindows`, which says); what a spike's
derivative with respect to the membrane is, the neuron's surrogate says. Not modelled: class weights, label
smoothing.

Eshraghian et al. 2023, "Training spiking neural networks using lessons from deep learning", Proc. IEEE 111,
section III, https://doi.org/10.1109/JPROC.2023.3308088
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from rheobase.coding.cross_entropy import cross_entropies, total
from rheobase.coding.decoders import check_signal
from rheobase.coding.filters import Filter
from rheobase.coding.spike_trains import SUPERSPIKE, response_errors, van_rossum_cost
from rheobase.config import Config, option
from rheobase.kernels.reduction import Reduction


class Loss(Config, ABC):
    """Compares the output layer's signal with the targets."""

    room: ClassVar[str] = "rheobase.coding.losses"
    signal: ClassVar[Literal["spikes", "v"]]  # what of the output layer is compared
    labels_only: ClassVar[bool] = True  # targets are labels [B]; otherwise also values [B, C] or [T, B, C]
    trains_only: ClassVar[bool] = False  # targets are trains [T, B, C], never labels
    stepwise: ClassVar[bool] = False  # compares step by step: takes a mask, and labels [T, B]

    def __call__(self, signal: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss, a scalar, of the output `signal` `[T, B, C]` for labels `target`, integers `[B]` below C.

        Raises `ValueError` for other shapes, labels out of range, values where only labels will do, and a
        `mask` (bool `[T, B]`, the steps that count) where the loss does not compare step by step.
        """
        target = self._checked(signal, target)
        if mask is None:
            return self._loss(signal, target)
        self._check_mask(signal, mask)
        return self._masked(signal, target, mask)

    @property
    def reduction(self) -> Reduction | None:
        """All that the loss needs of the signal over time; None if it needs every step."""
        return None

    def from_reduced(self, reduced: Tensor, target: Tensor) -> Tensor:
        """The loss of a signal of which `reduced` `[B, C]` is left: the same number as from the whole.

        Raises `ValueError` for a loss that needs every step, and for targets as the loss itself does.
        """
        return self._reduced(reduced, self._checked_reduced(reduced, target))

    def of_members(self, reduced: Tensor, target: Tensor) -> Tensor:
        """`from_reduced` of each network of a population: `[P]` from `[P, B, C]`, to the same bits."""
        return self._of_members(reduced, self._checked_reduced(reduced[0], target))

    def _checked_reduced(self, reduced: Tensor, target: Tensor) -> Tensor:
        if self.reduction is None:
            raise ValueError(f"{type(self).__name__}: got a reduced signal, wanted all steps [T, B, C]")
        return self._checked(reduced[None], target)

    def _of_members(self, reduced: Tensor, target: Tensor) -> Tensor:
        """`of_members` of what was checked."""
        return torch.stack([self._reduced(one, target) for one in reduced.contiguous()])

    def _reduced(self, reduced: Tensor, target: Tensor) -> Tensor:
        """`from_reduced` of what was checked; for losses with a `reduction`."""
        raise NotImplementedError(type(self).__name__)

    @abstractmethod
    def _loss(self, signal: Tensor, target: Tensor) -> Tensor:
        """The loss of a signal and a target (int64 if labels) that were checked."""

    def _masked(self, signal: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """`_loss` over the steps that count; for losses that are `stepwise`."""
        raise NotImplementedError(type(self).__name__)

    def _checked(self, signal: Tensor, target: Tensor) -> Tensor:
        """The target (int64 if labels), if it fits the signal."""
        check_signal(signal, type(self).__name__)
        if target.is_floating_point() or target.dtype == torch.bool:
            self._check_values(signal, target)
            return target
        self._check_labels(signal, target)
        return target.long()

    def _check_mask(self, signal: Tensor, mask: Tensor) -> None:
        who = type(self).__name__
        if not self.stepwise:
            raise ValueError(
                f"{who}: got a mask of the steps that count, and does not compare step by step; choose "
                "cross_entropy_mean for classes, or mean_squared_error for values"
            )
        if mask.dtype != torch.bool or mask.shape != signal.shape[:2]:
            raise ValueError(
                f"{who}: got a mask of {mask.dtype} and shape {tuple(mask.shape)} for a signal of shape "
                f"{tuple(signal.shape)}, wanted torch.bool of shape {tuple(signal.shape[:2])}"
            )

    def _check_labels(self, signal: Tensor, target: Tensor) -> None:
        who, (steps, batch, classes) = type(self).__name__, signal.shape
        if self.trains_only:
            raise ValueError(
                f"{who}: got labels, wanted spike trains of shape {tuple(signal.shape)}, one value at each "
                "step; choose a task whose targets are spike trains, or another loss"
            )
        if target.shape != (batch,) and not (self.stepwise and target.shape == (steps, batch)):
            each = f", or [{steps}, {batch}], one for each step" if self.stepwise else ""
            raise ValueError(
                f"{who}: got labels of shape {tuple(target.shape)} for a signal of shape "
                f"{tuple(signal.shape)}, wanted [{batch}], one for each sample{each}"
            )
        if torch.compiler.is_compiling():  # looking at values would break the graph
            return
        low, high = (int(extreme) for extreme in target.aminmax())
        if low < 0 or high >= classes:
            raise ValueError(
                f"{who}: got labels from {low} to {high}, wanted 0 to {classes - 1}; the network has "
                f"{classes} outputs, it needs one for each class"
            )

    def _check_values(self, signal: Tensor, target: Tensor) -> None:
        who, shape = type(self).__name__, tuple(target.shape)
        if self.labels_only or target.dtype == torch.bool:
            raise ValueError(f"{who}: got targets of {target.dtype}, wanted integer labels [B]")
        shapes = (signal.shape,) if self.trains_only else (signal.shape, signal.shape[1:])
        if target.shape not in shapes:
            same = "" if self.trains_only else f"{tuple(signal.shape[1:])} (the same at every step) or "
            raise ValueError(
                f"{who}: got targets of shape {shape} for a signal of shape {tuple(signal.shape)}, wanted "
                f"{same}{tuple(signal.shape)}"
            )


class CrossEntropySum(Loss):
    """Cross-entropy on the membrane at every step, summed over the steps.

    Every step is asked for the answer, so the gradient reaches early steps directly; the value grows with T.
    Source: snnTorch tutorial 5, https://snntorch.readthedocs.io/en/latest/tutorials/tutorial_5.html

    >>> CrossEntropySum()(torch.zeros(25, 1, 10), torch.tensor([3]))  # 25 ln 10
    tensor(57.5646)
    """

    signal: ClassVar[Literal["spikes", "v"]] = "v"

    def _loss(self, signal: Tensor, target: Tensor) -> Tensor:
        steps, batch, _ = signal.shape
        every_step = target.expand(steps, batch).flatten()
        return total(signal.flatten(0, 1), every_step) / batch


class CrossEntropyMean(Loss):
    """Cross-entropy on the membrane, mean over the steps that count: those of the mask, or all.

    Labels are `[B]`, or `[T, B]` where the answer changes in time.

    >>> CrossEntropyMean()(torch.zeros(25, 1, 10), torch.tensor([3]))  # ln 10
    tensor(2.3026)
    """

    signal: ClassVar[Literal["spikes", "v"]] = "v"
    stepwise: ClassVar[bool] = True

    def _loss(self, signal: Tensor, target: Tensor) -> Tensor:
        labels = target.expand(signal.shape[:2]).flatten()
        return total(signal.flatten(0, 1), labels) / len(labels)

    def _masked(self, signal: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        return functional.cross_entropy(signal[mask], target.expand(mask.shape)[mask])


class CrossEntropyMax(Loss):
    """Cross-entropy on the highest membrane over time.

    The gradient goes to the step of the maximum alone (the first, if several are equal).
    Source: SpyTorch tutorials 2 to 4, https://github.com/fzenke/spytorch

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

    def _reduced(self, reduced: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(reduced, target)

    def _of_members(self, reduced: Tensor, target: Tensor) -> Tensor:
        return cross_entropies(reduced, target)


class CrossEntropyLast(Loss):
    """Cross-entropy on the membrane at the last step.

    For a read-out that adds up what it gets. The gradient reaches earlier steps through the membrane alone.

    >>> CrossEntropyLast()(torch.zeros(25, 1, 10), torch.tensor([3]))  # ln 10
    tensor(2.3026)
    """

    signal: ClassVar[Literal["spikes", "v"]] = "v"

    @property
    def reduction(self) -> Reduction:
        return Reduction(self.signal, "last")

    def _loss(self, signal: Tensor, target: Tensor) -> Tensor:
        return self._reduced(signal[-1], target)

    def _reduced(self, reduced: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(reduced, target)

    def _of_members(self, reduced: Tensor, target: Tensor) -> Tensor:
        return cross_entropies(reduced, target)


class CrossEntropyCount(Loss):
    """Cross-entropy on the spike counts.

    Source: snnTorch `functional.ce_count_loss`.

    >>> CrossEntropyCount()(torch.zeros(25, 1, 10), torch.tensor([3]))  # ln 10
    tensor(2.3026)
    """

    signal: ClassVar[Literal["spikes", "v"]] = "spikes"

    @property
    def reduction(self) -> Reduction:
        return Reduction(self.signal, "sum")

    def _loss(self, signal: Tensor, target: Tensor) -> Tensor:
        return self._reduced(signal.sum(0), target)

    def _reduced(self, reduced: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(reduced, target)

    def _of_members(self, reduced: Tensor, target: Tensor) -> Tensor:
        return cross_entropies(reduced, target)


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


class CountHinge(Loss):
    """Hinge on the spike counts: the right neuron must lead every other one by `margin` spikes.

    (1/C) sum over the wrong classes of max(0, margin + n_wrong - n_right). Beyond the margin nothing pushes,
    so counts do not grow without end as they may under cross-entropy.

    Source: Weston & Watkins 1999, ESANN, "Support vector machines for multi-class pattern recognition"; the
    1/C is that of `torch.nn.functional.multi_margin_loss`.

    >>> CountHinge(margin=2.0)(torch.zeros(25, 1, 10), torch.tensor([3]))  # 9 of 10 classes, 2 spikes each
    tensor(1.8000)
    """

    signal: ClassVar[Literal["spikes", "v"]] = "spikes"

    margin: float = option(
        default=1.0, unit="spikes", above=0, help="lead in spikes that the right class must have"
    )

    @property
    def reduction(self) -> Reduction:
        return Reduction(self.signal, "sum")

    def _loss(self, signal: Tensor, target: Tensor) -> Tensor:
        return self._reduced(signal.sum(0), target)

    def _reduced(self, reduced: Tensor, target: Tensor) -> Tensor:
        return functional.multi_margin_loss(reduced, target, margin=self.margin)


class MeanSquaredError(Loss):
    """Mean squared distance of the membrane from its target, over samples, outputs and the chosen steps.

    Targets are values `[B, C]` (the same at every step) or `[T, B, C]`, or labels `[B]`: `on` for the right
    class, `off` for the others. The mean is over steps too, so the value does not grow with T.

    >>> MeanSquaredError()(torch.zeros(25, 1, 10), torch.tensor([3]))  # one of ten classes is off by 1
    tensor(0.1000)
    """

    signal: ClassVar[Literal["spikes", "v"]] = "v"
    labels_only: ClassVar[bool] = False
    stepwise: ClassVar[bool] = True

    over: Literal["all", "last"] = option(
        default="all", help="compare at all steps, or at the last one alone"
    )
    on: float = option(default=1.0, help="target of the right class, where targets are labels")
    off: float = option(default=0.0, help="target of the other classes, where targets are labels")

    @property
    def reduction(self) -> Reduction | None:
        return Reduction(self.signal, "last") if self.over == "last" else None

    def _reduced(self, reduced: Tensor, target: Tensor) -> Tensor:
        return (reduced - self._values(reduced, target)).square().mean()

    def _loss(self, signal: Tensor, target: Tensor) -> Tensor:
        error = signal - self._values(signal, target)  # a target [B, C] broadcasts over time
        return (error if self.over == "all" else error[-1]).square().mean()

    def _masked(self, signal: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        if self.over == "last":
            raise ValueError(
                "MeanSquaredError: got a mask of the steps that count and over='last', wanted over='all'"
            )
        return (signal - self._values(signal, target))[mask].square().mean()

    def _values(self, signal: Tensor, target: Tensor) -> Tensor:
        if target.is_floating_point():
            return target
        right = functional.one_hot(target, signal.shape[-1]).to(signal.dtype)
        return self.off + (self.on - self.off) * right


class _OfTrains(Loss):
    """What losses on target trains `[T, B, C]` share."""

    signal: ClassVar[Literal["spikes", "v"]] = "spikes"
    labels_only: ClassVar[bool] = False
    trains_only: ClassVar[bool] = True
    stepwise: ClassVar[bool] = True

    filter: Filter = option(default=SUPERSPIKE, help="what spikes are filtered with")
    dt: float = option(default=0.1, unit="ms", above=0, help="duration of a time step")


class VanRossum(_OfTrains):
    """The squared van Rossum distance to target spike trains, as a cost per time.

    An unmatched spike that stands alone costs 4 per second, as in the figures of SuperSpike's authors: a
    silent neuron costs 4 times the rate of its targets in Hz.
    Source: van Rossum, "A novel spike distance", Neural Computation 13 (2001).

    >>> target = torch.zeros(10_000, 1, 1)  # one second
    >>> target[5000] = 1.0
    >>> VanRossum()(torch.zeros_like(target), target)
    tensor(4.0271)
    """

    def _loss(self, signal: Tensor, target: Tensor) -> Tensor:
        return van_rossum_cost(signal, target, self.dt, self.filter).mean()

    def _masked(self, signal: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        return van_rossum_cost(signal, target, self.dt, self.filter, mask).mean()


class ResponseWindows(_OfTrains):
    """Filtered errors of neurons that shall fire within windows of time, at any moment, and not outside.

    Targets are 1 in a neuron's windows, else 0. An error is -1 at each spike outside, and +1 at the end of a
    window without a spike; what is minimised is the van Rossum cost of the errors. An error is taken to have
    a derivative of -1 by the spikes of its step, wherever it is: spikes are discouraged where they were
    wrong, and encouraged before the end of a window that was missed.
    Source: the error signals of spiking XOR in Zenke & Ganguli, "SuperSpike", Neural Computation 30 (2018).

    >>> target = torch.zeros(100, 1, 1)
    >>> target[20:60] = 1.0
    >>> spikes = torch.zeros_like(target)
    >>> spikes[30] = 1.0
    >>> ResponseWindows()(spikes, target)
    tensor(0.)
    """

    def _loss(self, signal: Tensor, target: Tensor) -> Tensor:
        errors = response_errors(signal.detach(), target) + (signal.detach() - signal)
        return van_rossum_cost(torch.zeros_like(errors), errors, self.dt, self.filter).mean()

    def _masked(self, signal: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        raise ValueError(
            "ResponseWindows: got a mask of the steps that count, wanted none: windows say when to fire"
        )
