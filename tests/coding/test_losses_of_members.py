"""Losses of many networks from what is left of their read-outs: those of one network, to the last bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rheobase.coding.losses import (
    CountHinge,
    CrossEntropyCount,
    CrossEntropyLast,
    CrossEntropyMax,
    CrossEntropySum,
    FirstSpikeCrossEntropy,
    Loss,
    MeanSquaredError,
)

REDUCED: list[Loss] = [
    CountHinge(),
    CrossEntropyCount(),
    CrossEntropyLast(),
    CrossEntropyMax(),
    FirstSpikeCrossEntropy(tau=7.0),
    MeanSquaredError(over="last"),
]
MEMBERS, STEPS, SAMPLES = 4, 20, 37


def signal(loss: Loss, classes: int, dtype: torch.dtype) -> Tensor:
    """`[P, T, B, C]`: spikes at all rates, or membranes of all sizes."""
    g = torch.Generator().manual_seed(classes)
    scale = torch.rand(MEMBERS, 1, SAMPLES, 1, generator=g)
    if loss.signal == "spikes":
        return (torch.rand(MEMBERS, STEPS, SAMPLES, classes, generator=g) < scale).to(dtype)
    return (30 * scale * torch.randn(MEMBERS, STEPS, SAMPLES, classes, generator=g)).to(dtype)


@pytest.mark.parametrize("loss", REDUCED, ids=lambda loss: type(loss).__name__)
# Fewer classes than a vector has numbers, as many, and more: they are summed in different orders.
@pytest.mark.parametrize("classes", [2, 3, 7, 8, 10, 15, 16, 17, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_same_bits_as_one_after_another(loss: Loss, classes: int, dtype: torch.dtype) -> None:
    assert loss.reduction is not None
    labels = torch.randint(0, classes, (SAMPLES,), generator=torch.Generator().manual_seed(1))
    course = signal(loss, classes, dtype)
    left = torch.stack([loss.reduction.of(one) for one in course])
    # As the population kernel leaves it: samples side by side, and more of them than there are.
    wider = torch.full((MEMBERS, classes, SAMPLES + 11), torch.nan, dtype=dtype)
    wider[..., :SAMPLES] = left.transpose(-1, -2)
    strided = wider[..., :SAMPLES].transpose(-1, -2)
    expected = torch.stack([loss(one, labels) for one in course])
    for given in (left, strided):
        assert torch.equal(loss.of_members(given, labels), expected)
    assert len(set(expected.tolist())) == MEMBERS


def test_what_does_not_fit_is_refused() -> None:
    left, labels = torch.zeros(2, 3, 10), torch.tensor([0, 1, 10])
    with pytest.raises(ValueError, match="got labels from 0 to 10, wanted 0 to 9"):
        CrossEntropyCount().of_members(left, labels)
    with pytest.raises(ValueError, match=r"got a reduced signal, wanted all steps \[T, B, C\]"):
        CrossEntropySum().of_members(left, labels.clamp(max=9))
