"""Fashion-MNIST: 28x28 grey images of clothes, 60,000 to train on and 10,000 to test on.

Four IDX files, compressed or not, from a folder of the user's or from Debian's package
`dataset-fashion-mnist`. Nothing is downloaded.

Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
Learning Algorithms", arXiv:1708.07747 (2017); https://github.com/zalandoresearch/fashion-mnist.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from rheobase.config import option
from rheobase.tasks.idx import read_idx
from rheobase.tasks.images import ImageClassification, LabelledImages

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package `dataset-fashion-mnist` puts the files."""

_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "t10k": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


class FashionMNIST(ImageClassification):
    """Clothes, 28x28 pixels, 10 classes.

    >>> task = FashionMNIST()
    >>> task.classes[:3], task.input_shape
    (('T-shirt/top', 'trouser', 'pullover'), (1, 28, 28))
    """

    classes: ClassVar[tuple[str, ...]] = (
        "T-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    )
    input_shape: ClassVar[tuple[int, ...]] = (1, 28, 28)
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **ImageClassification.recipes,
        # https://github.com/fzenke/spytorch, tutorial 2: test accuracy .863
        "latency": {
            "encoder": {"name": "latency", "steps": 100, "tau": 20.0, "threshold": 0.2},
            "loss": {"name": "cross_entropy_max"},
            "decoder": {"name": "membrane_max"},
            # Its weights are normal with standard deviation 7 (1 - e^(-1/10)) / sqrt(inputs), without biases.
            "network": {
                "name": "feed_forward",
                "hidden": [100],
                "bias": False,
                "weights": "normal",
                "gain": 0.6661,
            },
            "neuron": {"name": "synaptic_lif", "preset": "spytorch"},
            "readout": {"name": "synaptic_integrator", "preset": "spytorch"},
            "training": {"epochs": 30, "batch_size": 256, "learning_rate": 2e-4},
        },
    }

    path: str | None = option(
        default=None, help=f"folder of the four IDX files, .gz or not (by default Debian's, {DEBIAN_FOLDER})"
    )

    def load(self) -> tuple[LabelledImages, LabelledImages]:
        """Training and test images; `FileNotFoundError` naming both ways to get files that are absent."""
        folder = DEBIAN_FOLDER if self.path is None else Path(self.path).expanduser()
        return _read(folder, "train"), _read(folder, "t10k")


def _read(folder: Path, part: str) -> LabelledImages:
    images, labels = (_find(folder, name) for name in _FILES[part])
    return LabelledImages(read_idx(images), read_idx(labels), f"{images} and {labels.name}")


def _find(folder: Path, name: str) -> Path:
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    wanted = ", ".join(file for pair in _FILES.values() for file in pair)
    raise FileNotFoundError(
        f"Fashion-MNIST: got no {name} or {name}.gz in {folder}, wanted {wanted}; either set the path to a "
        "folder that has them (from https://github.com/zalandoresearch/fashion-mnist) or install Debian's "
        "package: apt install dataset-fashion-mnist"
    )
