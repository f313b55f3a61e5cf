"""Draw the founding run of the adding problem, as published and as run again: docs/images/adding.png.

    rheobase train adding --recipe founding --out runs/founding
    rheobase train adding --out runs/adding
    python -m benchmarks.founding_adding runs/founding runs/adding

The published losses are those that the founding notebook printed, one batch each, every 50 steps.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

# The notebook's print-outs up to step 1,300 (its labels are one higher), and the last one.
PUBLISHED = {
    1: 397.244, 50: 354.662, 100: 347.002, 150: 430.255, 200: 288.001, 250: 356.837, 300: 305.316,
    350: 348.729, 400: 245.598, 450: 287.464, 500: 246.126, 550: 240.125, 600: 222.274, 650: 193.074,
    700: 196.821, 750: 197.269, 800: 190.732, 850: 184.934, 900: 196.524, 950: 133.992, 1000: 137.271,
    1050: 205.615, 1100: 112.918, 1150: 106.671, 1200: 150.113, 1250: 147.707, 1300: 129.931, 5000: 29.9,
}  # fmt: skip
IMAGE = Path(__file__).parents[1] / "docs" / "images" / "adding.png"


def losses(run: Path) -> dict[int, float]:
    """The logged loss of single batches, by step."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line["loss"] for line in lines if line["kind"] == "step"}


def main(founding: Path, default: Path) -> None:
    """Write the figure."""
    figure, axes = pyplot.subplots(figsize=(7, 3.6), layout="constrained")
    curves = {
        "as published": (PUBLISHED, "o", "#555555"),
        "the same settings here": (losses(founding), "-", "#0065a3"),
        "default recipe": (losses(default), "-", "#c04f15"),
    }
    for label, (curve, style, colour) in curves.items():
        axes.plot(list(curve), list(curve.values()), style, label=label, color=colour, ms=3, lw=0.9)
    axes.axhline(1 / 6, color="black", ls="--", lw=0.8, label="a constant: 1/6")
    axes.set(yscale="log", xlabel="training step", ylabel="squared error of a batch")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(IMAGE, dpi=130)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
