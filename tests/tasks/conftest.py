"""Small files in the formats of the published data sets."""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Array = npt.NDArray[Any]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache root of the test's own."""
    root = tmp_path / "cache"
    monkeypatch.setenv("RHEOBASE_CACHE", str(root))
    return root


@pytest.fixture
def digits() -> tuple[Array, Array]:
    """70 random images `[70, 28, 28]` of uint8 and labels in which every class comes up in each seventh."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (70, 28, 28), dtype=np.uint8)
    return images, np.tile(np.arange(10, dtype=np.uint8), 7)


def idx_bytes(array: Array) -> bytes:
    """`array` of uint8 in the IDX format."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 0x08, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def fashion(tmp_path: Path, digits: tuple[Array, Array]) -> Path:
    """A folder like the published one: 60 training images (compressed) and 10 test images (not)."""
    images, labels = digits
    folder = tmp_path / "fashion"
    folder.mkdir()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images[:60])))
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels[:60])))
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(images[60:]))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(labels[60:]))
    return folder


@pytest.fixture
def openml(tmp_path: Path) -> Callable[[list[list[Any]]], Path]:
    """Fills a folder as scikit-learn's `fetch_openml` leaves it, with these rows (pixels, then the class)."""

    def fill(rows: list[list[Any]]) -> Path:
        home = tmp_path / "scikit_learn_data"
        columns = [f"pixel{i}" for i in range(1, len(rows[0]))]
        lines = [
            "@RELATION mnist_784",
            *(f"@ATTRIBUTE {column} real" for column in columns),
            "@ATTRIBUTE class {0,1,2,3,4,5,6,7,8,9}",
            "@DATA",
            *(",".join(map(str, row)) for row in rows),
        ]
        arff = ("\n".join(lines) + "\n").encode()
        description = {
            "id": "554",
            "name": "mnist_784",
            "version": "1",
            "description": "a few rows in the format of MNIST",
            "format": "ARFF",
            "url": "https://www.openml.org/data/v1/download/52667",
            "file_id": "52667",
            "default_target_attribute": "class",
            "status": "active",
            "md5_checksum": hashlib.md5(arff).hexdigest(),
        }
        features = [_feature(i, column, "numeric") for i, column in enumerate(columns)]
        features.append(_feature(len(columns), "class", "nominal"))
        listed = {"did": 554, "name": "mnist_784", "version": 1, "status": "active", "format": "ARFF"}
        qualities = [{"name": "NumberOfInstances", "value": str(float(len(rows)))}]
        api = "api/v1/json/data"
        answers = {
            f"{api}/list/data_name/mnist_784/limit/2/data_version/1": {"data": {"dataset": [listed]}},
            f"{api}/554": {"data_set_description": description},
            f"{api}/features/554": {"data_features": {"feature": features}},
            f"{api}/qualities/554": {"data_qualities": {"quality": qualities}},
        }
        contents = {name: json.dumps(answer).encode() for name, answer in answers.items()}
        contents["data/v1/download/52667"] = arff
        for name, content in contents.items():
            path = home / "openml" / "openml.org" / f"{name}.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress(content))
        return home

    return fill


def _feature(index: int, name: str, data_type: str) -> dict[str, str]:
    return {
        "index": str(index),
        "name": name,
        "data_type": data_type,
        "is_target": str(data_type == "nominal").lower(),
        "is_ignore": "false",
        "is_row_identifier": "false",
        "number_of_missing_values": "0",
    }
