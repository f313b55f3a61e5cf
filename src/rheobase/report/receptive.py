"""Figures of receptive fields: the weights of the first layer's neurons, each as an image of its inputs."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from rheobase.report.inspection import Array, Inspection
from rheobase.report.style import BLUE, INK, VERMILION, Plot, render

_SIDE = 6.4  # inches


def field_plots(inspection: Inspection) -> tuple[Plot, ...]:
    """For each connection from an image, one picture with the weights to each of the first neurons.

    Ink is excitation where no weight is below zero; else blue is excitation and vermilion inhibition.
    """
    plots = []
    for number, (name, fields) in enumerate(inspection.fields.items()):
        key = f"fields{number}"
        mosaic = tiled(fields)
        size = (_SIDE, _SIDE * mosaic.shape[0] / mosaic.shape[1])
        svg = render(key, size, partial(_draw, mosaic=mosaic))
        low, high = float(np.nanmin(mosaic)), float(np.nanmax(mosaic))
        alt = (
            f"The weights of {name} to each of {len(fields)} neurons as images, from {low:.3g} to {high:.3g}."
        )
        plots.append(Plot(key, f"{name}: weights of the first {len(fields)} neurons", alt, svg))
    return tuple(plots)


def tiled(fields: Array) -> Array:
    """Images `[M, H, W]` side by side in rows, as near to a square as can be, with gaps of NaN.

    >>> tiled(np.ones((2, 2, 2))).shape
    (2, 5)
    """
    count, height, width = fields.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    whole = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for i, field in enumerate(fields):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        whole[top : top + height, left : left + width] = field
    return whole


def _draw(figure: Figure, mosaic: Array) -> None:
    axes = figure.add_subplot()
    signed = float(np.nanmin(mosaic)) < 0
    # The strongest few would leave the rest pale.
    most = float(np.nanpercentile(np.abs(mosaic), 99)) or 1.0
    scale = [VERMILION, "white", BLUE] if signed else ["white", INK]
    colours = LinearSegmentedColormap.from_list("weights", scale)
    axes.imshow(mosaic, cmap=colours, vmin=-most if signed else 0.0, vmax=most, interpolation="nearest")
    axes.set_axis_off()
