"""Tasks that make their samples: what every one of them promises, and the adding problem."""

from __future__ import annotations

import pytest
import torch

from rheobase.registry import catalogue
from rheobase.tasks.adding import Adding
from rheobase.tasks.base import Task
from rheobase.tasks.generated import GeneratedTask

GENERATED = [cls for cls in catalogue(Task).values() if issubclass(cls, GeneratedTask)]


@pytest.mark.parametrize("cls", GENERATED)
def test_samples_by_number(cls: type[GeneratedTask]) -> None:
    train = cls().splits().train
    assert train.endless
    some = train.batch(torch.tensor([5, 6, 2, 10**9]))
    assert some.inputs.shape == (4, *cls().input_shape)
    assert some.inputs.dtype == torch.float32
    alone = cls().splits().train.batch(torch.tensor([2]))
    assert torch.equal(some.inputs[2:3], alone.inputs)
    at = 0 if some.targets.dim() == 1 or (some.targets.dim() == 2 and some.mask is None) else 1
    assert torch.equal(some.targets.select(at, 2), alone.targets.select(at, 0))
    steps = cls().input_shape[0]
    if at:
        assert some.targets.shape[:2] == (steps, 4)
    if some.mask is not None:
        assert some.mask.shape == (steps, 4)
        assert some.mask.dtype == torch.bool
        assert bool(some.mask.any(0).all())


@pytest.mark.parametrize("cls", GENERATED)
def test_splits_are_streams_of_their_own(cls: type[GeneratedTask]) -> None:
    one, other = cls(validation=0.1).splits(), cls(validation=0.1, data_seed=1).splits()
    assert one.validation is not None
    assert other.validation is not None
    first = torch.tensor([0])
    drawn = [d.batch(first).inputs for d in (one.train, one.validation, one.test, other.train)]
    if len({tuple(d.flatten().tolist()) for d in drawn}) > 1:  # a task may have one fixed input
        assert len({tuple(d.flatten().tolist()) for d in drawn}) == 4
    assert torch.equal(other.test.batch(first).inputs, drawn[2])
    assert len(one.validation) == round(0.1 * len(one.test))
    with pytest.raises(ValueError, match=f"wanted 0 to {len(one.test) - 1}"):
        one.test.batch(torch.tensor([len(one.test)]))
    with pytest.raises(ValueError, match=r"wanted torch\.int64"):
        one.test.batch(torch.tensor([0.0]))


# -- the adding problem ------------------------------------------------------------------------------


def test_adding_marks_one_number_in_each_half() -> None:
    batch = Adding(length=11).splits().train.batch(torch.arange(2000))
    markers = batch.inputs[:, :, 1]
    assert set(markers.flatten().tolist()) == {0.0, 1.0}
    assert markers[:, :5].sum(1).unique().tolist() == [1.0]
    assert markers[:, 5:].sum(1).unique().tolist() == [1.0]
    assert (markers.sum(0) > 0).all()
    assert torch.equal(batch.inputs.prod(2).sum(1, keepdim=True), batch.targets)


def test_adding_constants_have_the_errors_of_theory() -> None:
    """The sum of two uniform numbers: mean 1, variance 2/12."""
    task = Adding(length=10, test_samples=20_000)
    targets = task.splits().test.whole().targets
    assert task.chance == 1 / 6
    assert task.scoring.mean(torch.ones_like(targets), targets) == pytest.approx(1 / 6, rel=0.02)
    assert task.scoring.mean(torch.zeros_like(targets), targets) == pytest.approx(7 / 6, rel=0.02)


def test_adding_baselines_have_the_errors_of_theory() -> None:
    task = Adding(length=20, test_samples=2000)
    scores = task.baselines()
    assert list(scores) == ["constant", "linear", "nearest_neighbour"]
    assert scores["constant"] == pytest.approx(1 / 6, rel=0.08)  # 3 standard errors
    assert scores["linear"] == pytest.approx((1 - 2 / 20) / 6, rel=0.09)
    assert scores["nearest_neighbour"] > 0.9 * scores["constant"]
    assert task.baselines(task.splits()) == scores


def test_adding_refuses_a_sequence_without_two_halves() -> None:
    with pytest.raises(ValueError, match=r"Adding\.length: got 1 steps, wanted at least 2 steps"):
        Adding(length=1)
