"""The gradient of a loss of a network, recorded once for each shape and then replayed.

A step on a small network spends as long in Python, on what the step before had settled just the same, as in
its kernels. `Replay` runs the first step of each kind as it is, records the second
(`rheobase.kernels.tape`), and then does again what was recorded: the same operations in the same order, so
that results are the same to the last bit. (torch makes a few derivatives, as that of `prod`, in another way
while it is watched.)

Recorded are networks of `Dense`, `Neurons` and `Recurrent` layers with a loss in torch. All else runs step by
step as ever, and `Replay.refused` says why.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from rheobase.kernels.constant import Constant
from rheobase.kernels.tape import Recording, Tape
from rheobase.layers.network import Network, Record
from rheobase.layers.parts import Parts, unsettled

MOST = 1 << 26  # bytes that a network's tapes may keep: steps on more take far longer than their Python
TAPES = 3  # of one kind of step, each for other choices that depend on values
KINDS = 8  # of steps: other shapes, other signals recorded

#: A scalar from what a network did, and what else it takes: targets, say.
Judge = Callable[..., Tensor]


class Replay:
    """Adds the gradient of a network's loss to its parameters' `.grad`, step by step.

    Args:
        network: The network.
        loss: `loss(record, *targets)`, a scalar. Numbers in it are taken as they are when it is recorded.

    Attributes:
        refused: Why steps are not replayed, for each kind of step of which that is so.

    >>> import rheobase as rb
    >>> net = rb.Network(fc=rb.Dense(4, 3), out=rb.Neurons(rb.LIF()))
    >>> step = rb.Replay(net, lambda record, y: (record["out.v"].sum(0) - y).square().mean())
    >>> for _ in range(4):
    ...     net.zero_grad()
    ...     loss, record = step(torch.ones(5, 2, 4), torch.zeros(2, 3), record=["out.v"])
    >>> loss.shape, record["out.v"].shape, net.layers["fc"].weight.grad.shape, step.refused
    (torch.Size([]), torch.Size([5, 2, 3]), torch.Size([3, 4]), [])
    """

    def __init__(self, network: Network, loss: Judge) -> None:
        self._network, self._loss = network, loss
        self._steps = Steps()

    @property
    def refused(self) -> list[str]:
        return self._steps.refused

    def __call__(
        self, x: Tensor | Constant, *targets: Tensor, record: Sequence[str] = ()
    ) -> tuple[Tensor, Record]:
        """One step, as `loss(network(x, record=record), *targets).backward()`.

        Args:
            x: `[T, B, ...]`, or a `Constant` input. It gets no gradient.
            targets: What the loss takes besides the record.
            record: Names of the network's signals that the loss reads.

        Returns:
            The loss, and the record, without derivatives.
        """
        return self._steps.run(self._network, self._loss, x, targets, record)


class Steps:
    """What was recorded of a network."""

    def __init__(self) -> None:
        self._kinds: dict[Any, _Kind] = {}

    @property
    def refused(self) -> list[str]:
        """Why some are not replayed."""
        return [kind.refused for kind in self._kinds.values() if kind.refused]

    @property
    def _bytes(self) -> int:
        """What the tapes keep."""
        return sum(take.tape.bytes for kind in self._kinds.values() for take in kind.takes)

    def run(
        self,
        network: Network,
        loss: Judge,
        x: Tensor | Constant,
        targets: Sequence[Tensor],
        record: Sequence[str],
    ) -> tuple[Tensor, Record]:
        """See `Replay.__call__`."""
        modes = torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), torch.get_num_threads()
        key = (loss, _form(x), *map(_form, targets), tuple(record), modes)
        if key not in self._kinds and len(self._kinds) >= KINDS:
            del self._kinds[next(iter(self._kinds))]
        kind = self._kinds.setdefault(key, _Kind())
        for take in kind.takes:
            if take.fits():
                found = take.play(x, targets)
                if found is not None:
                    return found
        kind.takes = [take for take in kind.takes if take.fits()]
        kind.seen += 1
        if kind.seen > 1 and not kind.refused and len(kind.takes) < TAPES:
            kind.refused = unsettled(network, (_value(x), *targets))
            if not kind.refused:
                return _record(network, loss, x, targets, record, kind, MOST - self._bytes)
        seen = network(x, record=record)
        value = loss(seen, *targets)
        torch.autograd.backward(value)
        return value.detach(), seen.detached()


@dataclass
class _Kind:
    """Steps of one kind.

    Attributes:
        seen: How many there were that were not replayed.
        takes: What was recorded.
        refused: Why nothing is.
    """

    seen: int = 0
    takes: list[_Take] = field(default_factory=list)
    refused: str = ""


@dataclass
class _Take:
    """A step that was recorded.

    Attributes:
        tape: What it did.
        given: Where the input and the targets are brought.
        parts: What the network was made of.
        loss, record, gradients: Where they appear; the gradients by parameter.
    """

    tape: Tape
    given: list[Tensor]
    parts: Parts
    loss: Tensor
    record: Record
    gradients: list[tuple[nn.Parameter, Tensor]]

    def fits(self) -> bool:
        """Whether the network still is what it was, and nobody holds a gradient of the step before."""
        return self.parts.hold() and not _held(self.gradients)

    def play(self, x: Tensor | Constant, targets: Sequence[Tensor]) -> tuple[Tensor, Record] | None:
        """The step on these; None if it takes another course."""
        for place, new in zip(self.given, (_value(x), *targets), strict=True):
            place.copy_(new)
        for parameter, gradient in self.gradients:
            before = parameter.grad
            if before is not None and before.data_ptr() == gradient.data_ptr():
                parameter.grad = before.clone()  # that of the step before, to which this one is added
        return self.finish() if self.tape.play() else None

    def finish(self) -> tuple[Tensor, Record]:
        """Add the step's gradients to the parameters', and copy what the next step writes over."""
        for parameter, gradient in self.gradients:
            before = parameter.grad
            parameter.grad = gradient if before is None else before + gradient
        return self.loss.clone(), self.record.cloned()


def _record(
    network: Network,
    loss: Judge,
    x: Tensor | Constant,
    targets: Sequence[Tensor],
    record: Sequence[str],
    kind: _Kind,
    most: int,
) -> tuple[Tensor, Record]:
    """One step, and what it did among `kind.takes`, or why it cannot be; its tape keeps `most` bytes."""
    value, *others = given = [t.detach().clone() for t in (_value(x), *targets)]
    parameters = [p for p in network.parameters() if p.requires_grad]
    there = [*given, *network.parameters(), *network.buffers()]
    with Recording(there, most) as recording:
        seen = network(Constant(value, x.steps) if isinstance(x, Constant) else value, record=record)
        judged = loss(seen, *others)
        found = torch.autograd.grad(judged, parameters, allow_unused=True)
        gradients = [
            (p, g if _alone(g, found) else g.clone())
            for p, g in zip(parameters, found, strict=True)
            if g is not None
        ]
    take = _Take(recording.tape, given, Parts.of(network), judged.detach(), seen.detached(), gradients)
    kind.refused = recording.refused
    if not kind.refused:
        kind.takes.append(take)
    return take.finish()


def _alone(gradient: Tensor, found: Sequence[Tensor | None]) -> bool:
    """Whether nobody else's gradient lies in its memory, which it fills."""
    start = gradient.untyped_storage().data_ptr()
    sharing = sum(g is not None and g.untyped_storage().data_ptr() == start for g in found)
    return sharing == 1 and gradient.is_contiguous()


def _references(gradients: Sequence[tuple[Any, Tensor]]) -> list[int]:
    return [sys.getrefcount(g) for _, g in gradients]


_OWN = _references([(None, torch.empty(()))])[0]  # to what is in such a sequence alone


def _held(gradients: Sequence[tuple[nn.Parameter, Tensor]]) -> bool:
    """Whether anybody but its parameter has one of these, and would see it written over."""
    references = zip(gradients, _references(gradients), strict=True)
    return any(number > _OWN + (p.grad is g) for (p, g), number in references)


def _value(x: Tensor | Constant) -> Tensor:
    return x.value if isinstance(x, Constant) else x


def _form(x: Tensor | Constant) -> tuple[Any, ...]:
    steps = x.steps if isinstance(x, Constant) else None
    value = _value(x)
    return steps, value.shape, value.dtype, value.device, value.requires_grad
