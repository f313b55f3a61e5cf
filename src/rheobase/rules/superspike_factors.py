"""The factors of SuperSpike, as a run of a feed-forward network shows them layer by layer.

    dw_ij ~ sum_t e_i(t) lambda_ij(t),    lambda_ij = alpha * [sigma'(u_i) (eps * x_j)]

Errors e pass from the read-out to the layers in front, from one to the next, times weights: those of the
connection ("symmetric"), fixed random ones ~ N(0, 1) ("random"), or ones ("uniform").

Delays: x is what arrives at the synapse. An error of an output neuron is that of spikes which left a hidden
neuron one delay earlier, so the hidden layer's sigma' and x are delayed by that much.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from rheobase.kernels.constant import Constant
from rheobase.layers.network import Record
from rheobase.rules.base import Lesson, Memory
from rheobase.rules.membrane import sensitivity, variables
from rheobase.rules.synapses import Layer

Feedback = Literal["symmetric", "random", "uniform"]


class Reached(NamedTuple):
    """A layer that errors have come to.

    Attributes:
        layer: The layer.
        behind: The one that they come from; None at the read-out.
        late: Steps from its spikes to the outputs' that they cause.
        sent: What its presynaptic units sent, `[T, B, J]`.
    """

    layer: Layer
    behind: Layer | None
    late: int
    sent: Tensor | Constant


def backward(found: tuple[Layer, ...], seen: Record, inputs: Tensor | Constant) -> Iterator[Reached]:
    """The layers as errors reach them, the read-out first.

    Args:
        found: The layers, the read-out last.
        seen: What they did, with the signals that are `wanted`.
        inputs: The network's.
    """
    late = 0
    for i in reversed(range(len(found))):
        layer, behind = found[i], found[i + 1] if i + 1 < len(found) else None
        late += behind.delay if behind is not None else 0
        emitted = seen[f"{found[i - 1].name}.spikes"] if i else inputs
        yield Reached(layer, behind, late, layer.sent(emitted))


@dataclass(frozen=True)
class Factors:
    """Attributes:
    feedback: The weights with which errors reach hidden layers.
    cutoff: Distance below the threshold beyond which sigma' is 0; nowhere if None.
    """

    feedback: Feedback
    cutoff: float | None

    def drawn(self, found: tuple[Layer, ...], generator: torch.Generator) -> dict[str, Tensor]:
        """What is random in the weights of the feedback, for the rule's memory."""
        if self.feedback != "random":
            return {}
        return {
            f"{layer.name}.feedback": torch.randn(behind.outputs, layer.outputs, generator=generator)
            for layer, behind in pairwise(found)
        }

    def weights(self, layer: Layer, behind: Layer, memory: Memory) -> Tensor:
        """What errors of the layer behind are multiplied with on their way to this one, `[K, I]`."""
        if self.feedback == "symmetric":
            return behind.weight.detach()
        if self.feedback == "random":
            return memory[f"{layer.name}.feedback"].to(behind.weight)
        return torch.ones_like(behind.weight)

    def gate(self, layer: Layer, seen: Record, start: Mapping[str, Tensor] | None) -> Tensor:
        """sigma' `[T, B, I]`, from the layer's state before the first step; rest if None."""
        signals = {name: seen[f"{layer.name}.{name}"] for name in variables(layer.neuron)}
        return sensitivity(layer.neuron, signals, start, self.cutoff)


def wanted(found: tuple[Layer, ...], lesson: Lesson) -> tuple[str, ...]:
    """The signals that the rule and the lesson read."""
    own = [
        f"{layer.name}.{v}" for layer in found if layer.spiking for v in ("spikes", *variables(layer.neuron))
    ]
    return tuple(dict.fromkeys((*own, *lesson.record)))


def asked(seen: Record, lesson: Lesson) -> Record:
    """Of what was seen, what the lesson reads."""
    return Record(seen.output, {name: seen[name] for name in lesson.record}, seen.state)


def held(x: Tensor, steps: int, before: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """`x` `[T, ...]` that many steps later, and what is still to come.

    Args:
        x: Anything over time.
        steps: How many.
        before: What was still to come; zeros if None.

    >>> held(torch.tensor([1.0, 2.0, 3.0]), 2)
    (tensor([0., 0., 1.]), tensor([2., 3.]))
    """
    if not steps:
        return x, x[:0]
    whole = torch.cat([x.new_zeros(steps, *x.shape[1:]) if before is None else before, x])
    return whole[: len(x)], whole[len(x) :]
