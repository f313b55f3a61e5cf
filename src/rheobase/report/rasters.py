"""Rasters of output spikes beside those of the target, for tasks that ask for spike trains."""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rheobase.report.inspection import Array, Inspection, Samples
from rheobase.report.style import BLUE, DENSE, INK, Plot, render

_MOST_SAMPLES = 3
_FEW = 8  # neurons up to which spikes are ticks of full height


def are_trains(samples: Samples) -> bool:
    """Whether predictions and targets are spike trains: 0 or 1 at each step, and not all 0."""
    if not samples.over_time or not np.issubdtype(samples.targets.dtype, np.floating):
        return False
    both = (samples.targets, samples.predictions)
    return bool(samples.targets.any()) and all(bool(np.isin(values, (0.0, 1.0)).all()) for values in both)


def raster_plots(inspection: Inspection) -> tuple[Plot, ...]:
    """Target and output side by side for the first samples, the steps that count."""
    samples = inspection.samples
    if samples is None or not are_trains(samples):
        return ()
    plots = []
    for index in range(min(_MOST_SAMPLES, len(samples.targets))):
        keep = slice(None) if samples.mask is None else samples.mask[index] > 0
        target, output = samples.targets[index][keep], samples.predictions[index][keep]
        neurons = target.shape[1]
        size = (10.8, 1.3 + min(3.9, 0.3 * neurons))
        draw = partial(_draw, target=target, output=output, dt=inspection.dt)
        alt = f"Spike rasters of {neurons} output neurons for test sample {index + 1}: {int(target.sum())} "
        alt += f"target spikes on the left, {int(output.sum())} output spikes on the right."
        key = f"raster{index}"
        plots.append(Plot(key, f"Sample {index + 1}: target and output", alt, render(key, size, draw)))
    return tuple(plots)


def _draw(figure: Figure, target: Array, output: Array, dt: float) -> None:
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, spikes, colour, title in ((left, target, INK, "target"), (right, output, BLUE, "output")):
        _raster(axes, spikes, colour, dt)
        axes.set_title(title)
        axes.set_xlabel("time (ms)")
    left.set_xlim(0, len(target) * dt)
    left.set_ylim(-0.6, target.shape[1] - 0.4)
    left.set_ylabel("neuron")
    left.set_yticks([0, target.shape[1] - 1] if target.shape[1] > 1 else [0])


def _raster(axes: Axes, spikes: Array, colour: str, dt: float) -> None:
    times, neurons = np.nonzero(spikes)
    few = spikes.shape[1] <= _FEW
    axes.plot(
        times * dt,
        neurons,
        linestyle="",
        marker="|" if few else ".",
        markersize=14 if few else 1.6,
        markeredgewidth=1.4 if few else 0,
        color=colour,
        rasterized=len(times) > DENSE,
    )
