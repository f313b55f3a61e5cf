"""What the trained network did on the test set: samples, signals, histograms, the confusion matrix.

`inspection.safetensors` holds the arrays and `inspection.json` their names and units:

    inputs [S, ...], targets [S], predictions [S]        a few test samples; values: [S, K]; where there is
                                                         one at every step: [S, T] or [S, T, K]
    mask [S, T]                                          the steps that count, if not all do
    signal/<layer>.<name> [T, S, N']                     spikes and state variables of up to 64 neurons
    weight_counts/<parameter> [bins], weight_edges/... [bins + 1], and weight_counts0/, weight_edges0/ before
    spectrum/<layer> [N, 2]                              eigenvalues of recurrent weights; spectrum0/ before
    rate/<layer> [N]                                     mean rate of each neuron over the test set, in Hz
    confusion [C, C]                                     rows true, columns predicted
    answers/predictions, answers/targets [M, K]          values predicted and wanted, by sample
    fields/<connection> [M, height, width]               weights from an image to each of the first neurons

Shapes are checked here, once, so that the figures may rely on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file

from rheobase.report.fields import RunFileError, Table

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Histogram:
    """How many values fell between neighbouring edges: `counts` [bins], `edges` [bins + 1]."""

    counts: Array
    edges: Array


@dataclass(frozen=True)
class Samples:
    """A few test samples, S of them, and every recorded signal of every layer for them."""

    inputs: Array  # shape: (S, ...)
    targets: Array  # shape: (S,) or (S, ...)
    predictions: Array  # shape: (S,) or (S, ...)
    signals: Mapping[str, Mapping[str, Array]]  # layer -> name -> shape: (T, S, N')
    is_image: bool
    mask: Array | None = None  # shape: (S, T)

    @property
    def has_classes(self) -> bool:
        """Whether there is one class for each sample."""
        return self.targets.ndim == 1 and np.issubdtype(self.targets.dtype, np.integer)

    @property
    def over_time(self) -> bool:
        """Whether there is a target at every step."""
        whole = np.issubdtype(self.targets.dtype, np.integer)
        return self.targets.ndim == (2 if whole else 3)


@dataclass(frozen=True)
class Inspection:
    """All of the inspection; a part that was not written is None or empty. `dt` is in ms."""

    classes: tuple[str, ...]
    dt: float
    spiking: tuple[str, ...]
    samples: Samples | None
    weights: Mapping[str, tuple[Histogram | None, Histogram]]  # parameter -> before, after
    rates: Mapping[str, Array]  # layer -> shape: (N,)
    confusion: Array | None  # shape: (C, C)
    spectra: Mapping[str, tuple[Array | None, Array]]  # layer -> before, after; shape: (N, 2)
    answers: tuple[Array, Array] | None  # predictions, targets; shape: (M, K)
    fields: Mapping[str, Array]  # connection -> shape: (M, height, width)

    def class_name(self, index: int) -> str:
        """The name of a class, or its number where classes have no names."""
        return self.classes[index] if 0 <= index < len(self.classes) else str(index)


def read_inspection(folder: Path, names: Table | None) -> Inspection | None:
    """The inspection in `folder`, or None if one of its two files is not there yet."""
    path = folder / "inspection.safetensors"
    if names is None or not path.is_file():
        return None
    try:
        arrays = load_file(path)
    except (SafetensorError, KeyError, ValueError) as error:
        raise RunFileError(f"{path}: not a safetensors file: {error}") from error
    # Spike trains of long sequences are kept in bytes.
    trains = {name: value.astype(np.float32) for name, value in _under("trains/", arrays).items()}
    arrays = {**arrays, **trains}
    layers = names.texts("layers")
    dt = names.number("dt")
    if not dt > 0:
        raise RunFileError(f"{names.where}: 'dt' is {dt}, wanted a time step above 0 ms")
    rates = _under("rate/", arrays)
    return Inspection(
        classes=names.texts("classes"),
        dt=dt,
        spiking=names.texts("spiking"),
        samples=_samples(path, arrays, layers, names.flag("input_is_image", False)),
        weights=_weights(path, arrays),
        rates={layer: rates[layer].reshape(-1) for layer in _in_order(rates, layers)},
        confusion=_confusion(path, arrays),
        spectra=_spectra(path, arrays),
        answers=_answers(path, arrays),
        fields=_fields(path, arrays),
    )


def _under(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}


def _in_order(found: Mapping[str, Any], layers: tuple[str, ...]) -> list[str]:
    """The keys of `found`: those in `layers` in that order, each before its groups ("layer.group"), then any
    others."""
    places = {name: place for place, name in enumerate(layers)}
    return sorted(found, key=lambda name: (places.get(name.split(".")[0], len(layers)), name))


def _samples(
    path: Path, arrays: Mapping[str, Array], layers: tuple[str, ...], is_image: bool
) -> Samples | None:
    if "inputs" not in arrays:
        return None
    inputs = arrays["inputs"]
    size = inputs.shape[0] if inputs.ndim else 0
    for key in ("targets", "predictions"):
        _shape(path, key, arrays, f"[{size}, ...]", lambda a: a.ndim >= 1 and a.shape[0] == size)
    signals: dict[str, dict[str, Array]] = {}
    for name, value in sorted(_under("signal/", arrays).items()):
        wanted = f"[T, {size}, N]"
        _shape(path, f"signal/{name}", arrays, wanted, lambda a: a.ndim == 3 and a.shape[1] == size)
        layer, _, variable = name.rpartition(".")
        signals.setdefault(layer, {})[variable] = value
    ordered = {layer: signals[layer] for layer in _in_order(signals, layers)}
    mask = arrays.get("mask")
    if mask is not None:
        _shape(path, "mask", arrays, f"[{size}, T]", lambda a: a.ndim == 2 and a.shape[0] == size)
    return Samples(inputs, arrays["targets"], arrays["predictions"], ordered, is_image, mask)


def _weights(path: Path, arrays: Mapping[str, Array]) -> dict[str, tuple[Histogram | None, Histogram]]:
    before = _histograms(path, arrays, "0")
    return {name: (before.get(name), after) for name, after in _histograms(path, arrays, "").items()}


def _histograms(path: Path, arrays: Mapping[str, Array], suffix: str) -> dict[str, Histogram]:
    found = {}
    for name, counts in sorted(_under(f"weight_counts{suffix}/", arrays).items()):
        key = f"weight_edges{suffix}/{name}"
        wanted = f"[{counts.size + 1}], one more than the counts"
        edges = _shape(path, key, arrays, wanted, lambda a, n=counts.size: a.shape == (n + 1,))
        found[name] = Histogram(counts.reshape(-1), edges)
    return found


def _confusion(path: Path, arrays: Mapping[str, Array]) -> Array | None:
    if "confusion" not in arrays:
        return None
    return _shape(path, "confusion", arrays, "[C, C]", lambda a: a.ndim == 2 and a.shape[0] == a.shape[1] > 0)


def _spectra(path: Path, arrays: Mapping[str, Array]) -> dict[str, tuple[Array | None, Array]]:
    before = _under("spectrum0/", arrays)
    after = _under("spectrum/", arrays)
    for name in after:
        _shape(path, f"spectrum/{name}", arrays, "[N, 2]", lambda a: a.ndim == 2 and a.shape[1] == 2)
    return {name: (before.get(name), values) for name, values in sorted(after.items())}


def _fields(path: Path, arrays: Mapping[str, Array]) -> dict[str, Array]:
    found = _under("fields/", arrays)
    for name in found:
        _shape(path, f"fields/{name}", arrays, "[M, height, width]", lambda a: a.ndim == 3 and a.size > 0)
    return dict(sorted(found.items()))


def _answers(path: Path, arrays: Mapping[str, Array]) -> tuple[Array, Array] | None:
    if "answers/targets" not in arrays:
        return None
    targets = _shape(path, "answers/targets", arrays, "[M, K]", lambda a: a.ndim == 2)
    wanted = str(list(targets.shape))
    fits = _shape(path, "answers/predictions", arrays, wanted, lambda a: a.shape == targets.shape)
    return fits, targets


def _shape(path: Path, key: str, arrays: Mapping[str, Array], wanted: str, fits: Any) -> Array:
    """The array under `key`, if it is there and `fits`."""
    if key not in arrays:
        raise RunFileError(f"{path}: no '{key}'; wanted an array of shape {wanted}")
    array = arrays[key]
    if not fits(array):
        raise RunFileError(f"{path}: '{key}' has shape {list(array.shape)}, wanted {wanted}")
    return np.asarray(array)
