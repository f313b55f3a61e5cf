"""Labels do not overlap, colours can be read, histograms compare."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rheobase.report.histograms import top_confusions
from rheobase.report.style import INK, MUTED, SERIES, contrast, spread, thin


@given(st.lists(st.floats(0, 1), max_size=9), st.floats(0.01, 0.1))
def test_labels_keep_order_and_distance_and_stay_inside(heights: list[float], gap: float) -> None:
    moved = spread(heights, gap)
    order = np.argsort(heights, kind="stable")
    assert np.all(np.diff(np.array(moved)[order]) >= gap - 1e-9)
    assert all(-1e-9 <= height <= 1 + 1e-9 for height in moved)


def test_labels_that_do_not_touch_stay() -> None:
    assert spread([0.9, 0.1, 0.5], 0.2) == [0.9, 0.1, 0.5]


@pytest.mark.parametrize("colour", [*SERIES, INK, MUTED])
def test_labels_are_legible_on_white(colour: str) -> None:
    assert contrast(colour, "white") >= 4.5


@given(st.integers(1, 3000))
def test_thinning_keeps_the_mean_of_a_line_and_the_limit(count: int) -> None:
    x = np.arange(count, dtype=float)
    thin_x, thin_y = thin(x, 3 * x, limit=50)
    assert len(thin_x) == min(count, 50)
    np.testing.assert_allclose(thin_y, 3 * thin_x)


def test_thinning_skips_what_is_not_a_number() -> None:
    _, y = thin(np.arange(6.0), np.array([1.0, np.nan, np.nan, np.nan, 5.0, 7.0]), limit=3)
    np.testing.assert_array_equal(y, [1.0, np.nan, 6.0])


def test_top_confusions() -> None:
    assert top_confusions(np.array([[9, 0, 4], [1, 9, 0], [0, 7, 9]]), 2) == [(2, 1, 7), (0, 2, 4)]
    assert top_confusions(np.eye(3, dtype=int), 2) == []
