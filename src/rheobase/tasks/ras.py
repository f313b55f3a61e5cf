"""Raster files (`.ras`): spikes as text, a time in s and the number of a neuron on each line.

    # comments, also behind spikes, and empty lines are skipped
    0.0820 59
    0.0088 64

Spikes may stand in any order, as some published files have them: they are sorted when they are read. Two
spikes of a neuron within one time step count as one.

The format is that of the simulator Auryn (Zenke & Gerstner, Frontiers in Neuroinformatics 8, 2014).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@dataclass(frozen=True)
class Raster:
    """The spikes of a file, in the order of time.

    Attributes:
        times: In ms, float64 `[K]`.
        neurons: Counted from 0, int64 `[K]`.
        lines: The line of each in the file, from 1.
        source: The file, for messages.
    """

    times: npt.NDArray[np.float64]
    neurons: npt.NDArray[np.int64]
    lines: npt.NDArray[np.int64]
    source: str

    @property
    def size(self) -> int:
        """The number of neurons, if the last one that fires is the last."""
        return int(self.neurons.max()) + 1 if len(self.neurons) else 0

    def train(self, steps: int, size: int, dt: float) -> Tensor:
        """The spike trains `[steps, size]`, each spike at the step nearest to its time.

        Raises:
            ValueError: If a spike is beyond the last step or a neuron beyond the last one; it names the line.
        """
        places = np.rint(self.times / dt).astype(np.int64)
        self._check(places >= steps, self.times, f"times below {steps * dt:g} ms", "raise the duration")
        self._check(
            self.neurons >= size, self.neurons, f"neurons 0 to {size - 1}", "raise the number of neurons"
        )
        trains = torch.zeros(steps, size)
        trains[torch.from_numpy(places), torch.from_numpy(self.neurons)] = 1.0
        return trains

    def _check(self, bad: npt.NDArray[np.bool_], values: npt.NDArray[Any], wanted: str, remedy: str) -> None:
        if bad.any():
            first = int(bad.argmax())
            raise ValueError(
                f"{self.source}, line {self.lines[first]}: got {values[first]:g} ({int(bad.sum())} such "
                f"spikes), wanted {wanted}; {remedy}, or mend the file"
            )


def read_raster(path: Path, *, first: int = 0, checksum: str | None = None) -> Raster:
    """Read a raster file.

    Args:
        path: The file.
        first: The number of its first neuron, 0 or 1.
        checksum: The SHA-256 that the file must have, in hexadecimal digits; any if None.

    Raises:
        ValueError: If it is another file than the checksum's, has no spikes, or a line is malformed; the
            message names file and line.
        OSError: If it cannot be read.
    """
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if checksum is not None and checksum.lower() != found:
        raise ValueError(f"{path}: got a file with SHA-256 {found}, wanted {checksum}; fetch it again")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: got a file that is no text ({error}), wanted a raster file") from error
    spikes = [
        (*_spike(words, f"{path}, line {number}", first), number)
        for number, line in enumerate(text.splitlines(), start=1)
        if (words := line.partition("#")[0].split())
    ]
    if not spikes:
        raise ValueError(f"{path}: got no spikes, wanted lines such as '0.0820 59' (time in s, neuron)")
    spikes.sort()
    times, neurons, lines = zip(*spikes, strict=True)
    return Raster(np.array(times), np.array(neurons, np.int64), np.array(lines, np.int64), str(path))


def _spike(words: list[str], where: str, first: int) -> tuple[float, int]:
    """Time in ms and neuron from 0, of the words of a line."""
    try:
        seconds, number = (float(words[0]), int(words[1])) if len(words) == 2 else (math.nan, 0)
    except ValueError:
        seconds, number = math.nan, 0
    if not math.isfinite(seconds):
        raise ValueError(
            f"{where}: got {' '.join(words)!r}, wanted a time in s and the number of a neuron, such as "
            "'0.0820 59'"
        )
    if seconds < 0:
        raise ValueError(f"{where}: got the time {seconds:g} s, wanted 0 s or later")
    if number < first:
        raise ValueError(f"{where}: got the neuron {number}, wanted numbers from {first}")
    return 1000.0 * seconds, number - first
