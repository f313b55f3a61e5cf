"""The cross-entropy of many rows against torch's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from rheobase.coding.cross_entropy import total

CASES = [(3200, 10), (37, 5), (3, 7), (1, 2), (20, 16), (20, 40)]


def rows(number: int, classes: int) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(number)
    scores = 30 * torch.randn(number, classes, generator=g, dtype=torch.float64)
    return scores, torch.randint(0, classes, (number,), generator=g)


@pytest.mark.parametrize(("number", "classes"), CASES)
def test_value_and_gradient(number: int, classes: int) -> None:
    scores, labels = rows(number, classes)
    results = []
    for function in (total, lambda z, y: cross_entropy(z, y, reduction="sum")):
        z = scores.clone().requires_grad_()
        value = function(z, labels)
        (3 * value).backward()
        results.append((value.detach(), z.grad))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own forward mode
@pytest.mark.parametrize(("number", "classes"), CASES)
def test_forward_mode(number: int, classes: int) -> None:
    scores, labels = rows(number, classes)
    along = torch.randn_like(scores)
    found = torch.func.jvp(lambda z: total(z, labels), (scores,), (along,))
    wanted = torch.func.jvp(lambda z: cross_entropy(z, labels, reduction="sum"), (scores,), (along,))
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_a_score_that_is_not_finite_is_seen() -> None:
    scores, labels = rows(37, 5)
    scores[3, 2] = torch.nan
    assert total(scores, labels).isnan()


def test_second_derivatives_are_refused() -> None:
    scores, labels = rows(37, 5)
    scores.requires_grad_()
    (first,) = torch.autograd.grad(total(scores, labels) ** 2, scores, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()
