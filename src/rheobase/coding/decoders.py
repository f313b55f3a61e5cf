"""Decoders: the output sequence becomes one score for each class, of which the highest is the answer; or,
where values are wanted and not classes, the values themselves.

Shapes: T time steps, B samples, C classes or values. S is the spikes, v the membrane of the output layer.

    SpikeCount     score = sum_t S[t]            rate coding
    FirstSpike     score = -(first t with S[t])  latency coding; T for a neuron that never fires
    MembraneMax    score = max_t v[t]
    MembraneSum    score = sum_t v[t]
    MembraneLast   score = v[T-1]
    MembraneMean   score = mean of v over the last steps
    MembraneTrace  score[t] = v[t], or the mean of v over the block of steps that t is in
    SpikeTrain     score[t] = S[t]

Ties go to the lowest class index. So a silent output layer is read as class 0 by both spike decoders.
Not modelled: groups of output neurons that stand for one class; a decision before the last step.

Eshraghian et al. 2023, "Training spiking neural networks using lessons from deep learning", Proc. IEEE 111,
section III, https://doi.org/10.1109/JPROC.2023.3308088
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor

from rheobase.config import Config, option
from rheobase.kernels.reduction import Reduction


def check_signal(signal: Tensor, who: str) -> None:
    """Raise `ValueError` unless `signal` is floating point `[T, B, C]` with nothing of size 0."""
    if signal.dim() != 3 or signal.numel() == 0 or not signal.is_floating_point():
        raise ValueError(
            f"{who}: got a signal of shape {tuple(signal.shape)} and {signal.dtype}, wanted floating point "
            "[T, B, C] (time, samples, classes) with nothing of size 0"
        )


def first_spike_step(spikes: Tensor) -> Tensor:
    """The step of the first spike, int64 `[B, C]`, from spikes `[T, B, C]`; T where there is none.

    >>> first_spike_step(torch.tensor([[[0.0, 0.0]], [[1.0, 0.0]], [[1.0, 0.0]]]))
    tensor([[1, 3]])
    """
    steps = spikes.shape[0]
    index = torch.arange(steps, device=spikes.device).view(-1, *[1] * (spikes.dim() - 1))
    return torch.where(spikes > 0, index, steps).amin(0)


class Decoder(Config, ABC):
    """Reads one score for each class, or the values, from the output layer."""

    room: ClassVar[str] = "rheobase.coding.decoders"
    signal: ClassVar[Literal["spikes", "v"]]  # what of the output layer is read

    def scores(self, signal: Tensor) -> Tensor:
        """Scores `[B, C]` from the output signal `[T, B, C]`; `ValueError` for any other shape.

        A decoder that answers at every step gives `[T, B, C]`.
        """
        check_signal(signal, type(self).__name__)
        return self._scores(signal)

    def predict(self, signal: Tensor) -> Tensor:
        """The class with the highest score, int64 `[B]` (or `[T, B]`); the lowest where several have it."""
        return self.scores(signal).argmax(-1)

    @property
    def reduction(self) -> Reduction | None:
        """All that the scores need of the signal over time; None if they need every step."""
        return None

    def from_reduced(self, reduced: Tensor, steps: int) -> Tensor:
        """Scores from what is left `[B, C]` of a signal of so many steps: the same numbers as from the whole.

        Raises `ValueError` for a decoder that needs every step, and for any other shape.
        """
        if self.reduction is None:
            raise ValueError(f"{type(self).__name__}: got a reduced signal, wanted all steps [T, B, C]")
        check_signal(reduced[None], type(self).__name__)
        return self._reduced(reduced, steps)

    def _reduced(self, reduced: Tensor, steps: int) -> Tensor:
        """`from_reduced` of what was checked; for decoders with a `reduction`."""
        return reduced

    @abstractmethod
    def _scores(self, signal: Tensor) -> Tensor:
        """`scores` of a signal that was checked."""


class SpikeCount(Decoder):
    """The neuron that fires most often wins.

    >>> SpikeCount().scores(torch.tensor([[[1.0, 0.0]], [[1.0, 1.0]]]))
    tensor([[2., 1.]])
    """

    signal: ClassVar[Literal["spikes", "v"]] = "spikes"

    @property
    def reduction(self) -> Reduction:
        return Reduction(self.signal, "sum")

    def _scores(self, signal: Tensor) -> Tensor:
        return signal.sum(0)


class FirstSpike(Decoder):
    """The neuron that fires first wins. The score is minus the step of its first spike, -T if it never fires.

    >>> FirstSpike().scores(torch.tensor([[[0.0, 0.0]], [[0.0, 1.0]]]))
    tensor([[-2., -1.]])
    """

    signal: ClassVar[Literal["spikes", "v"]] = "spikes"

    @property
    def reduction(self) -> Reduction:
        return Reduction(self.signal, "first")

    def _reduced(self, reduced: Tensor, steps: int) -> Tensor:
        return -reduced

    def _scores(self, signal: Tensor) -> Tensor:
        return -first_spike_step(signal).to(signal.dtype)


class MembraneMax(Decoder):
    """The neuron whose membrane gets highest wins (SpyTorch, https://github.com/fzenke/spytorch).

    >>> MembraneMax().scores(torch.tensor([[[0.1, 0.9]], [[0.4, 0.2]]]))
    tensor([[0.4000, 0.9000]])
    """

    signal: ClassVar[Literal["spikes", "v"]] = "v"

    @property
    def reduction(self) -> Reduction:
        return Reduction(self.signal, "max")

    def _scores(self, signal: Tensor) -> Tensor:
        return signal.amax(0)


class MembraneSum(Decoder):
    """The neuron with the largest membrane summed over time wins.

    >>> MembraneSum().scores(torch.tensor([[[0.5, 1.0]], [[0.5, -2.0]]]))
    tensor([[ 1., -1.]])
    """

    signal: ClassVar[Literal["spikes", "v"]] = "v"

    @property
    def reduction(self) -> Reduction:
        return Reduction(self.signal, "sum")

    def _scores(self, signal: Tensor) -> Tensor:
        return signal.sum(0)


class MembraneLast(Decoder):
    """The neuron with the highest membrane at the last step wins.

    >>> MembraneLast().scores(torch.tensor([[[0.5, 1.0]], [[0.5, -2.0]]]))
    tensor([[ 0.5000, -2.0000]])
    """

    signal: ClassVar[Literal["spikes", "v"]] = "v"

    @property
    def reduction(self) -> Reduction:
        return Reduction(self.signal, "last")

    def _scores(self, signal: Tensor) -> Tensor:
        return signal[-1]


class MembraneMean(Decoder):
    """The neuron with the highest membrane over the last `window` steps wins, or over all of them.

    As a value, the mean is less noisy than the last step alone.

    >>> MembraneMean(window=2).scores(torch.tensor([[[9.0, 9.0]], [[0.5, 1.0]], [[0.5, -2.0]]]))
    tensor([[ 0.5000, -0.5000]])
    """

    signal: ClassVar[Literal["spikes", "v"]] = "v"

    window: int | None = option(
        default=None, at_least=1, unit="steps", help="steps at the end that are averaged (all if none)"
    )

    @property
    def reduction(self) -> Reduction:
        return Reduction(self.signal, "sum", self.window)

    def _reduced(self, reduced: Tensor, steps: int) -> Tensor:
        return reduced / (steps if self.window is None else min(self.window, steps))

    def _scores(self, signal: Tensor) -> Tensor:
        return (signal if self.window is None else signal[-self.window :]).mean(0)


class MembraneTrace(Decoder):
    """An answer at every step: the membrane there, or its mean over the block of steps it is in.

    Blocks are counted from the first step; all steps of one have the same answer.

    >>> MembraneTrace(block=2).scores(torch.tensor([[[0.0]], [[1.0]], [[3.0]]])).flatten()
    tensor([0.5000, 0.5000, 3.0000])
    """

    signal: ClassVar[Literal["spikes", "v"]] = "v"

    block: int = option(default=1, at_least=1, unit="steps", help="steps that are averaged")

    def _scores(self, signal: Tensor) -> Tensor:
        if self.block == 1:
            return signal
        blocks = torch.split(signal, self.block)
        return torch.cat([b.mean(0).expand(len(b), *b.shape[1:]) for b in blocks])


class SpikeTrain(Decoder):
    """An answer at every step: the spikes themselves, for tasks whose targets are spike trains.

    >>> SpikeTrain().scores(torch.tensor([[[0.0]], [[1.0]]])).flatten().tolist()
    [0.0, 1.0]
    """

    signal: ClassVar[Literal["spikes", "v"]] = "spikes"

    def _scores(self, signal: Tensor) -> Tensor:
        return signal
