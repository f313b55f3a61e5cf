"""Distances of spike trains: values by hand, and the properties of a distance."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rheobase.coding.filters import Exponential
from rheobase.coding.spike_trains import (
    coincidences,
    response_errors,
    van_rossum_cost,
    van_rossum_distance,
    victor_purpura,
)

times = st.lists(st.floats(0, 100), max_size=6).map(sorted)


def train(steps: int, *spikes: int) -> torch.Tensor:
    x = torch.zeros(steps, 1, 1, dtype=torch.float64)
    x[list(spikes)] = 1.0
    return x


def test_van_rossum_distance_of_two_spikes_by_formula() -> None:
    # Exponential kernel: D^2 = 1 - exp(-gap / tau), in units of one spike's, twice that for two spikes.
    a, b = train(4000, 500), train(4000, 700)
    distance = van_rossum_distance(a, b, 0.1, Exponential(tau=10.0))
    assert distance.item() == pytest.approx(math.sqrt(2 * (1 - math.exp(-2.0))), abs=1e-9)
    assert van_rossum_distance(a, a, 0.1).item() == 0


def test_an_unmatched_spike_costs_four_a_second() -> None:
    target = train(40_000, 10_000)
    for scale in (1, 2):  # the longer, the cheaper
        cost = van_rossum_cost(
            torch.zeros(scale * 40_000, 1, 1), torch.cat([target] + [train(40_000)] * (scale - 1)), 0.1
        )
        assert cost.item() == pytest.approx(4.0270 / 4 / scale, rel=1e-4)


def test_the_mask_says_of_which_steps_the_mean_is() -> None:
    target, mask = train(2000, 300, 1300), torch.zeros(2000, 1, dtype=torch.bool)
    mask[1000:] = True
    half = van_rossum_cost(torch.zeros_like(target), target, 0.1, mask=mask)
    torch.testing.assert_close(
        half, van_rossum_cost(torch.zeros_like(target), target, 0.1), rtol=1e-3, atol=0
    )


def test_victor_purpura_by_hand() -> None:
    assert victor_purpura([], [1.0, 2.0], q=1.0) == 2
    assert victor_purpura([10.0], [14.0], q=0.1) == pytest.approx(0.4)
    assert victor_purpura([10.0], [50.0], q=0.1) == 2  # cheaper to delete and insert
    assert victor_purpura([10.0, 20.0, 30.0], [11.0, 30.0], q=0.5) == pytest.approx(1.5)
    assert victor_purpura([1.0, 2.0, 3.0], [4.0], q=0.0) == 2  # counts alone
    with pytest.raises(ValueError, match="sort them"):
        victor_purpura([2.0, 1.0], [], q=1.0)


@settings(deadline=None, max_examples=40)
@given(a=times, b=times, c=times, q=st.floats(0, 1))
def test_victor_purpura_is_a_distance(a: list[float], b: list[float], c: list[float], q: float) -> None:
    def d(x: list[float], y: list[float]) -> float:
        return victor_purpura(x, y, q)

    assert d(a, a) == 0
    assert d(a, b) == pytest.approx(d(b, a))
    assert d(a, c) <= d(a, b) + d(b, c) + 1e-9
    assert abs(len(a) - len(b)) - 1e-9 <= d(a, b) <= len(a) + len(b)


def test_coincidences_are_one_to_one() -> None:
    assert coincidences([1.0, 1.5], [1.2], tolerance=1.0) == 1
    # The first spike must leave the first target to the second one.
    assert coincidences([10.0, 8.5], [9.0, 11.5], tolerance=2.0) == 2
    assert coincidences([], [1.0], tolerance=2.0) == 0
    assert coincidences([499.5], [0.5], tolerance=2.0) == 0
    assert coincidences([499.5], [0.5], tolerance=2.0, period=500.0) == 1


def test_response_errors_of_several_windows() -> None:
    windows = torch.zeros(10, 1, 2)
    windows[1:4, 0, 0] = windows[6:8, 0, 0] = windows[8:, 0, 1] = 1.0
    spikes = torch.zeros(10, 1, 2)
    spikes[2:4, 0, 0] = spikes[5, 0, 0] = 1.0
    errors = response_errors(spikes, windows)
    assert errors[:, 0, 0].tolist() == [0, 0, 0, 0, 0, -1, 0, 1, 0, 0]
    assert errors[:, 0, 1].tolist() == [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]  # a window that the end cuts off


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match=r"wanted two of the same shape \[T, B, N\]"):
        van_rossum_cost(torch.zeros(3, 1, 1), torch.zeros(3, 1, 2), 0.1)
