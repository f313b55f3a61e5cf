"""Figures of a run's crossbars: conductances, pulses, what wires take, the device's curve, energy.

Arrays come from `crossbars.safetensors`, costs from the table "crossbar" of `summary.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from safetensors import SafetensorError
from safetensors.numpy import load_file

from rheobase.report.fields import RunFileError
from rheobase.report.inspection import Array
from rheobase.report.scales import plain_numbers, prefix_of, prefixed
from rheobase.report.style import BLUE, MUTED, VERMILION, Plot, grid, render

_PANEL = (3.3, 2.3)
MOST_LAYERS = 8


def crossbar_plots(folder: Path, costs: Mapping[str, Any] | None) -> tuple[Plot, ...]:
    """All figures, of up to `MOST_LAYERS` layers; none where the run has no crossbars.

    Raises:
        RunFileError: If the file is damaged.
    """
    path = folder / "crossbars.safetensors"
    if not path.is_file():
        return ()
    try:
        arrays = load_file(path)
        layers = [key.removeprefix("map/") for key in arrays if key.startswith("map/")][:MOST_LAYERS]
        plots = [_curves(arrays["curve/up"], arrays["curve/down"])]
        plots += [_energy(costs)] if costs else []
        for layer in layers:
            plots.append(_map(f"map-{layer}", f"{layer}: conductances", arrays[f"map/{layer}"], "S"))
            plots.append(_histogram(layer, *(arrays[f"{k}/{layer}"] for k in ("counts0", "counts", "edges"))))
            plots.append(_pulses(layer, arrays[f"pulses/{layer}"], arrays[f"pulse_edges/{layer}"]))
            if f"drop/{layer}" in arrays:
                title = f"{layer}: voltage across cells of a tile, 1 V at each input"
                plots.append(_map(f"drop-{layer}", title, arrays[f"drop/{layer}"], "V"))
    except (SafetensorError, KeyError, ValueError) as error:
        raise RunFileError(f"{path}: not a file of crossbars: {error}") from error
    return tuple(plots)


def costs_note(costs: Mapping[str, Any] | None) -> str:
    """The costs in a sentence."""
    if not costs:
        return ""
    total = costs["total"]
    pulses = total["pulses_up"] + total["pulses_down"]
    told = {key: prefixed(total[key], "J") for key in ("read_energy", "write_energy", "training_read_energy")}
    told |= {key: prefixed(total[key], "s") for key in ("read_seconds", "write_seconds")}
    return (
        f"{total['cells']:,.0f} devices. One inference takes {total['reads']:,.0f} reads, "
        f"{told['read_energy']} and {told['read_seconds']} in the cells; training took "
        f"{pulses:,.0f} pulses ({pulses / total['cells']:.1f} per device, at most "
        f"{total['most_pulses']:,.0f}), {told['write_energy']} and {told['write_seconds']} of writing row by "
        f"row, and about {told['training_read_energy']} of reading. Peripheral circuits are not in it."
    )


def _curves(up: Array, down: Array) -> Plot:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        grid(axes)
        shown = max(_settled(up), _settled(down))
        axes.plot(up[:shown], color=BLUE, label="potentiation")
        axes.plot(down[:shown], color=VERMILION, label="depression")
        axes.set_xlabel("pulses")
        axes.set_ylabel("normalised conductance")
        axes.legend(frameon=False, fontsize=8)

    ends = [f"{curve[1]:.3g} after one pulse and {curve[-1]:.3g} in the end" for curve in (up, down)]
    alt = f"A nominal cell: from 0 by potentiating pulses {ends[0]}; from 1 by depressing pulses {ends[1]}."
    return Plot("device-curve", "A nominal device, pulse by pulse", alt, render("device-curve", _PANEL, draw))


def _settled(curve: Array) -> int:
    """The pulses after which nothing much changes."""
    close = np.abs(curve - curve[-1]) > 0.01 * max(1e-9, float(np.ptp(curve)))
    return min(len(curve), max(10, int(close.sum() * 1.2) + 2))


def _energy(costs: Mapping[str, Any]) -> Plot:
    layers = costs["layers"]

    def draw(figure: Figure) -> None:
        axes = figure.subplots(2, 1)
        for one, key, title in zip(
            axes, ("read_energy", "write_energy"), ("per inference", "writing, whole training"), strict=True
        ):
            values = [layer[key] for layer in layers.values()]
            prefix, size = prefix_of(max(values))
            one.barh(list(layers), [value / size for value in values], color=BLUE, height=0.6)
            one.set_title(title)
            one.set_xlabel(f"{prefix}J")
            one.locator_params(axis="x", nbins=4)
            one.invert_yaxis()

    told = "; ".join(
        f"{name}: {prefixed(layer['read_energy'], 'J')} per inference, "
        f"{prefixed(layer['write_energy'], 'J')} written"
        for name, layer in layers.items()
    )
    return Plot("energy", "Energy in the cells", f"{told}.", render("energy", (3.3, 2.6), draw))


def _map(key: str, title: str, values: Array, unit: str) -> Plot:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        prefix, size = prefix_of(float(np.abs(values).max()))
        image = axes.imshow(values / size, cmap="viridis", aspect="auto", interpolation="nearest")
        axes.set_xlabel("bit lines")
        axes.set_ylabel("word lines")
        figure.colorbar(image, ax=axes, label=f"{prefix}{unit}")

    alt = f"Map of {title}: {values.min():.3g} to {values.max():.3g} {unit}, mean {values.mean():.3g}."
    return Plot(key, title, alt, render(key, _PANEL, draw))


def _histogram(layer: str, before: Array, after: Array, edges: Array) -> Plot:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.stairs(before, edges, color=MUTED, label="before")
        axes.stairs(after, edges, color=BLUE, fill=True, alpha=0.6, label="after")
        axes.set_xlabel("normalised conductance")
        axes.set_ylabel("cells")
        axes.legend(frameon=False, fontsize=8, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))

    middle = (edges[1:] + edges[:-1]) / 2
    means = [float((counts * middle).sum() / counts.sum()) for counts in (before, after)]
    alt = f"Histogram of {after.sum():.0f} conductances: mean {means[0]:.3g} before, {means[1]:.3g} after."
    key = f"conductance-{layer}"
    return Plot(key, f"{layer}: conductances before and after", alt, render(key, _PANEL, draw))


def _pulses(layer: str, counts: Array, edges: Array) -> Plot:
    key = f"pulses-{layer}"
    svg = render(key, _PANEL, partial(_draw_pulses, counts=counts, edges=edges))
    lowest = counts[0] / counts.sum()
    alt = f"Histogram of pulses per cell: {lowest:.0%} in the lowest bin, at most {edges[-1]:.0f}."
    return Plot(key, f"{layer}: pulses per cell", alt, svg)


def _draw_pulses(figure: Figure, counts: Array, edges: Array) -> None:
    axes = figure.subplots()
    axes.stairs(counts, edges, color=BLUE, fill=True, alpha=0.6)
    axes.set_xlabel("pulses in training")
    axes.set_ylabel("cells")
    axes.set_yscale("symlog")
    plain_numbers(axes.yaxis)
    plain_numbers(axes.yaxis)
