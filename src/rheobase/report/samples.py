"""Test samples and what each layer made of them: the input, spike rasters, traces of the state variables."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rheobase.report.inspection import Array, Inspection, Samples
from rheobase.report.style import BLUE, DENSE, FAINT, INK, MUTED, SERIES, VERMILION, Plot, label_ends, render

MOST_SAMPLES = 4
MOST_LAYERS = 6
_MOST_STATES = 2  # columns of state variables beside the spikes
_PICKED = 3  # neurons drawn in colour among the grey of a hidden layer
_MOST_GREY = 24  # other neurons, drawn in grey; more of them make a thicket
_WIDTH, _ROW = 10.8, 1.55  # inches


Marks = dict[int, tuple[str, str]]
"""Neurons drawn in colour: index -> (colour, label or "")."""


def sample_plots(inspection: Inspection) -> tuple[Plot, ...]:
    """One figure for each of the first `MOST_SAMPLES` samples."""
    samples = inspection.samples
    if samples is None:
        return ()
    plots = []
    for index in range(min(MOST_SAMPLES, len(samples.inputs))):
        key = f"sample{index}"
        size = (_WIDTH, 0.55 + _ROW * _height(_rows(samples)))
        svg = render(key, size, partial(_draw, inspection=inspection, samples=samples, index=index))
        plots.append(Plot(key, _verdict(inspection, samples, index), _alt(inspection, samples, index), svg))
    return tuple(plots)


def _class_of(values: Array, index: int) -> int | None:
    """The class of a sample, or None where targets are not classes."""
    return int(values[index]) if values.ndim == 1 and np.issubdtype(values.dtype, np.integer) else None


def _values_of(samples: Samples, index: int) -> str:
    """The values that were predicted and wanted, where there are few for each sample."""
    predicted, wanted = samples.predictions[index], samples.targets[index]
    if samples.over_time or wanted.ndim != 1 or len(wanted) > 4:
        return ""
    first, second = (", ".join(f"{value:.3f}" for value in values) for values in (predicted, wanted))
    return f": {first}, wanted {second}"


def _verdict(inspection: Inspection, samples: Samples, index: int) -> str:
    true, predicted = _class_of(samples.targets, index), _class_of(samples.predictions, index)
    if true is None or predicted is None:
        return f"Sample {index + 1}{_values_of(samples, index)}"
    if true == predicted:
        return f"{inspection.class_name(true)}, predicted correctly"
    return f"{inspection.class_name(true)}, taken for {inspection.class_name(predicted)}"


def _alt(inspection: Inspection, samples: Samples, index: int) -> str:
    counts = [
        f"{layer} {int(np.count_nonzero(signals['spikes'][:, index]))} spikes"
        for layer, signals in samples.signals.items()
        if "spikes" in signals
    ]
    shown = f" In the neurons shown: {', '.join(counts)}." if counts else ""
    return f"{_verdict(inspection, samples, index)}: the input beside the signals of each layer.{shown}"


def _draw(figure: Figure, inspection: Inspection, samples: Samples, index: int) -> None:
    layers = list(samples.signals)[:MOST_LAYERS]
    states = _states(samples)
    columns = (["spikes"] if any("spikes" in s for s in samples.signals.values()) else []) + states
    rows = _rows(samples)
    bottom = {
        name: layer for layer in layers for name, s in samples.signals[layer].items() if _moves(name, s)
    }
    cells = figure.add_gridspec(_height(rows), 1 + len(columns), width_ratios=[1.0] + [1.75] * len(columns))
    _draw_input(figure.add_subplot(cells[:, 0]), samples, index, inspection.dt)
    for layer in layers:
        for column, name in enumerate(columns, start=1):
            signal = samples.signals[layer].get(name)
            place = cells[rows[layer], column]
            if signal is None:
                if name in ("spikes", "v") and not _in_groups(layers, layer):
                    _say_why_not(figure.add_subplot(place), inspection, layer, name)
                continue
            if not _moves(name, signal):
                continue
            axes = figure.add_subplot(place)
            marked = _marked(inspection, samples, index, signal, last=layer == list(samples.signals)[-1])
            if name == "spikes":
                _draw_raster(axes, signal[:, index], inspection, marked)
            else:
                _draw_traces(axes, signal[:, index], inspection, marked)
            axes.set_title(f"{layer}: {'membrane' if name == 'v' else name}")
            axes.set_xlim(0, len(signal) * inspection.dt)
            if layer == bottom[name]:
                axes.set_xlabel("time (ms)")
            else:
                axes.tick_params(labelbottom=False)


def _rows(samples: Samples) -> dict[str, slice]:
    """The rows of each layer. Spikes of neurons in groups ("hidden") stand beside the rows of their groups
    ("hidden.adaptive"), which hold the states."""
    layers = list(samples.signals)[:MOST_LAYERS]
    groups = {layer: [other for other in layers if other.startswith(f"{layer}.")] for layer in layers}
    single = {layer: row for row, layer in enumerate(layer for layer in layers if not groups[layer])}
    rows = {layer: slice(row, row + 1) for layer, row in single.items()}
    for layer, members in groups.items():
        if members:
            places = [single[member] for member in members]
            rows[layer] = slice(min(places), max(places) + 1)
    return rows


def _height(rows: Mapping[str, slice]) -> int:
    return max((place.stop for place in rows.values()), default=1)


def _states(samples: Samples) -> list[str]:
    """The state variables to show, the membrane first."""
    found = {name for signals in samples.signals.values() for name in signals if name != "spikes"}
    return sorted(found, key=lambda name: (name != "v", name != "threshold", name))[:_MOST_STATES]


def _moves(name: str, signal: Array) -> bool:
    """Whether there is anything to see: a threshold that does not adapt, say, is one number."""
    return name in ("spikes", "v") or float(np.nanmax(signal)) > float(np.nanmin(signal))


def _in_groups(layers: list[str], layer: str) -> bool:
    """Whether spikes stand in one row, "hidden", and states in those of groups, "hidden.group"."""
    return any(other.startswith(f"{layer}.") or layer.startswith(f"{other}.") for other in layers)


def _say_why_not(axes: Axes, inspection: Inspection, layer: str, name: str) -> None:
    silent = name == "spikes" and layer not in inspection.spiking
    text = f"{layer} does not spike" if silent else f"{layer}: {name} not recorded"
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=MUTED)
    axes.set_axis_off()


def _draw_input(axes: Axes, samples: Samples, index: int, dt: float) -> None:
    """What the task gave, before it was encoded: over time where it has as many steps as the network ran."""
    axes.set_title("input")
    value = np.asarray(samples.inputs[index], dtype=float)
    picture = _picture(value) if samples.is_image else None
    if picture is not None:
        axes.imshow(
            picture, cmap="gray_r", vmin=0, vmax=max(1.0, float(picture.max())), interpolation="nearest"
        )
    elif value.squeeze().ndim <= 1:
        axes.plot(value.reshape(-1), color=INK, linewidth=1.0, rasterized=value.size > DENSE)
        axes.set_xlabel("feature")
        return
    else:
        features = value.reshape(len(value), -1).T
        ran = any(len(signal) == len(value) for of in samples.signals.values() for signal in of.values())
        edges = (0.0, len(value) * (dt if ran else 1.0), len(features) - 0.5, -0.5)
        axes.imshow(features, cmap="gray_r", aspect="auto", interpolation="nearest", extent=edges)
        axes.set_xlabel("time (ms)" if ran else "step")
        axes.set_ylabel("feature")
        return
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)


def _picture(value: Array) -> Array | None:
    """`[H, W]`, `[1, H, W]` or `[3, H, W]` as matplotlib draws it; None if it is none of these."""
    if value.ndim == 3 and value.shape[0] == 3:
        return np.clip(np.moveaxis(value, 0, -1), 0, 1)
    if value.ndim == 3 and value.shape[0] == 1:
        return np.asarray(value[0])
    return value if value.ndim == 2 else None


def _marked(inspection: Inspection, samples: Samples, index: int, signal: Array, last: bool) -> Marks:
    """Neurons to draw in colour: index -> (colour, label). In the last layer, the class read and the true
    one; elsewhere the few that vary most, so that single traces can be followed."""
    neurons = signal.shape[2]
    true, predicted = _class_of(samples.targets, index), _class_of(samples.predictions, index)
    if last and true is not None and predicted is not None and max(true, predicted) < neurons:
        if true == predicted:
            return {true: (BLUE, inspection.class_name(true))}
        names = [f"{inspection.class_name(true)} true", f"{inspection.class_name(predicted)} predicted"]
        return {true: (VERMILION, names[0]), predicted: (BLUE, names[1])}
    spread = np.nan_to_num(np.asarray(signal[:, index], dtype=float)).std(axis=0)
    order = [int(i) for i in np.argsort(-spread, kind="stable")[:_PICKED] if spread[i] > 0]
    return {neuron: (SERIES[place], "") for place, neuron in enumerate(order)}


def _draw_raster(axes: Axes, spikes: Array, inspection: Inspection, marked: Marks) -> None:
    """Every spike as an upright tick, one line of ticks for each neuron."""
    neurons = spikes.shape[1]
    named = any(label for _, label in marked.values())
    for neuron_set, colour in _groups(neurons, marked if named else {}):
        times, rows = np.nonzero(spikes[:, neuron_set])
        rows = np.asarray(neuron_set)[rows]
        x = np.repeat((times + 0.5) * inspection.dt, 3)
        y = np.stack([rows - 0.38, rows + 0.38, np.full(len(rows), np.nan)], axis=1).reshape(-1)
        width = 1.3 if neurons > 20 else 1.6
        axes.plot(x, y, color=colour, linewidth=width, solid_capstyle="butt", rasterized=len(times) > DENSE)
    axes.set_ylim(neurons - 0.4, -0.6)
    if named:
        axes.set_yticks(range(neurons), [inspection.class_name(i) for i in range(neurons)], fontsize=7)
    else:
        axes.set_ylabel("neuron")
        axes.set_yticks([0, neurons - 1] if neurons > 1 else [0])
    if not np.count_nonzero(spikes):
        axes.text(0.5, 0.5, "no spikes", transform=axes.transAxes, ha="center", va="center", color=MUTED)


def _groups(neurons: int, marked: Marks) -> list[tuple[list[int], str]]:
    """Neurons by colour: the unmarked together, in ink if nothing is marked and muted otherwise."""
    rest = [i for i in range(neurons) if i not in marked]
    return [(rest, MUTED if marked else INK)] + [([i], colour) for i, (colour, _) in marked.items()]


def _draw_traces(axes: Axes, values: Array, inspection: Inspection, marked: Marks) -> None:
    """One line for each marked neuron, over some of the others in grey."""
    time = (np.arange(len(values)) + 0.5) * inspection.dt
    rest = [i for i in range(values.shape[1]) if i not in marked]
    rest = rest[:: 1 + len(rest) // _MOST_GREY]
    dense = len(time) * len(rest) > DENSE
    axes.plot(time, values[:, rest], color=FAINT, linewidth=0.7, rasterized=dense)
    for neuron, (colour, _) in marked.items():
        axes.plot(time, values[:, neuron], color=colour, linewidth=1.3, rasterized=len(time) > DENSE)
    axes.locator_params(axis="y", nbins=4)
    axes.set_xlim(0, len(values) * inspection.dt)
    low, high = axes.get_ylim()
    named = [(i, colour, label) for i, (colour, label) in marked.items() if label]
    ends = [(float(np.nan_to_num(values[-1, i], nan=low)), label, colour, True) for i, colour, label in named]
    axes.set_ylim(low, high)
    label_ends(axes, ends, 0.16)
