"""Figures of devices: how conductance answers to trains of pulses, beside measured curves."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib import style as matplotlib_style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from rheobase.crossbar.devices.base import Device
from rheobase.crossbar.fitting.curve import Curve
from rheobase.crossbar.fitting.fit import Fit
from rheobase.files import write_bytes
from rheobase.report.inspection import Array
from rheobase.report.style import BLUE, FAINT, MUTED, SETTINGS, VERMILION, grid

#: Cells drawn beside the mean response.
CELLS = 12
#: Points drawn per direction, at most; between them, pulses are given together.
POINTS = 150


@dataclass(frozen=True)
class Response:
    """Normalised conductance over pulses, up and then down: the mean, and cells as they vary."""

    pulses: Array  # [P]
    mean: Array  # [P]
    cells: Array  # [P, CELLS]


def response(device: Device, pulses: int | None = None, seed: int = 0) -> Response:
    """What a train of pulses up and as many down does.

    Args:
        device: Its law; its variation and noise are seen in the cells.
        pulses: In each direction; as many as go through most of the range if None.
        seed: Of the cells.
    """
    number = pulses or max(8, round(1.2 / device.typical_steps()[0]))
    stride = max(1, -(-number // POINTS))
    points = -(-number // stride)
    generator = torch.Generator().manual_seed(seed)
    mean, cells = device.fresh((1,)), device.fresh((CELLS,), generator)
    values, some = [device.conductance(mean)], [device.conductance(cells)]
    for k in range(2 * points):
        up, down = (stride, 0) if k < points else (0, stride)
        mean = device.pulse(mean, torch.full((1,), up), torch.full((1,), down))
        counts = torch.full((CELLS,), up), torch.full((CELLS,), down)
        cells = device.pulse(cells, *counts, generator)
        values.append(device.conductance(mean))
        some.append(device.read(cells, generator))
    seen = stride * np.arange(2 * points + 1)
    return Response(seen, torch.cat(values).numpy(), torch.stack(some).numpy())


def save_responses(path: Path, devices: Mapping[str, Device], pulses: int | None = None) -> None:
    """Write a figure with a panel for each device; the suffix of the path says svg, png or pdf.

    Raises:
        ValueError: If there is no device, or matplotlib knows no such suffix.
        OSError: If the file cannot be written.
    """
    if not devices:
        raise ValueError("got no device to draw, wanted at least one")

    def draw(figure: Figure) -> None:
        columns = min(3, len(devices))
        rows = -(-len(devices) // columns)
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for place, (name, device) in zip(axes, devices.items(), strict=False):
            _draw_response(place, name, _range(device), response(device, pulses))
        for place in axes[len(devices) :]:
            place.set_axis_off()

    columns, rows = min(3, len(devices)), -(-len(devices) // 3)
    _save(path, (2.6 * columns + 0.3, 2.0 * rows + 0.2), draw)


def check_kind(path: Path) -> None:
    """See, before the work for it is done, that a figure can be of the kind that its path names.

    Raises:
        ValueError: If matplotlib knows no such suffix.
    """
    suffix, known = path.suffix.removeprefix(".").lower(), ("svg", "png", "pdf")
    if suffix not in known:
        raise ValueError(f"{path}: got a figure of kind '{suffix}', wanted one of {', '.join(known)}")


def save_fit(path: Path, curve: Curve, fit: Fit, title: str) -> None:
    """Write a figure of a measured curve and the law that was fitted to it."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        offset = 0.0
        for branch, up, colour in ((curve.up, True, BLUE), (curve.down, False, VERMILION)):
            if branch is None:
                continue
            word = "potentiation" if up else "depression"
            axes.plot(branch.pulses + offset, branch.siemens * 1e6, ".", color=colour, ms=4, label=word)
            modelled = fit.response(branch, up=up) * 1e6
            axes.plot(branch.pulses + offset, modelled, "-", color=colour, lw=1.2, label=f"{word}, fitted")
            offset += float(branch.pulses[-1])
        axes.set(title=title, xlabel="pulses", ylabel="conductance (µS)")
        axes.legend(frameon=False, fontsize=8)
        grid(axes)

    _save(path, (5.2, 3.2), draw)


def _range(device: Device) -> str:
    """The range in words, as "10 nS to 3 µS"."""
    told = EngFormatter(unit="S")
    low, high = (told(float(f"{value:.3g}")) for value in (device.g_min, device.g_max))
    return f"{low} to {high}"


def _draw_response(axes: Axes, name: str, span: str, seen: Response) -> None:
    axes.plot(seen.pulses, seen.cells, color=FAINT, lw=0.7)
    half = len(seen.pulses) // 2
    axes.plot(seen.pulses[: half + 1], seen.mean[: half + 1], color=BLUE)
    axes.plot(seen.pulses[half:], seen.mean[half:], color=VERMILION)
    axes.set(title=name, ylim=(-0.25, 1.25))
    axes.set_xlabel("pulses up, then down", color=MUTED)
    axes.set_ylabel("conductance (of the range)", color=MUTED)
    axes.text(0.98, 0.98, span, transform=axes.transAxes, ha="right", va="top", fontsize=8, color=MUTED)
    grid(axes)


def _save(path: Path, size: tuple[float, float], draw: Callable[[Figure], None]) -> None:
    check_kind(path)
    buffer = io.BytesIO()
    with matplotlib_style.context(["default", SETTINGS | {"svg.hashsalt": path.name}]):
        figure = Figure(figsize=size, layout="constrained", facecolor="white")
        draw(figure)
        figure.savefig(buffer, format=path.suffix.removeprefix(".").lower(), dpi=130)
    write_bytes(path, buffer.getvalue())
