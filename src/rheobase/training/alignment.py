"""How well a rule's direction follows the gradient: the cosine of the angle between the two.

    cos = <g, h> / (|g| |h|)        g: the rule's direction, h: the gradient by backpropagation through time

on the same batch and weights; over all parameters, and over those of each layer. h is exact in the
surrogates' sense. A direction with a positive cosine goes downhill (for small steps), one of 0 is no better
than a random one in so many dimensions.

Measuring leaves no trace: gradients, buffers (noise keys, statistics) and random states are put back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from rheobase.layers.network import Network
from rheobase.rules.base import LearningRule, Lesson
from rheobase.rules.bptt import BPTT


@dataclass(frozen=True)
class Alignment:
    """Cosines of a direction to the gradient; None where one of the two is 0, which has no angle.

    Attributes:
        whole: Over all parameters.
        layers: Over the parameters of each layer that has any.
    """

    whole: float | None
    layers: dict[str, float | None]


def worth_measuring(rule: LearningRule) -> bool:
    """Whether a rule's direction stands for the gradient without being it."""
    return rule.descends and rule.kind != "exact"


def measured_at(step: int, steps: int, points: int) -> bool:
    """Whether `step` (from 1) is one of so many `points` of a training of `steps`: the first, the last, and
    others evenly between.

    >>> [step for step in range(1, 101) if measured_at(step, 100, 5)]
    [1, 25, 50, 75, 100]
    """
    if points == 0:
        return False
    parts = max(1, points - 1)
    return step == 1 or step * parts // steps > (step - 1) * parts // steps


def align(network: Network, lesson: Lesson, random: Tensor) -> Alignment:
    """The cosines of the directions that are in the parameters' `.grad` to the gradient on `lesson`.

    Args:
        network: The network, as the rule left it.
        lesson: The batch that the rule had.
        random: The state of torch's global generator before the rule had it (for dropout).
    """
    directions = _gradients(network)
    with _untouched(network, random):
        BPTT().accumulate(network, lesson, {})
        exact = _gradients(network)
    layers = {
        name: cosine(directions, exact, f"layers.{name}.")
        for name, layer in network.layers.items()
        if any(p.requires_grad for p in layer.parameters())
    }
    return Alignment(cosine(directions, exact), layers)


def cosine(a: Mapping[str, Tensor], b: Mapping[str, Tensor], prefix: str = "") -> float | None:
    """The cosine between two sets of gradients by parameter name, over names that start with `prefix`.

    A gradient that is missing is 0. None if either is 0 altogether.

    >>> round(cosine({"w": torch.tensor([1.0, 0.0])}, {"w": torch.tensor([1.0, 1.0])}), 4)
    0.7071
    """
    common = [name for name in a if name in b and name.startswith(prefix)]
    product = sum(float(torch.dot(_flat(a[name]), _flat(b[name]))) for name in common)
    sizes = [
        sum(float(_flat(value).square().sum()) for name, value in side.items() if name.startswith(prefix))
        for side in (a, b)
    ]
    size = float((sizes[0] * sizes[1]) ** 0.5)
    return max(-1.0, min(1.0, product / size)) if size > 0.0 else None


def _flat(value: Tensor) -> Tensor:
    return value.detach().flatten().double()


def _gradients(network: Network) -> dict[str, Tensor]:
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


@contextmanager
def _untouched(network: Network, random: Tensor) -> Iterator[None]:
    """Gradients empty and torch's random state `random` within; all of the network as before afterwards."""
    gradients = {name: p.grad for name, p in network.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    network.zero_grad(set_to_none=True)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(random)
            yield
    finally:
        for name, parameter in network.named_parameters():
            parameter.grad = gradients[name]
        with torch.no_grad():
            for name, buffer in network.named_buffers():
                buffer.copy_(buffers[name])
