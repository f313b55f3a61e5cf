"""Baselines: right on data whose answer is known, kept on disk, and not undone by a damaged file."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch

from rheobase.tasks import baselines
from rheobase.tasks.baselines import cache_root, classification, content_hash, stored


def test_exclusive_or_separates_the_models() -> None:
    """No line solves it (at most 3 corners of 4), the nearest neighbour does, the majority is 40 of 100."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.tensor([[0.0, 0], [1, 1], [0, 1], [1, 0]])
    where = torch.tensor([0] * 20 + [1] * 40 + [2] * 20 + [3] * 20)
    x = corners[where] + 0.1 * torch.randn(100, 2, generator=generator)
    y = (where < 2).long()
    scores = classification(
        x.reshape(100, 1, 1, 2), y, corners.reshape(4, 1, 1, 2), torch.tensor([1, 1, 0, 0])
    )
    assert scores["constant"] == 0.5
    assert scores["linear"] <= 0.75
    assert scores["nearest_neighbour"] == 1.0


def test_the_constant_is_chosen_on_the_training_data() -> None:
    x = torch.eye(5)
    scores = classification(x, torch.tensor([2, 2, 2, 0, 1]), x, torch.tensor([0, 0, 0, 2, 1]))
    assert scores["constant"] == pytest.approx(0.2)


def test_many_samples_stop_early_without_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "_CONVERGED_UP_TO", 10)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 50, generator=generator) * torch.logspace(-3, 4, 50)  # badly conditioned
    y = (x.sum(1) > 0).long()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert classification(x, y, x, y)["linear"] > 0.9


def test_hash_sees_values_shapes_and_types() -> None:
    base = torch.arange(6.0)
    other = [base.reshape(2, 3), base + 1, base.double(), base.to(torch.int32)]
    assert len({content_hash(x) for x in [base, *other]} | {content_hash(base, base)}) == 6
    assert content_hash(base.reshape(2, 3).T) == content_hash(base.reshape(2, 3).T.contiguous())


def test_second_time_is_read_from_the_cache(cache: Path) -> None:
    calls = []

    def compute() -> dict[str, float]:
        calls.append(1)
        return {"constant": 0.5}

    assert stored("abc", compute) == stored("abc", compute) == {"constant": 0.5}
    assert len(calls) == 1
    assert [p.name for p in (cache / "baselines").iterdir()] == ["abc.json"]
    assert json.loads((cache / "baselines" / "abc.json").read_text()) == {"constant": 0.5}


@pytest.mark.parametrize(
    "content", [b"", b'{"constant": 0.', b"[]", b"{}", b'{"constant": "x"}', b"\xff\xfe", b"NaN"]
)
def test_a_damaged_file_is_computed_again_and_mended(cache: Path, content: bytes) -> None:
    path = cache / "baselines" / "abc.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert stored("abc", lambda: {"constant": 0.5}) == {"constant": 0.5}
    assert json.loads(path.read_text()) == {"constant": 0.5}


def test_a_value_that_is_no_number_is_computed_again(cache: Path) -> None:
    path = cache / "baselines" / "abc.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"constant": NaN}')
    assert stored("abc", lambda: {"constant": 0.5}) == {"constant": 0.5}


def test_a_cache_that_cannot_be_written_costs_a_warning(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match=r"could not be kept .*set RHEOBASE_CACHE"):
        assert stored("abc", lambda: {"constant": 0.5}) == {"constant": 0.5}


def test_a_failed_write_leaves_nothing_behind(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dump", full)
    with pytest.warns(UserWarning, match=r"No space left"):
        stored("abc", lambda: {"constant": 0.5})
    assert list((cache / "baselines").iterdir()) == []


def test_cache_root(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_root() == cache
    monkeypatch.setenv("RHEOBASE_CACHE", "~/somewhere")
    assert cache_root() == Path.home() / "somewhere"
    monkeypatch.delenv("RHEOBASE_CACHE")
    assert cache_root().name == "rheobase"
