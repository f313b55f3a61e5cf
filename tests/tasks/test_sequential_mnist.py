"""Sequential MNIST: the images of `mnist`, cut into steps."""

from __future__ import annotations

import pytest
import torch

from rheobase.tasks.mnist import MNIST
from rheobase.tasks.sequential_mnist import SequentialMNIST


def test_rows_and_pixels_are_those_of_the_images() -> None:
    images = MNIST(validation=0.1).splits()
    rows = SequentialMNIST(cue=3, validation=0.1).splits()
    pixels = SequentialMNIST(order="pixels").splits()
    for name in ("train", "validation", "test"):
        image, row = getattr(images, name).whole(), getattr(rows, name).whole()
        assert torch.equal(row.inputs[:, :28], image.inputs[:, 0])
        assert float(row.inputs[:, 28:].abs().sum()) == 0
        assert torch.equal(row.targets, image.targets)
    assert torch.equal(pixels.test.whole().inputs, images.test.whole().inputs.reshape(1000, 784, 1))
    assert pixels.validation is None


def test_baselines_are_those_of_the_images() -> None:
    assert SequentialMNIST().baselines()["linear"] == pytest.approx(0.894, abs=0.003)


def test_options_are_checked_as_those_of_the_images() -> None:
    with pytest.raises(ValueError, match=r"MNIST\.path: got 'x' with data='bundled'"):
        SequentialMNIST(path="x")
