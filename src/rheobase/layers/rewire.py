"""DEEP R: sparse connections that are rewired while they are trained.

Each connection has a fixed sign s and a strength theta >= 0, w = s theta. After each step of the optimizer,
with learning rate eta, for each connection that exists

    theta <- theta - eta l1 + sqrt(2 eta temperature) nu,   nu standard normal,

and those at or below zero go dormant (w = 0). As many are drawn from all dormant connections, each as likely
as the others; they exist from then on, with a strength of zero. So the number of connections stays
constant: the "hard" variant, algorithm 1 of Bellec, Kappel, Maass & Legenstein, "Deep rewiring: training very
sparse deep networks", ICLR 2018. (A connection that is exactly at zero goes dormant here, as one below does.)

Signs are those of the presynaptic neurons where these are given, else one per connection, drawn at random.
What the optimizer remembers of a connection (momentum) is forgotten where one goes dormant or is drawn. An
optimizer that keeps weights somewhere else than in its parameters (`Follows`) says what they are meant to be,
and is told of the change.

Not modelled: the paper's soft variant, in which dormant connections move on and their number varies.
"""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from rheobase.layers.connection import Constraint, constraint_of, trained_weight


@runtime_checkable
class Follows(Protocol):
    """An optimizer that keeps weights somewhere else too (such as on an array, which it writes to)."""

    def meant(self, parameter: Tensor) -> Tensor:
        """What this parameter is meant to be, as far as the optimizer knows: that is rewired."""

    def rewired(self, parameter: Tensor, before: Tensor) -> None:
        """Follow a rewiring of what was meant `before`: new connections are in the mask, with a weight of
        zero."""


@torch.no_grad()
def rewire(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    learning_rate: float,
    generator: torch.Generator,
) -> dict[str, int]:
    """Rewire all connections of `module` that are to be; call it after each step of the optimizer.

    Args:
        module: A layer or network; connections made without `rewiring` stay as they are.
        optimizer: What trains it.
        learning_rate: That of the step that was just made (eta).
        generator: Where noise and new connections are drawn from.

    Returns:
        How many connections went dormant (as many were drawn), by the name of the layer.

    >>> from rheobase.layers.connection import Rewiring
    >>> from rheobase.layers.dense import Dense
    >>> layer = Dense(20, 10, density=0.2, rewiring=Rewiring(l1=10.0))
    >>> lost = rewire(layer, torch.optim.SGD(layer.parameters()), 0.01, torch.Generator())
    >>> lost[""] > 0, int(layer.parametrizations.weight[0].mask.sum())
    (True, 40)
    """
    done: dict[str, int] = {}
    for name, layer in module.named_modules():
        constraint, original = constraint_of(layer), trained_weight(layer)
        if original is not None and constraint is not None and constraint.rewiring is not None:
            follows = optimizer if isinstance(optimizer, Follows) else None
            before = original if follows is None else follows.meant(original)
            after, lost, drawn = _rewire(before, constraint, learning_rate, generator)
            original.copy_(after)
            _forget(optimizer, original, lost | drawn)
            if follows is not None:
                follows.rewired(original, before)
            done[name] = int(lost.sum())
    return done


def _rewire(
    weight: Tensor, constraint: Constraint, learning_rate: float, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of the algorithm: the weights, where connections went dormant, and where some were drawn."""
    rewiring, mask, signs = constraint.rewiring, constraint.mask, constraint.signs
    assert rewiring is not None
    assert mask is not None
    assert signs is not None
    strength = weight * signs
    strength -= learning_rate * rewiring.l1
    if rewiring.temperature:
        noise = torch.randn(int(mask.sum()), generator=generator, dtype=strength.dtype)
        strength[mask] += math.sqrt(2.0 * learning_rate * rewiring.temperature) * noise
    lost = mask & (strength <= 0.0)
    kept = mask & ~lost
    drawn = torch.zeros_like(mask)
    number = int(lost.sum())
    if number:
        places = (constraint.possible() & ~kept).flatten().nonzero().flatten()
        chosen = places[torch.randperm(len(places), generator=generator)[:number]]
        drawn.view(-1)[chosen] = True
    mask.copy_(kept | drawn)
    return torch.where(kept, strength * signs, 0.0), lost, drawn


def _forget(optimizer: torch.optim.Optimizer, parameter: Tensor, places: Tensor) -> None:
    """Set what the optimizer remembers of these places to zero."""
    for value in optimizer.state.get(parameter, {}).values():
        if isinstance(value, Tensor) and value.shape == parameter.shape:
            value.masked_fill_(places, 0.0)
