"""What image tasks share, on a task made of whatever images a test needs."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rheobase.tasks.images import ImageClassification, LabelledImages


def image_task(images: Any, labels: Any) -> ImageClassification:
    """A task whose training and test data are these images of 2x2 pixels, 3 classes, 4 = white."""

    class Given(ImageClassification):
        classes: ClassVar[tuple[str, ...]] = ("a", "b", "c")
        input_shape: ClassVar[tuple[int, ...]] = (1, 2, 2)
        white: ClassVar[float] = 4.0

        def load(self) -> tuple[LabelledImages, LabelledImages]:
            data = LabelledImages(np.asarray(images), np.asarray(labels), "given")
            return data, data

    return Given()


def test_pixels_are_scaled_and_given_a_channel() -> None:
    images = np.array([[[0, 1], [2, 4]], [[4, 4], [0, 0]]], dtype=np.uint8)
    splits = image_task(images, [2, 0]).splits()
    batch = splits.train.whole()
    assert batch.inputs.dtype == torch.float32
    assert batch.inputs.tolist() == [[[[0, 0.25], [0.5, 1]]], [[[1, 1], [0, 0]]]]
    assert batch.targets.dtype == torch.int64
    assert batch.targets.tolist() == [2, 0]
    assert splits.validation is None
    assert images.max() == 4, "the images as published were written into"


def test_chance_and_outputs_follow_from_the_classes() -> None:
    task = image_task(np.zeros((1, 2, 2)), [0])
    assert (task.outputs, task.chance, task.metric, task.higher_is_better) == (3, 1 / 3, "accuracy", True)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((0, 2, 2)), [], "given: got 0 images, wanted at least 1"),
        (np.zeros((3, 2, 2)), [0, 1], "given: got 3 images and 2 labels"),
        (np.zeros((1, 2, 3)), [0], r"got images of shape \(1, 2, 3\) .* wanted \[N, 2, 2\]"),
        (np.zeros((1, 4)), [0], r"got images of shape \(1, 4\)"),
        (np.zeros((1, 2, 2)), [[0]], r"labels of shape \(1, 1\)"),
        (np.full((2, 2, 2), np.nan), [0, 1], r"pixels: got nan in sample 0 \(2 such samples of 2\)"),
        ([[[0, 1], [2, 4]], [[0, np.inf], [0, 0]]], [0, 1], "pixels: got inf in sample 1"),
        (np.full((1, 2, 2), 5), [0], "pixels: got 5 in sample 0 .* wanted values from 0 to 4"),
        (np.full((1, 2, 2), -1), [0], "pixels: got -1 in sample 0"),
        (np.full((1, 2, 2), None), [0], "pixels: got nan in sample 0"),
        (np.full((1, 2, 2), "x"), [0], "pixels: got <U1, wanted numbers"),
        (np.zeros((2, 2, 2)), [0, 3], "labels: got 3 in sample 1 .* wanted values from 0 to 2"),
        (np.zeros((1, 2, 2)), [-1], "labels: got -1 in sample 0"),
        (np.zeros((1, 2, 2)), [0.5], "labels: got fractions, wanted whole numbers"),
    ],
)
def test_bad_images(images: Any, labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        image_task(images, labels).splits()


@settings(deadline=None, max_examples=30)
@given(share=st.floats(0.1, 0.9), seed=st.integers(0, 100))
def test_validation_is_a_stratified_part_of_the_training_data(share: float, seed: int) -> None:
    labels = np.repeat([0, 1, 2], 20)
    images = np.linspace(0, 4, 240).reshape(60, 2, 2)
    task = image_task(images, labels).replace(validation=share, split_seed=seed)
    splits = task.splits()
    assert splits.validation is not None
    train, validation = splits.train.whole(), splits.validation.whole()
    got = torch.cat([train.inputs, validation.inputs])[:, 0, 0, 0].sort().values
    assert torch.equal(got, torch.from_numpy(images[:, 0, 0]).float().div(4))
    assert len(validation.targets) == pytest.approx(60 * share, abs=1)
    counts = torch.bincount(validation.targets, minlength=3)
    assert counts.max() - counts.min() <= 1
    assert torch.equal(splits.test.whole().targets, torch.from_numpy(labels))
    again = task.splits().validation
    assert again is not None
    assert torch.equal(again.whole().inputs, validation.inputs)


def test_validation_depends_on_its_seed() -> None:
    task = image_task(np.linspace(0, 4, 240).reshape(60, 2, 2), np.repeat([0, 1, 2], 20))
    first, second = (task.replace(validation=0.5, split_seed=seed).splits().validation for seed in (0, 1))
    assert first is not None
    assert second is not None
    assert not torch.equal(first.whole().inputs, second.whole().inputs)


@pytest.mark.parametrize("share", [0.01, 0.9])
def test_a_validation_share_without_every_class_is_refused(share: float) -> None:
    task = image_task(np.zeros((6, 2, 2)), [0, 0, 1, 1, 2, 2]).replace(validation=share)
    with pytest.raises(ValueError, match=f"given: cannot hold out {share} of 6 images with every class"):
        task.splits()


def test_bounds_of_the_validation_share() -> None:
    task = image_task(np.zeros((1, 2, 2)), [0])
    with pytest.raises(ValueError, match=r"Given.validation: got -0.1, wanted at least 0"):
        task.replace(validation=-0.1)
    with pytest.raises(ValueError, match=r"Given.validation: got 1.0, wanted at most 0.9"):
        task.replace(validation=1)
