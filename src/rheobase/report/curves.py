"""Figures over training: loss, metric with every baseline, firing rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rheobase.report.inspection import Array
from rheobase.report.run import Epoch, Run, Scores
from rheobase.report.scales import heights, logarithmic
from rheobase.report.style import (
    BLUE,
    FAINT,
    INK,
    MUTED,
    SERIES,
    VERMILION,
    Plot,
    grid,
    label_ends,
    render,
    thin,
)

SIZE = (5.15, 3.3)
_SMALL = (3.3, 2.1)  # among the histograms of rates
_GAP = 0.075  # of the axes' height: one line of text

Pick = Callable[[Scores], float]


def curve_plots(run: Run) -> tuple[Plot, ...]:
    """Loss and metric over training steps; a curve that was not logged is left out."""
    plots = []
    if _logged(run, _loss):
        plots.append(_plot(run, "loss", "Loss", _loss, _draw_loss))
    if run.metric and _logged(run, _value):
        plots.append(_plot(run, "metric", run.metric.capitalize(), _value, _draw_metric))
    return tuple(plots)


def rate_plots(run: Run) -> tuple[Plot, ...]:
    """The mean firing rate of each layer over training steps, in Hz; empty if none was logged."""
    layers = list(dict.fromkeys(layer for step in run.metrics.steps for layer in step.rates))
    if not layers:
        return ()
    steps = np.array([s.step for s in run.metrics.steps], dtype=float)
    series = [np.array([s.rates.get(layer, math.nan) for s in run.metrics.steps]) for layer in layers]

    def draw(figure: Figure) -> None:
        axes = _axes(figure, "mean rate (Hz)")
        labels = []
        for layer, rates, colour in zip(layers, series, _colours(len(layers)), strict=True):
            _line(axes, steps, rates, colour)
            labels.append((_last(rates), f"{layer} {_last(rates):.3g}", colour, False))
        axes.set_ylim(bottom=0)
        label_ends(axes, [x for x in labels if math.isfinite(x[0])], 2 * _GAP)

    ends = ", ".join(f"{layer} {_last(r):.3g} Hz" for layer, r in zip(layers, series, strict=True))
    alt = f"Line chart of the mean firing rate of each layer over training steps. At the end: {ends}."
    return (Plot("rates", "Firing rate over training", alt, render("rates", _SMALL, draw)),)


def cosine_plots(run: Run) -> tuple[Plot, ...]:
    """The cosine of the rule's direction to the exact gradient over training steps; empty if not measured."""
    cosines = run.metrics.cosines
    if not cosines:
        return ()
    steps = np.array([c.step for c in cosines], dtype=float)
    layers = list(dict.fromkeys(name for c in cosines for name in c.layers))
    series = [("all", np.array([c.whole for c in cosines]), INK)]
    for name, colour in zip(layers, _colours(len(layers)), strict=True):
        series.append((name, np.array([c.layers.get(name, math.nan) for c in cosines]), colour))

    def draw(figure: Figure) -> None:
        axes = _axes(figure, "cosine to the exact gradient")
        labels = []
        for name, values, colour in series:
            _line(axes, steps, values, colour)
            labels.append((_last(values), f"{name} {_last(values):.2f}", colour, name == "all"))
        axes.axhline(0.0, color=MUTED, linewidth=0.9, zorder=1.5)
        axes.set_ylim(min(-0.1, float(heights(axes).min()) - 0.05), 1.0)
        label_ends(axes, [x for x in labels if math.isfinite(x[0])], _GAP)

    ends = ", ".join(f"{name} {_last(values):.2f}" for name, values, _ in series)
    alt = f"Line chart of the cosine of the rule's direction to the exact gradient. At the end: {ends}."
    return (Plot("cosines", "Direction beside the exact gradient", alt, render("cosines", SIZE, draw)),)


def _loss(scores: Scores) -> float:
    return scores.loss


def _value(scores: Scores) -> float:
    return scores.value


def _logged(run: Run, pick: Pick) -> bool:
    values = [pick(step.batch) for step in run.metrics.steps]
    values += [pick(e) for epoch in run.metrics.epochs for e in (epoch.train, epoch.validation) if e]
    return any(math.isfinite(value) for value in values)


def _plot(run: Run, key: str, title: str, pick: Pick, draw: Callable[[Run, Figure], None]) -> Plot:
    parts = [
        f"{name} {_last(ys):.4g}"
        for name, (_, ys) in {
            "training": _epochs(run.metrics.epochs, pick, "train"),
            "validation": _epochs(run.metrics.epochs, pick, "validation"),
        }.items()
        if len(ys)
    ]
    if run.summary and run.summary.test:
        parts.append(f"test {pick(run.summary.test):.4g}")
    if key == "metric" and run.summary:
        parts += [f"{name} {value:.4g}" for name, value in _references(run)]
    ends = f" Final values: {', '.join(parts)}." if parts else ""
    alt = f"Line chart of the {title.lower()} over training steps.{ends}"
    return Plot(key, title, alt, render(key, SIZE, lambda figure: draw(run, figure)))


def _draw_loss(run: Run, figure: Figure) -> None:
    axes = _axes(figure, "loss")
    labels = _draw_curves(run, axes, _loss)
    if not logarithmic(axes) and heights(axes).min() >= 0:
        axes.set_ylim(bottom=0)
    label_ends(axes, labels, _GAP)


def _draw_metric(run: Run, figure: Figure) -> None:
    axes = _axes(figure, run.metric)
    labels = _draw_curves(run, axes, _value)
    for name, value in _references(run):
        axes.axhline(value, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1.5)
        labels.append((value, f"{name} {_short(value)}", MUTED, False))
    if run.metric == "accuracy":
        axes.set_ylim(0.0, 1.0)
    elif not logarithmic(axes):
        axes.set_ylim(*axes.get_ylim())
    label_ends(axes, labels, _GAP)


def _references(run: Run) -> list[tuple[str, float]]:
    """Chance and every baseline that has a value."""
    if run.summary is None:
        return []
    named = {"chance": run.summary.chance} | dict(run.summary.baselines)
    return [(name.replace("_", " "), value) for name, value in named.items() if math.isfinite(value)]


def _draw_curves(run: Run, axes: Axes, pick: Pick) -> list[tuple[float, str, str, bool]]:
    """The curves of one quantity, and the labels for their ends."""
    labels = []
    steps = np.array([s.step for s in run.metrics.steps], dtype=float)
    batches = np.array([pick(s.batch) for s in run.metrics.steps], dtype=float)
    train = _epochs(run.metrics.epochs, pick, "train")
    if np.isfinite(batches).any():
        # The log of single batches is noise around the epochs' curve, unless it is all there is.
        _line(axes, steps, batches, FAINT if len(train[0]) else BLUE, width=0.9 if len(train[0]) else 1.6)
        if not len(train[0]):
            labels.append((_last(batches), f"train {_short(_last(batches))}", BLUE, False))
    for which, colour in (("train", BLUE), ("validation", VERMILION)):
        xs, ys = _epochs(run.metrics.epochs, pick, which)
        if len(xs):
            _line(axes, xs, ys, colour)
            labels.append((_last(ys), f"{which} {_short(_last(ys))}", colour, False))
    at = _evaluated_step(run)
    test = pick(run.summary.test) if run.summary and run.summary.test else math.nan
    if math.isfinite(test) and at is not None:
        axes.plot([at], [test], "D", color=INK, markersize=5, clip_on=False, zorder=5)
        labels.append((test, f"test {_short(test)}", INK, True))
    return [label for label in labels if math.isfinite(label[0])]


def _epochs(epochs: Sequence[Epoch], pick: Pick, which: str) -> tuple[Array, Array]:
    """Steps and values at the ends of epochs; both empty if never measured."""
    scores = [(epoch.step, epoch.train if which == "train" else epoch.validation) for epoch in epochs]
    points = [(step, pick(score)) for step, score in scores if score and math.isfinite(pick(score))]
    xs, ys = zip(*points, strict=True) if points else ((), ())
    return np.array(xs, dtype=float), np.array(ys, dtype=float)


def _evaluated_step(run: Run) -> int | None:
    """The training step of the model that was tested: the best or the last one."""
    if run.summary and run.summary.evaluated == "best":
        for epoch in run.metrics.epochs:
            if epoch.epoch == run.summary.best_epoch:
                return epoch.step
    steps = [s.step for s in run.metrics.steps[-1:]] + [e.step for e in run.metrics.epochs[-1:]]
    return max(steps, default=None)


def _axes(figure: Figure, ylabel: str) -> Axes:
    axes = figure.add_subplot()
    axes.set_xlabel("training step")
    axes.set_ylabel(ylabel)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.margins(x=0.02)
    grid(axes)
    return axes


def _line(axes: Axes, x: Array, y: Array, colour: str, width: float = 1.6) -> None:
    x, y = thin(x, y)
    single = len(x) <= 30 and width > 1
    axes.plot(
        x,
        y,
        color=colour,
        linewidth=width,
        marker="o" if single else "",
        markersize=3.2,
    )


def _short(value: float) -> str:
    """Three decimals, or as many digits where a small error would lose them."""
    return f"{value:.3f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"


def _last(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return float(finite[-1]) if finite.size else math.nan


def _colours(count: int) -> list[str]:
    return [SERIES[i % len(SERIES)] for i in range(count)]
