"""Dense connections that run within the kernel of the recurrent neurons they lead to, or come from.

Of a layer's sequences `[T, B, N]`, each is as large as all the rest of a small network. A connection in front
whose inputs are few or mostly silent is a sum over a few rows of its weights at each step; one behind, of few
outputs, a sum over spikes that were just made. Done in the kernel, the currents and the derivatives by
spikes never exist over time, and the weights' gradients are sums over events (`rheobase.kernels.spread`).

In the kernels a bias stands behind the weights, like those of one more input.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor

from rheobase.kernels.events import share_of_events
from rheobase.kernels.vectors import padded

EVENTS = 32  # inputs per sample and step that are not zero, above which a dense product is faster
FEW = 32  # outputs up to which a connection runs within the kernel
NARROW = 4  # outputs up to which its gradient is faster made output by output, whatever fires
PARTS = 8  # partial sums of a gradient, each over some of the samples
PARTIAL_SIZE = 1 << 20  # numbers of all partial sums together, which should stay in the caches
LIVELY = 0.4  # share of neurons that fire, above which a dense product makes the gradient faster
SELDOM = 0.08  # share up to which each event is added to the gradient by itself, above it several together
SAMPLED = 64  # rows of inputs that are looked at to tell
TALLIED = 16  # rows of what was emitted: another core has just written them, and each takes a while to come
SMALL = 1 << 16  # values of `[T, B, N]` below which separate operations serve as well


class Attached(NamedTuple):
    """A dense connection's `weight` `[outputs, inputs]` and `bias` `[outputs]`, or None."""

    weight: Tensor
    bias: Tensor | None

    @property
    def inputs(self) -> int:
        return self.weight.shape[1]

    @property
    def outputs(self) -> int:
        return self.weight.shape[0]


def worth_it(steps: int, batch: int, size: int) -> bool:
    """Whether so many neurons over so many steps are worth a kernel of their own, which must be compiled."""
    return steps * batch * size >= SMALL


def few_events(x: Tensor) -> bool:
    """Whether the inputs `[T, B, K]` are so few, or so seldom not zero, that they are taken one by one.

    >>> import torch
    >>> few_events(torch.ones(5, 2, 3)), few_events(torch.ones(5, 2, 300)), few_events(torch.eye(50)[:, None])
    (True, False, True)
    """
    return x.shape[2] <= EVENTS or share_of_events(x.flatten(0, 1), SAMPLED) * x.shape[2] <= EVENTS


def fits(inputs: int, outputs: int, itemsize: int) -> bool:
    """Whether partial sums of so large a gradient are worth it.

    >>> fits(220, 220, 4), fits(1000, 1000, 4)
    (True, False)
    """
    return PARTS * (inputs + 1) * padded(outputs, itemsize) <= PARTIAL_SIZE


def way_to_tally(emitted: Tensor) -> Literal["", "each", "together"]:
    """How the gradient of weights from neurons that emitted this, `[M, N]`, is summed.

    Event by event, several together, or (empty) in a dense product.
    """
    share = share_of_events(emitted, TALLIED)
    if share > LIVELY:
        return ""
    return "together" if share > SELDOM else "each"
