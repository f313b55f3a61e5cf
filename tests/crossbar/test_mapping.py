"""Mappings: a weight comes back, changes spread as they say, and one more cell per wish is none too many."""

from __future__ import annotations

import pytest
import torch

from rheobase.crossbar.mapping import BitSliced, DifferentialPair, OneSigned, WeightMapping
from rheobase.registry import build, catalogue

SIGNS = torch.tensor([1.0, -1.0, 1.0, -1.0])
each = pytest.mark.parametrize("cls", list(catalogue(WeightMapping).values()))


def weight() -> torch.Tensor:
    drawn = torch.rand(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return drawn * SIGNS * 2.0


@each
def test_a_weight_comes_back(cls: type[WeightMapping]) -> None:
    mapping = cls()
    g = mapping.encode(weight(), 2.0, SIGNS)
    assert tuple(g.shape) == mapping.shape(3, 4)
    assert float(g.min()) >= 0.0
    assert float(g.max()) <= 1.0
    error = 2.0 / (4**4 - 1) / 2 if cls is BitSliced else 1e-12  # half of the last digit
    torch.testing.assert_close(mapping.decode(g, 2.0, SIGNS), weight(), rtol=0, atol=error)


@each
def test_a_change_spreads_over_the_cells(cls: type[WeightMapping]) -> None:
    mapping = cls()
    g = mapping.encode(weight(), 2.0, SIGNS)
    wish = torch.randn(3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    moved = mapping.decode(g + mapping.spread(wish, 2.0, SIGNS), 2.0, SIGNS) - mapping.decode(g, 2.0, SIGNS)
    torch.testing.assert_close(moved, wish)


@each
def test_too_large_a_weight_is_the_largest(cls: type[WeightMapping]) -> None:
    g = cls().encode(9.0 * SIGNS.expand(2, 4), 2.0, SIGNS)
    torch.testing.assert_close(cls().decode(g, 2.0, SIGNS), 2.0 * SIGNS.expand(2, 4))


@each
def test_survives_a_file(cls: type[WeightMapping]) -> None:
    assert build(WeightMapping, cls().to_dict()) == cls()


def test_pairs_at_the_low_end_carry_least() -> None:
    low, middle = DifferentialPair(rest="low"), DifferentialPair()
    assert float(low.encode(weight(), 2.0).sum()) < float(middle.encode(weight(), 2.0).sum())
    torch.testing.assert_close(low.decode(low.encode(weight(), 2.0), 2.0), weight())


def test_one_sign_needs_signs_and_half_the_cells() -> None:
    assert OneSigned().planes * 2 == DifferentialPair().planes
    with pytest.raises(ValueError, match="one_signed: got connections without signs"):
        OneSigned().encode(weight(), 2.0)
