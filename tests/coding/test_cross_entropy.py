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


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_score_that_is_not_finite_is_seen(dtype: torch.dtype, value: float) -> None:
    scores, labels = rows(37, 5)
    scores[3, 2] = value
    assert total(scores.to(dtype), labels).isnan()


def test_single_precision() -> None:
    scores, labels = rows(3200, 10)
    results = []
    for function in (total, lambda z, y: cross_entropy(z, y, reduction="sum")):
        z = scores.float().requires_grad_()
        value = function(z, labels)
        value.backward()
        results.append((value.detach(), z.grad))
    torch.testing.assert_close(*results, rtol=1e-6, atol=1e-6)


def test_labels_of_every_step_are_labels_repeated() -> None:
    scores, labels = rows(20, 5)
    few = labels[:4]
    torch.testing.assert_close(
        total(scores, few, 0.5), 0.5 * cross_entropy(scores, few.repeat(5), reduction="sum")
    )


def test_the_number_of_threads_changes_nothing() -> None:
    scores, labels = rows(6400, 10)
    results, threads = [], torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            z = scores.float().requires_grad_()
            value = total(z, labels)
            value.backward()
            results.append((value.item(), z.grad))
    finally:
        torch.set_num_threads(threads)
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])


def test_second_derivatives_are_refused() -> None:
    scores, labels = rows(37, 5)
    scores.requires_grad_()
    (first,) = torch.autograd.grad(total(scores, labels) ** 2, scores, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()
