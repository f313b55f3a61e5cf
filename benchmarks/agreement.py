"""Whether a contestant computed what the reference computed; the tolerances are explained in `harness`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.interface import ContestantError, Outputs

SPIKE_TOLERANCE = 1e-4
COSINE = 0.999
LENGTH = 0.01
Report = dict[str, Any]


def digest(spikes: NDArray[np.bool_]) -> str:
    """SHA-256 of spikes packed eight to a byte, in C order."""
    return hashlib.sha256(np.packbits(spikes).tobytes()).hexdigest()


def _share(spikes: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> float:
    return int((spikes != wanted).sum()) / max(1, int(wanted.sum()))


def compare(
    path: Path, truth: Outputs, follow: Callable[[NDArray[np.bool_]], Outputs] | None = None
) -> Report:
    """Agreement of a contestant's saved outputs with the reference; raises where it is too small.

    With `follow`, the reference is asked again, along the contestant's own spikes, and that is what they and
    the gradients must agree with.
    """
    with np.load(path) as saved:
        shape = tuple(int(size) for size in saved["shape"])
        if shape != truth.spikes.shape:
            raise ContestantError(f"spikes have shape {shape}, wanted {truth.spikes.shape}")
        spikes = np.unpackbits(saved["spikes"], count=truth.spikes.size).astype(np.bool_).reshape(shape)
        gradients = {name: saved[f"gradient.{name}"].astype(np.float64) for name in truth.gradients}
    parted = _share(spikes, truth.spikes)
    if follow is not None:
        truth = follow(spikes)
    differing = int((spikes != truth.spikes).sum())
    share = _share(spikes, truth.spikes)
    agreement: Report = {
        "spikes": int(spikes.sum()),
        "spikes_sha256": digest(spikes),
        "differing_spikes": differing,
        "differing_share": share,
        "parted_share": parted,
        "gradients": {},
    }
    wrong = (
        [f"{share:.1e} of the spikes differ, allowed {SPIKE_TOLERANCE:.0e}"]
        if share > SPIKE_TOLERANCE
        else []
    )
    for name, gradient in gradients.items():
        wanted = truth.gradients[name].astype(np.float64)
        if gradient.shape != wanted.shape:
            raise ContestantError(f"gradient {name} has shape {gradient.shape}, wanted {wanted.shape}")
        lengths = float(np.linalg.norm(gradient)), float(np.linalg.norm(wanted))
        cosine = float(np.vdot(gradient, wanted)) / (lengths[0] * lengths[1]) if lengths[0] else 0.0
        ratio = lengths[0] / lengths[1]
        agreement["gradients"][name] = {"cosine": cosine, "length_ratio": ratio}
        if not (cosine > COSINE and abs(ratio - 1) < LENGTH):
            wrong.append(f"gradient {name}: cosine {cosine:.5f}, length {ratio:.4f} of the reference's")
    if wrong:
        raise ContestantError("; ".join(wrong))
    return agreement
