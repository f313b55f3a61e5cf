"""Fitness shaping: what weight each member has in the update, from the population's losses.

    raw       the losses themselves
    z_score   (loss - mean) / standard deviation; 0 where all are equal
    ranks     centred ranks: from -1/2 for the lowest loss to +1/2 for the highest, equal losses alike
    utility   1/P - max(0, ln(P/2 + 1) - ln k) / sum for the k-th lowest, as in natural evolution strategies

The higher the loss, the larger the weight: sums of directions with these weights point uphill. A constant
added to the losses changes nothing but `raw` (and that only without mirrored members), a monotone map
nothing in `ranks` and `utility`.

Salimans, Ho, Chen, Sidor & Sutskever, "Evolution strategies as a scalable alternative to reinforcement
learning", arXiv:1703.03864 (2017), for centred ranks; Wierstra et al., "Natural evolution strategies", JMLR
15 (2014), for utilities.
"""

from __future__ import annotations

import warnings
from typing import Literal

import torch
from torch import Tensor

Shaping = Literal["ranks", "z_score", "raw", "utility"]


def shape(losses: Tensor, how: Shaping) -> Tensor:
    """The weights `[P]`, float64, of members with these (finite) losses `[P]`.

    >>> shape(torch.tensor([3.0, 1.0, 1.0]), "ranks").tolist()
    [0.5, -0.25, -0.25]
    """
    values = losses.double()
    if how == "raw":
        return values
    if how == "z_score":
        spread = values.std(correction=0)
        return (values - values.mean()) / spread if spread > 0 else torch.zeros_like(values)
    if how == "ranks":
        return mean_of_equal(values, torch.linspace(-0.5, 0.5, len(values), dtype=torch.float64))
    place = torch.arange(1, len(values) + 1, dtype=torch.float64)
    good = (torch.tensor(len(values) / 2 + 1).log() - place.log()).clamp(min=0)
    return mean_of_equal(values, 1 / len(values) - good / good.sum())


def mean_of_equal(values: Tensor, weights: Tensor) -> Tensor:
    """`weights` in the order of `values`, lowest first; equal values share theirs alike."""
    _, group, sizes = torch.unique(values, return_inverse=True, return_counts=True)
    sums = torch.stack([part.sum() for part in torch.split(weights, sizes.tolist())])
    shared: Tensor = (sums / sizes)[group]
    return shared


def settled(losses: Tensor) -> Tensor:
    """`losses` with the highest finite one in place of those that are NaN or infinite, and a warning.

    Raises:
        ValueError: If none is finite.
    """
    finite = losses.isfinite()
    number = int((~finite).sum())
    if not number:
        return losses
    if number == len(losses):
        raise ValueError(
            f"got a loss that is not finite from all {number} members of the population, wanted at least "
            "one that is; lower sigma, or look at the loss of the network itself"
        )
    warnings.warn(
        f"evolution: {number} of {len(losses)} members have a loss that is not finite; they are ranked "
        "last (lower sigma if this goes on)",
        stacklevel=2,
    )
    return torch.where(finite, losses, losses[finite].max())
