from __future__ import annotations

import pytest
import torch

from rheobase.tasks.adding import Adding
from rheobase.tasks.dataset import ArrayDataset
from rheobase.training.course import Course
from rheobase.training.experiment import Training

TEN = ArrayDataset(torch.zeros(10, 1), torch.zeros(10))
ENDLESS = Adding(length=4).splits().train


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_epochs_of_finite_data() -> None:
    course = Course.of(Training(epochs=3, batch_size=4), TEN)
    assert (course.epochs, course.per_epoch, course.steps) == (3, 3, 9)
    order = course.order(2, generator())
    assert torch.equal(order, torch.randperm(10, generator=generator()))


def test_steps_of_finite_data_end_within_an_epoch() -> None:
    course = Course.of(Training(epochs=99, batch_size=4, steps=5), TEN)
    assert (course.epochs, course.per_epoch, course.steps) == (2, 3, 5)
    assert len(course.order(0, generator())) == 10
    assert torch.equal(course.order(1, generator()), torch.randperm(10, generator=generator())[:8])


def test_endless_data_are_taken_once_and_in_order() -> None:
    course = Course.of(Training(epochs=3, batch_size=4, steps=7), ENDLESS)
    assert (course.epochs, course.per_epoch, course.steps) == (3, 3, 7)
    seen = torch.cat([course.order(epoch, generator()) for epoch in range(course.epochs)])
    assert torch.equal(seen, torch.arange(28))


@pytest.mark.parametrize(("epochs", "steps", "parts"), [(10, 3, 3), (4, 6, 3), (1, 6, 1)])
def test_no_part_of_endless_data_is_empty(epochs: int, steps: int, parts: int) -> None:
    course = Course.of(Training(epochs=epochs, batch_size=2, steps=steps), ENDLESS)
    assert course.epochs == parts
    assert all(len(course.order(epoch, generator())) for epoch in range(parts))


def test_endless_data_want_a_number_of_steps() -> None:
    with pytest.raises(ValueError, match=r"training.steps: got none .* wanted how many steps to train"):
        Course.of(Training(), ENDLESS)
