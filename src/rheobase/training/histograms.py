"""Histograms of tensors, for TensorBoard and the report."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from rheobase.layers.connection import plain_name

BINS = 64


class Counts(NamedTuple):
    """How many values fell between neighbouring edges."""

    counts: Tensor  # float32 [bins]
    edges: Tensor  # float32 [bins + 1]


def histogram(values: Tensor, bins: int = BINS) -> Counts:
    """Equal bins from the lowest to the highest of the (finite) values.

    >>> histogram(torch.tensor([0.0, 1.0, 1.0, 4.0]), bins=2)
    Counts(counts=tensor([3., 1.]), edges=tensor([0., 2., 4.]))
    """
    flat = values.detach().flatten().float()
    low, high = (float(extreme) for extreme in flat.aminmax())
    if low == high:  # one value would have bins of no width
        low, high = low - 0.5, high + 0.5
    return Counts(torch.histc(flat, bins, low, high), torch.linspace(low, high, bins + 1))


def parameter_histograms(module: nn.Module) -> dict[str, Counts]:
    """A histogram of each parameter by name."""
    return {plain_name(name): histogram(p) for name, p in module.named_parameters() if p.numel()}
