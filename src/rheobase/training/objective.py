"""What is minimised, what is predicted, and which signals of the network that takes.

    objective = loss(read-out's signal, targets) + sum over hidden spiking layers and regularisers

The read-out is the network's last layer of neurons. Firing rates are means over batch and time of the
spikes, in Hz: 1000 mean(S) / dt, with dt in ms.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rheobase.coding.decoders import Decoder
from rheobase.coding.losses import Loss
from rheobase.coding.regularisers import Regulariser
from rheobase.layers.network import Network, Record
from rheobase.registry import name_of
from rheobase.rules.base import Reduced
from rheobase.tasks.dataset import Batch


class Objective:
    """A loss, a decoder and regularisers, bound to the signals of a network.

    Attributes:
        readout: Names of the read-out's signals that loss and decoder read.
        training: Names of all signals that `loss` reads: the above, and spikes for the regularisers.
        classes: Whether predictions are classes, and not values.
        spikes: Names of the spikes of every spiking layer, by layer.

    Raises:
        ValueError: If the read-out does not have a signal that loss or decoder wants.
    """

    def __init__(
        self,
        loss: Loss,
        decoder: Decoder,
        regularisers: Sequence[Regulariser],
        network: Network,
        *,
        classes: bool = True,
    ) -> None:
        self.classes = classes
        self._loss, self._decoder, self._regularisers = loss, decoder, tuple(regularisers)
        last = network.last
        for part in (loss, decoder):
            _check_signal(part, network)
        self._loss_signal, self._score_signal = f"{last}.{loss.signal}", f"{last}.{decoder.signal}"
        self.readout = tuple(dict.fromkeys((self._loss_signal, self._score_signal)))
        self.spikes = {layer: f"{layer}.spikes" for layer in network.spiking}
        self._priced = tuple(s for n, s in self.spikes.items() if n != last) if regularisers else ()
        self.training = tuple(dict.fromkeys((*self.readout, *self._priced)))

    def error(self, record: Record, targets: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss alone, without regularisers: a scalar. `mask` is that of the batch."""
        return self._loss(record[self._loss_signal], targets, mask)

    def loss(self, record: Record, targets: Tensor, mask: Tensor | None = None) -> Tensor:
        """What is minimised: the loss and all regularisers, a scalar."""
        total = self.error(record, targets, mask)
        for signal in self._priced:
            for regulariser in self._regularisers:
                total = total + regulariser(record[signal])
        return total

    def reduced_loss(self, batch: Batch) -> Reduced | None:
        """The loss from what is left of the read-out over time; None if it takes more than that."""
        stepwise = batch.mask is not None or batch.targets.dim() > (
            2 if batch.targets.is_floating_point() else 1
        )
        if self._loss.reduction is None or self._priced or stepwise:
            return None
        one, each = (
            functools.partial(function, target=batch.targets)
            for function in (self._loss.from_reduced, self._loss.of_members)
        )
        return Reduced(self._loss.reduction, one, each)

    def reduced_score(self, steps: int, score: Callable[[Tensor], Tensor]) -> Reduced | None:
        """`score` of the predictions, from what is left of the read-out; None if it takes more than that."""
        if self._decoder.reduction is None:
            return None

        def value(reduced: Tensor) -> Tensor:
            scores = self._decoder.from_reduced(reduced, steps)
            return score(scores.argmax(-1) if self.classes else scores)

        return Reduced(self._decoder.reduction, value)

    def uninformed(self, steps: int, outputs: int, batch: Batch | None = None) -> float:
        """The loss of a read-out of so many `outputs` that stays at zero for all `steps`.

        It is over all classes alike, or else (values, or classes that change in time) on `batch`.
        """
        if batch is None or (batch.targets.dim() == 1 and batch.mask is None):
            silent = torch.zeros(steps, outputs, outputs)
            return float(self._loss(silent, torch.arange(outputs)))
        silent = torch.zeros(steps, len(batch.inputs), outputs)
        return float(self._loss(silent, batch.targets, batch.mask))

    def scores(self, record: Record) -> Tensor:
        """One score per class, or the values: `[B, C]`, or `[T, B, C]` where there is one at each step."""
        return self._decoder.scores(record[self._score_signal])

    def predictions(self, record: Record) -> Tensor:
        """The class with the highest score, int64 `[B]` or `[T, B]`; or the values, as `scores`."""
        if self.classes:
            return self._decoder.predict(record[self._score_signal])
        return self.scores(record)


def _check_signal(part: Loss | Decoder, network: Network) -> None:
    last, names = network.last, network.signals()
    if f"{last}.{part.signal}" in names:
        return
    kind = "loss" if isinstance(part, Loss) else "decoder"
    has = ", ".join(name.split(".", 1)[1] for name in names if name.startswith(f"{last}."))
    remedy = (
        f"choose a {kind} that reads the membrane, or a read-out that spikes"
        if part.signal == "spikes"
        else f"choose a {kind} that reads spikes, or a read-out with a membrane"
    )
    raise ValueError(
        f"{kind} '{name_of(type(part))}' reads '{part.signal}' of the layer '{last}', which only has {has}; "
        f"{remedy}"
    )


def spike_counts(record: Record, signals: dict[str, str]) -> dict[str, Tensor]:
    """The spikes of each neuron over batch and time, `[N]` per layer; `signals` maps layer to signal."""
    return {layer: record[name].detach().flatten(2).sum((0, 1)) for layer, name in signals.items()}


def to_hertz(share: float, dt: float) -> float:
    """The firing rate in Hz of a neuron that fires in this share of its steps of `dt` ms.

    >>> to_hertz(0.5, dt=2.0)
    250.0
    """
    return 1000.0 * share / dt
