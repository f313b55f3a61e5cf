"""Sequential MNIST: the images of `mnist`, cut into steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rheobase.cli.inputs import read_samples
from rheobase.tasks.mnist import MNIST
from rheobase.tasks.sequential_mnist import SequentialMNIST


def test_rows_and_pixels_are_those_of_the_images() -> None:
    images = MNIST(validation=0.1).splits()
    rows = SequentialMNIST(cue=3, answer=2, validation=0.1).splits()
    pixels = SequentialMNIST(order="pixels").splits()
    for name in ("train", "validation", "test"):
        image, row = getattr(images, name).whole(), getattr(rows, name).whole()
        assert torch.equal(row.inputs[:, :28], image.inputs[:, 0])
        assert float(row.inputs[:, 28:].abs().sum()) == 0
        assert torch.equal(row.targets, image.targets)
        assert row.mask is not None
        assert row.mask.shape == (31, len(row.targets))
        assert row.mask[:, -1].nonzero().flatten().tolist() == [29, 30]
        assert torch.equal(row.mask, row.mask[:, -1:].expand_as(row.mask))
    assert torch.equal(pixels.test.whole().inputs, images.test.whole().inputs.reshape(1000, 784, 1))
    assert pixels.validation is None
    assert pixels.test.whole().mask is None


def test_baselines_are_those_of_the_images() -> None:
    assert SequentialMNIST().baselines()["linear"] == pytest.approx(0.894, abs=0.003)


def test_options_are_checked_as_those_of_the_images() -> None:
    with pytest.raises(ValueError, match=r"MNIST\.path: got 'x' with data='bundled'"):
        SequentialMNIST(path="x")


def test_the_answer_is_within_the_sequence() -> None:
    assert SequentialMNIST(cue=3, answer=31).splits().test.batch(torch.tensor([0])).mask is not None
    with pytest.raises(ValueError, match=r"SequentialMNIST\.answer: got 32 steps of a sequence that has 31"):
        SequentialMNIST(cue=3, answer=32)


def test_recipes_decide_where_the_output_counts() -> None:
    for recipe in SequentialMNIST.recipes.values():
        assert recipe["decoder"]["window"] == recipe["task"]["answer"] >= recipe["task"]["cue"]


def test_rows_are_held_and_cut() -> None:
    task = SequentialMNIST(hold=3, columns=20, cue=2)
    assert task.input_shape == (86, 20)
    rows, images = task.splits().test.whole().inputs, MNIST().splits().test.whole().inputs
    assert torch.equal(rows[:, 10 * 3 : 11 * 3], images[:, 0, 10, 4:24].unsqueeze(1).expand(-1, 3, -1))
    assert float(rows[:, 84:].abs().sum()) == 0
    with pytest.raises(ValueError, match="columns: got 20 with the order 'pixels'"):
        SequentialMNIST(order="pixels", columns=20)


def test_the_cue_flickers_between_white_and_black() -> None:
    task = SequentialMNIST(order="pixels", cue=6, flicker=2)
    sequences, images = task.splits().test.whole().inputs, MNIST().splits().test.whole().inputs
    assert torch.equal(sequences[:, :784], images.reshape(1000, 784, 1))
    assert sequences[:, 784:, 0].unique(dim=0).tolist() == [[1, 1, 0, 0, 1, 1]]


@pytest.mark.parametrize(
    "task",
    [
        SequentialMNIST(hold=2, columns=20, cue=8, answer=24),
        SequentialMNIST(order="pixels", cue=56, flicker=4, answer=56),
    ],
    ids=["rows", "pixels"],
)
def test_images_in_files_become_sequences(task: SequentialMNIST, tmp_path: Path) -> None:
    chosen = torch.arange(2)
    images = MNIST().splits().test.batch(chosen).inputs
    assert images.shape[1:] == task.sample_shape
    np.save(tmp_path / "images.npy", (images[:, 0] * 255).round().to(torch.uint8).numpy())
    np.save(tmp_path / "sequences.npy", task.present(images).numpy())
    wanted = task.splits().test.batch(chosen).inputs
    assert wanted.shape[1:] == task.input_shape
    for name in ("images", "sequences"):
        torch.testing.assert_close(read_samples(tmp_path / f"{name}.npy", task), wanted)
    np.save(tmp_path / "wrong.npy", np.zeros((2, 5, 5), dtype=np.float32))
    with pytest.raises(ValueError, match=r"shape \(2, 5, 5\), wanted .*\(1, 28, 28\)"):
        read_samples(tmp_path / "wrong.npy", task)
