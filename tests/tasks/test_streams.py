"""Random numbers by address: the same whatever the order and company in which they are asked for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rheobase.tasks.streams import Stream

STREAM = Stream("task", 0, "train")
FIRST = [[904, 193, 475], [680, 398, 612]]


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=20), st.integers(1, 50))
def test_a_sample_does_not_depend_on_the_others(numbers: list[int], count: int) -> None:
    together = STREAM.uniform(torch.tensor(numbers), count)
    alone = torch.cat([STREAM.uniform(torch.tensor([n]), count) for n in numbers])
    assert torch.equal(together, alone)


def test_values_stay_what_they_are() -> None:
    """Written down once: a change of these numbers changes every generated task."""
    assert STREAM.whole(torch.tensor([0, 7]), 3, 1000).tolist() == FIRST


def test_uniform_moments_and_neighbours() -> None:
    values = STREAM.uniform(torch.arange(2000), 100).double()
    assert float(values.mean()) == pytest.approx(0.5, abs=5 * (1 / 12 / 200_000) ** 0.5)
    assert float(values.var()) == pytest.approx(1 / 12, rel=0.01)
    assert 0 <= float(values.min()) <= float(values.max()) < 1
    neighbours = torch.corrcoef(torch.stack([values[:-1].flatten(), values[1:].flatten()]))[0, 1]
    assert abs(float(neighbours)) < 0.01


def test_whole_numbers_are_even() -> None:
    counts = torch.bincount(STREAM.whole(torch.arange(1000), 30, 3).flatten(), minlength=3)
    assert counts.tolist() == pytest.approx([10_000] * 3, abs=400)


def test_other_words_other_numbers() -> None:
    some = torch.arange(10)
    drawn = [s.uniform(some, 4) for s in (STREAM, Stream("task", 1, "train"), Stream("task", 0, "test"))]
    drawn.append(STREAM.part("noise").uniform(some, 4))
    assert len({tuple(d.flatten().tolist()) for d in drawn}) == 4


def test_spikes() -> None:
    probability = torch.tensor([0.0, 0.25, 1.0]).expand(400, 50, 3)
    spikes = STREAM.spikes(torch.arange(50), probability)
    assert spikes.shape == (400, 50, 3)
    assert spikes.mean((0, 1)).tolist() == pytest.approx([0.0, 0.25, 1.0], abs=0.01)
    assert torch.equal(STREAM.spikes(torch.tensor([7]), probability[:, :1])[:, 0], spikes[:, 7])


def test_numbers_below_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="got the sample -1, wanted numbers from 0 on"):
        STREAM.uniform(torch.tensor([-1]), 3)
