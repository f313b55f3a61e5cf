"""Samples from a file, in the shape and range of a task.

NumPy (.npy, nothing is unpickled), grey images through Pillow, anything else as IDX. Whole numbers
are scaled as the task scales its own; colour images are turned grey; nothing is resized or inverted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rheobase.tasks.base import Task
from rheobase.tasks.idx import read_idx

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"})


def read_samples(path: Path, task: Task) -> Tensor:
    """The samples in a file, float32 `[B, *task.input_shape]`.

    A file of one sample is a batch of one; a leading channel dimension of size 1 may be missing. Where the
    task makes inputs of samples of another shape (sequences of images), the file may hold either.

    Raises:
        ValueError: If the file is damaged, or its values are not of the task's shape, finite, and in
            the range of its pixels.
        OSError: If it cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        values, white = _picture(path), 255.0
    else:
        values = _numpy(path) if suffix == ".npy" else _idx(path)
        white = float(getattr(task, "white", 1.0))
    if not np.issubdtype(values.dtype, np.number) or np.issubdtype(values.dtype, np.complexfloating):
        raise ValueError(f"{path}: got values of type {values.dtype}, wanted numbers")
    whole = np.issubdtype(values.dtype, np.integer)
    samples = _shaped(values.astype(np.float32), (task.input_shape, task.sample_shape), path)
    _check(samples, white if whole else 1.0, path, bool(hasattr(task, "white")))
    read = torch.from_numpy(samples / np.float32(white) if whole else samples)
    return read if read.shape[1:] == task.input_shape else task.present(read)


def _picture(path: Path) -> npt.NDArray[Any]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("L"))
    except (UnidentifiedImageError, SyntaxError, EOFError) as error:
        raise ValueError(
            f"{path}: got no picture that Pillow can read, wanted PNG, JPEG, ...; {error}"
        ) from error
    except OSError as error:
        # Pillow has no error of its own for a truncated file; a missing one has an error number.
        if error.errno is not None:
            raise
        raise ValueError(f"{path}: the picture is damaged ({error}); save it again") from error


def _idx(path: Path) -> npt.NDArray[Any]:
    try:
        return read_idx(path)
    except ValueError as error:
        raise ValueError(
            f"{error} (its name ends in neither .npy nor that of a picture, so it was read as IDX)"
        ) from error


def _numpy(path: Path) -> npt.NDArray[Any]:
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(
            f"{path}: got no whole NumPy array of numbers ({error}); write it with numpy.save"
        ) from error
    if not isinstance(values, np.ndarray):
        raise ValueError(f"{path}: got an archive of arrays, wanted one array; write it with numpy.save")
    return values


def _shaped(values: npt.NDArray[Any], wanted: Sequence[tuple[int, ...]], path: Path) -> npt.NDArray[Any]:
    """A batch of samples of the first of these shapes that fits."""
    told: dict[str, None] = {}
    for whole in wanted:
        for shape in (whole, whole[1:]) if whole[0] == 1 and len(whole) > 1 else (whole,):
            if values.shape == shape or (values.shape[1:] == shape and len(values)):
                return np.ascontiguousarray(values.reshape(-1, *whole))
            told[f"{shape} or [B, {', '.join(map(str, shape))}]"] = None
    raise ValueError(
        f"{path}: got an array of shape {values.shape}, wanted {' or '.join(told)} (B samples, in the task's "
        "own shape); resize or cut the input first"
    )


def _check(samples: npt.NDArray[Any], high: float, path: Path, bounded: bool) -> None:
    finite = np.isfinite(samples)
    good = finite & (samples >= 0) & (samples <= high) if bounded else finite
    bad = np.flatnonzero(~good.reshape(len(samples), -1).all(1))
    if not len(bad):
        return
    got = samples[bad[0]][~good[bad[0]]].flat[0]
    wanted = f"finite values from 0 to {high:g}" if bounded else "finite values"
    raise ValueError(
        f"{path}: got {got:g} in sample {bad[0]} ({len(bad)} such samples of {len(samples)}), "
        f"wanted {wanted}; mend or drop these samples"
    )
