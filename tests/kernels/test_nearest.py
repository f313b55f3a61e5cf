"""The pair of columns' numbers that is least apart, against torch's search of all."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rheobase.kernels.nearest import BLOCK, nearest


def by_torch(first: Tensor, second: Tensor, prices: Tensor) -> Tensor:
    costs = (first.t().unsqueeze(2) - second.t().unsqueeze(1)).abs() + prices
    return costs.flatten(1).argmin(1)


@pytest.mark.parametrize("columns", [0, 1, BLOCK, 2 * BLOCK + 3])
def test_as_torch_finds_them(columns: int) -> None:
    generator = torch.Generator().manual_seed(columns)
    first, second = (torch.rand(n, columns, generator=generator) for n in (9, 4))
    prices = 0.1 * torch.rand(9, 4, generator=generator)
    found = nearest(first, second, prices)
    assert found.dtype == torch.int32
    assert torch.equal(found.long(), by_torch(first, second, prices))


def test_the_first_of_those_that_cost_the_same() -> None:
    same = torch.zeros(3, 5)
    assert nearest(same, same[:2], torch.zeros(3, 2)).tolist() == [0] * 5


def test_a_view_that_is_not_contiguous() -> None:
    whole = torch.rand(40, 9, generator=torch.Generator().manual_seed(1))
    first, second = whole.t(), whole.t()[:3]
    prices = torch.full((9, 3), 0.05)
    assert torch.equal(nearest(first, second, prices).long(), by_torch(first, second, prices))
