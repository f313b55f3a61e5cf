"""The arena's plot: a row per case, milliseconds per step on the left, peak memory on the right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

COLOURS = {"ours": "#c8452d", "peer": "#5b7c99", "floor": "#b8b8b8"}


def _short(ratio: float) -> str:
    """Two digits, and no power of ten."""
    return f"{ratio:.2g}" if ratio < 100 else f"{ratio:.0f}"


def _time(ms: float) -> str:
    """Three digits, and no power of ten."""
    return f"{ms:.3g}" if ms < 1000 else f"{ms:,.0f}"


def yardstick(contestants: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The contestant whose time the ratios are in: ours, or the floor where we do not compete."""
    for kind in ("ours", "floor"):
        for contestant in contestants:
            if contestant["kind"] == kind:
                return contestant
    return None


def _bars(axes: Axes, rows: list[dict[str, Any]], key: str, labels: list[str]) -> None:
    bars = axes.barh(
        [row["name"] for row in rows],
        [row[key] for row in rows],
        color=[COLOURS[row["kind"]] for row in rows],
        height=0.7,
    )
    axes.bar_label(bars, labels=labels, padding=4, fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.35)
    axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)


def draw(results: dict[str, Any], path: Path) -> None:
    """Write the plot of a results file, in the format that the path's suffix names."""
    cases = [case for case in results["cases"].values() if case["contestants"]]
    if not cases:
        raise ValueError("no contestant has a time to plot; see 'refused' in the results")
    heights = [0.9 + 0.36 * len(case["contestants"]) for case in cases]
    figure, grid = plt.subplots(
        len(cases),
        2,
        figsize=(11, sum(heights) + 0.5),
        squeeze=False,
        layout="constrained",
        gridspec_kw={"height_ratios": heights, "width_ratios": [3, 2]},
    )
    for (left, right), case in zip(grid, cases, strict=True):
        rows = case["contestants"]
        unit = yardstick(rows)
        times = [f"{_time(row['median_ms'])} ms" for row in rows]
        if unit is not None:
            times = [
                text if row is unit else f"{text}  ({_short(row['median_ms'] / unit['median_ms'])}x)"
                for text, row in zip(times, rows, strict=True)
            ]
        _bars(left, rows, "median_ms", times)
        ratio = "" if unit is None else f"  (ratio: to {unit['name']})"
        left.set_title(case["title"], loc="left", fontsize=10)
        left.set_xlabel(f"ms per step, median{ratio}", fontsize=9)
        measured = [row for row in rows if row["kind"] != "floor"]
        _bars(right, measured, "peak_mb", [f"{row['peak_mb']:.0f} MiB" for row in measured])
        right.set_xlabel("peak memory over that after imports, MiB", fontsize=9)
    machine = results["machine"]
    figure.supxlabel(f"{machine['cpu']}, {machine['threads']} threads, float32", fontsize=8, color="#666666")
    figure.savefig(path, dpi=150)
    plt.close(figure)
