"""Figures of values: predictions against targets, sample by sample, and outputs beside targets over time."""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rheobase.report.inspection import Array, Inspection, Samples
from rheobase.report.rasters import are_trains
from rheobase.report.style import BLUE, FAINT, INK, MUTED, SERIES, VERMILION, Plot, grid, render

_SIZE = (5.15, 4.2)
_WIDE = (10.8, 1.9)
_MOST_OUTPUTS = 4
_MOST_SAMPLES = 3


def answer_plots(inspection: Inspection) -> tuple[Plot, ...]:
    """Predictions against targets, if the task asks for values; their errors beside."""
    if inspection.answers is None:
        return ()
    predictions, targets = (np.asarray(part, dtype=float) for part in inspection.answers)
    error = float(np.mean((predictions - targets) ** 2))
    scatter = render("answers", _SIZE, partial(_draw_scatter, predictions=predictions, targets=targets))
    spread = render("errors", _SIZE, partial(_draw_errors, errors=(predictions - targets).reshape(-1)))
    count = len(targets)
    alt = f"Scatter of predictions over targets for {count} test samples; mean squared error {error:.4g}."
    other = f"Histogram of prediction minus target for {count} test samples."
    return (
        Plot("answers", "Predicted against wanted", alt, scatter),
        Plot("errors", "Errors", other, spread),
    )


def trace_plots(inspection: Inspection) -> tuple[Plot, ...]:
    """Outputs beside targets over time, for the first samples, if there is a target at every step."""
    samples = inspection.samples
    if samples is None or not samples.over_time or are_trains(samples):
        return ()
    plots = []
    for index in range(min(_MOST_SAMPLES, len(samples.targets))):
        draw = partial(_draw_trace, inspection=inspection, samples=samples, index=index)
        svg = render(f"trace{index}", _WIDE, draw)
        alt = f"Output and target over time for test sample {index + 1}."
        plots.append(Plot(f"trace{index}", f"Sample {index + 1}", alt, svg))
    return tuple(plots)


def spectrum_plots(inspection: Inspection) -> tuple[Plot, ...]:
    """The eigenvalues of each recurrent layer's weights in the complex plane, before and after training."""
    plots = []
    for number, (layer, (before, after)) in enumerate(inspection.spectra.items()):
        key = f"spectrum{number}"
        svg = render(key, (3.3, 3.1), partial(_draw_spectrum, before=before, after=after))
        radius = f"Largest modulus {_radius(after):.3g} after training"
        radius += f", {_radius(before):.3g} before." if before is not None else "."
        alt = f"Eigenvalues of the recurrent weights of {layer} in the complex plane. {radius}"
        plots.append(Plot(key, f"{layer}: eigenvalues of recurrent weights", alt, svg))
    return tuple(plots)


def _draw_scatter(figure: Figure, predictions: Array, targets: Array) -> None:
    axes = figure.add_subplot()
    ends = [min(targets.min(), predictions.min()), max(targets.max(), predictions.max())]
    axes.plot(ends, ends, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    for k in range(min(_MOST_OUTPUTS, targets.shape[1])):
        colour = SERIES[k % len(SERIES)]
        axes.plot(
            targets[:, k], predictions[:, k], ".", color=colour, markersize=3.5, alpha=0.5, rasterized=True
        )
    axes.set_xlabel("target")
    axes.set_ylabel("prediction")
    grid(axes)


def _draw_errors(figure: Figure, errors: Array) -> None:
    axes = figure.add_subplot()
    counts, edges = np.histogram(errors, bins=48)
    axes.stairs(counts, edges, fill=True, color=BLUE, alpha=0.85, linewidth=0)
    axes.axvline(0, color=INK, linewidth=1.0, linestyle=(0, (3, 2)))
    axes.set_xlabel("prediction - target")
    axes.set_ylabel("samples")
    axes.set_ylim(bottom=0)
    grid(axes)


def _draw_trace(figure: Figure, inspection: Inspection, samples: Samples, index: int) -> None:
    axes = figure.add_subplot()
    target, output = samples.targets[index], samples.predictions[index]
    time = (np.arange(len(target)) + 0.5) * inspection.dt
    if samples.mask is not None:
        _shade(axes, time, samples.mask[index] > 0, inspection.dt)
        if target.ndim == 1:  # classes: only where they count
            keep = samples.mask[index] > 0
            target, output = (np.where(keep, values, np.nan) for values in (target, output))
    if target.ndim == 1:
        axes.plot(time, output, color=BLUE, linewidth=3.2, solid_capstyle="butt")
        axes.plot(time, target, color=VERMILION, linewidth=1.2)
        axes.set_yticks(range(len(inspection.classes)), inspection.classes)
        axes.set_ylim(-0.4, max(1, len(inspection.classes) - 1) + 0.4)
    else:
        for k in range(min(_MOST_OUTPUTS, target.shape[1])):
            axes.plot(time, output[:, k], color=SERIES[k % len(SERIES)], linewidth=1.4)
            axes.plot(time, target[:, k], color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_xlim(0, len(time) * inspection.dt)
    axes.set_xlabel("time (ms)")
    grid(axes)


def _shade(axes: Axes, time: Array, counts: Array, dt: float) -> None:
    """Grey where the output counts."""
    steps = np.flatnonzero(np.diff(np.concatenate([[False], counts, [False]]).astype(int)))
    for start, end in steps.reshape(-1, 2):
        axes.axvspan(time[start] - dt / 2, time[end - 1] + dt / 2, color=FAINT, alpha=0.4, linewidth=0)


def _draw_spectrum(figure: Figure, before: Array | None, after: Array) -> None:
    axes = figure.add_subplot()
    angle = np.linspace(0, 2 * np.pi, 200)
    axes.plot(np.cos(angle), np.sin(angle), color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    if before is not None:
        axes.plot(before[:, 0], before[:, 1], "o", color=VERMILION, markersize=2.6, alpha=0.7, label="before")
    axes.plot(after[:, 0], after[:, 1], "o", color=BLUE, markersize=2.6, alpha=0.8, label="after")
    axes.legend(frameon=False, fontsize=8, loc="upper right", handletextpad=0.2, labelcolor="linecolor")
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel("real part")
    axes.set_ylabel("imaginary part")
    axes.locator_params(nbins=5)
    grid(axes)


def _radius(values: Array) -> float:
    return float(np.hypot(values[:, 0], values[:, 1]).max())
