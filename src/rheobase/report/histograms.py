"""Figures of the trained network: confusion matrix, weights before and after, firing rates of neurons."""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from rheobase.report.inspection import Array, Histogram, Inspection
from rheobase.report.style import BLUE, INK, MUTED, VERMILION, Plot, contrast, grid, render

_PANEL = (3.3, 2.1)
_NUMBERS = 20  # classes up to which every cell of the confusion matrix carries its count
MOST_PANELS = 24


def confusion_plots(inspection: Inspection) -> tuple[Plot, ...]:
    """The confusion matrix: hits in one colour, mistakes in another with a scale of its own."""
    matrix = inspection.confusion
    if matrix is None or not matrix.sum():
        return ()
    size = 5.15 if len(matrix) <= _NUMBERS else 6.5
    svg = render("confusion", (size, size * 0.94), lambda figure: _draw_confusion(figure, inspection, matrix))
    correct, total = int(np.trace(matrix)), int(matrix.sum())
    alt = f"Confusion matrix of {total} test samples, {correct} on the diagonal."
    worst = "; ".join(
        f"{inspection.class_name(i)} taken for {inspection.class_name(j)} {count} times"
        for i, j, count in top_confusions(matrix, 3)
    )
    return (Plot("confusion", "Confusion matrix", f"{alt} Most frequent mistakes: {worst or 'none'}.", svg),)


def top_confusions(matrix: Array, count: int) -> list[tuple[int, int, int]]:
    """The most frequent mistakes: (true class, predicted class, how often), most frequent first.

    >>> top_confusions(np.array([[5, 2], [3, 7]]), 5)
    [(1, 0, 3), (0, 1, 2)]
    """
    mistakes = matrix * ~np.eye(len(matrix), dtype=bool)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:count]
    rows, columns = np.unravel_index(order, mistakes.shape)
    found = [(int(i), int(j), int(mistakes[i, j])) for i, j in zip(rows, columns, strict=True)]
    return [entry for entry in found if entry[2] > 0]


def weight_plots(inspection: Inspection) -> tuple[Plot, ...]:
    """One histogram for each parameter, after training over before; the first `MOST_PANELS` of them."""
    plots = []
    for number, (name, (before, after)) in enumerate(list(inspection.weights.items())[:MOST_PANELS]):
        key = f"weights{number}"
        svg = render(key, _PANEL, partial(_draw_weights, before=before, after=after))
        alt = f"Histogram of {int(after.counts.sum())} values of {name} after training, {_centre(after)}"
        alt += f"; before training, {_centre(before)}." if before else "; not recorded before training."
        plots.append(Plot(key, name, alt, svg))
    return tuple(plots)


def neuron_rate_plots(inspection: Inspection) -> tuple[Plot, ...]:
    """One histogram for each layer: the mean rates of its neurons over the test set."""
    plots = []
    for number, (layer, rates) in enumerate(list(inspection.rates.items())[:MOST_PANELS]):
        if not np.isfinite(rates).any():
            continue
        key = f"neuron_rates{number}"
        svg = render(key, _PANEL, partial(_draw_neuron_rates, rates=rates))
        silent = int((rates == 0).sum())
        alt = (
            f"Histogram of the mean rates of the {rates.size} neurons of {layer}: "
            f"mean {np.nanmean(rates):.3g} Hz, largest {np.nanmax(rates):.3g} Hz, {silent} silent."
        )
        plots.append(Plot(key, f"{layer}, neuron by neuron", alt, svg))
    return tuple(plots)


def _draw_confusion(figure: Figure, inspection: Inspection, matrix: Array) -> None:
    axes = figure.add_subplot()
    count = len(matrix)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    diagonal = np.eye(count, dtype=bool)
    worst = max(float(share[~diagonal].max()) if count > 1 else 0.0, 1e-12)
    colours = _scale(BLUE)(share)
    colours[~diagonal] = _scale(VERMILION)(share / worst * 0.8)[~diagonal]
    axes.imshow(colours, interpolation="nearest")
    if count <= _NUMBERS:
        for i, j in np.argwhere(matrix > 0):
            cell = tuple(colours[i, j])
            axes.text(
                j,
                i,
                str(int(matrix[i, j])),
                ha="center",
                va="center",
                color=max("white", INK, key=partial(contrast, cell)),
                fontsize=8 if count <= 12 else 6,
            )
        names = [inspection.class_name(i) for i in range(count)]
        axes.set_yticks(range(count), names)
        long = max(map(len, names)) > 3
        axes.set_xticks(range(count), names, rotation=45 if long else 0, ha="right" if long else "center")
        recall = axes.secondary_yaxis("right")
        recall.set_yticks(range(count), [f"{100 * share[i, i]:.0f} %" for i in range(count)])
        recall.tick_params(length=0)
        recall.spines["right"].set_visible(False)
        recall.set_ylabel("share of the true class found")
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    axes.tick_params(which="minor", length=0)
    if count <= _NUMBERS:
        axes.grid(which="minor", color="white", linewidth=1.5)
        axes.set_axisbelow(False)
    axes.spines[:].set_visible(False)


def _scale(colour: str) -> LinearSegmentedColormap:
    return LinearSegmentedColormap.from_list("share", ["#f4f6f8", colour])


def _draw_weights(figure: Figure, before: Histogram | None, after: Histogram) -> None:
    axes = _panel(figure, "value", "density")
    heights = _density(after)
    axes.stairs(heights, after.edges, fill=True, color=BLUE, alpha=0.25, linewidth=0)
    axes.stairs(heights, after.edges, color=BLUE, linewidth=1.4)
    _corner(axes, 0, "after", BLUE)
    if before:
        axes.stairs(_density(before), before.edges, color=VERMILION, linewidth=1.2)
        _corner(axes, 1, "before", VERMILION)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_ticklabels([])


def _draw_neuron_rates(figure: Figure, rates: Array) -> None:
    axes = _panel(figure, "mean rate over the test set (Hz)", "neurons")
    finite = rates[np.isfinite(rates)].astype(float)
    bins = min(40, max(8, finite.size // 6))
    counts, edges = np.histogram(finite, bins=bins, range=(0, finite.max() or 1.0))
    axes.stairs(counts, edges, fill=True, color=BLUE, alpha=0.85, linewidth=0)
    axes.axvline(float(finite.mean()), color=INK, linewidth=1.0, linestyle=(0, (3, 2)))
    silent = 100 * float((finite == 0).mean())
    _corner(axes, 0, f"mean {finite.mean():.3g} Hz", INK)
    _corner(axes, 1, f"{silent:.3g} % silent", VERMILION if silent >= 50 else MUTED)
    axes.set_ylim(bottom=0)


def _panel(figure: Figure, xlabel: str, ylabel: str) -> Axes:
    axes = figure.add_subplot()
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.locator_params(nbins=5)
    grid(axes)
    return axes


def _corner(axes: Axes, line: int, text: str, colour: str) -> None:
    axes.text(
        1.0,
        1.0 - 0.12 * line,
        text,
        color=colour,
        fontsize=8.5,
        ha="right",
        va="top",
        transform=axes.transAxes,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0},  # over bars too
    )


def _density(histogram: Histogram) -> Array:
    """Counts as shares per unit of value, so that histograms with different bins compare."""
    widths = np.maximum(np.diff(histogram.edges.astype(float)), 1e-30)
    density: Array = histogram.counts / max(float(histogram.counts.sum()), 1.0) / widths
    return density


def _centre(histogram: Histogram) -> str:
    middles = (histogram.edges[1:] + histogram.edges[:-1]) / 2
    shares = histogram.counts / max(float(histogram.counts.sum()), 1.0)
    mean = float((shares * middles).sum())
    deviation = float(np.sqrt((shares * (middles - mean) ** 2).sum()))
    return f"mean {mean:.3g}, standard deviation {deviation:.3g}"
