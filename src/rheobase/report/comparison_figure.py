"""The figure of a comparison: learning curves of the rules, and how well each aims, over training.

Aim is the mean cosine of hidden layers to the exact gradient (of all parameters, where there are no hidden
layers: see `rheobase.report.comparison`).

A line is the mean over a rule's runs (seeds), its band from the lowest to the highest of them. Learning
curves are the training batches', averaged over stretches of steps; the diamond at the end is the test value.
Lines of earlier rules are wider, so that those of rules that do the same show beneath each other. Accuracies
begin a little below the lowest that any rule had: references below that are left to the page's text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rheobase.report.comparison import RuleRuns, references
from rheobase.report.inspection import Array
from rheobase.report.run import Step
from rheobase.report.scales import logarithmic
from rheobase.report.style import BLUE, GREEN, MUTED, PURPLE, VERMILION, Plot, grid, label_ends, render, thin

_STRETCHES = 40  # of a learning curve
_WIDE, _NARROW = (11.0, 4.2), (6.4, 4.2)
_GAP = 0.055
_THICK, _THIN = 4.4, 1.2
_COLOURS = (BLUE, VERMILION, GREEN, PURPLE, "#8a6100", "#006d8f")
_STROKES: tuple[str | tuple[int, tuple[float, ...]], ...] = ("-", (0, (4.0, 1.6)), (0, (1.2, 1.4)))

Series = tuple[Array, Array, Array, Array]  # steps, mean, lowest, highest
Label = tuple[float, str, str, bool]


def comparison_plot(rules: Sequence[RuleRuns]) -> Plot:
    """Learning curves, and the cosines beside them where any were measured."""
    metric = rules[0].runs[0].metric
    deep = any(any(one.hidden_cosines()) for one in rules)
    aimed = [(i, _band(one.hidden_cosines() if deep else one.cosines())) for i, one in enumerate(rules)]
    aims = [(i, band) for i, band in aimed if band is not None]

    def draw(figure: Figure) -> None:
        axes = figure.subplots(1, 2 if aims else 1, squeeze=False)[0]
        _draw_learning(axes[0], rules)
        if aims:
            _draw_cosines(axes[1], rules, aims, f"cosine to the gradient{', hidden layers' if deep else ''}")

    values = ", ".join(f"{one.label} {one.mean_of('value'):.4g}" for one in rules if one.values)
    alt = f"Line chart of the training {metric} under each rule over training steps. Test {metric}: {values}."
    if aims:
        told = ", ".join(f"{rules[i].label} {band[1][-1]:.2f}" for i, band in aims)
        alt += f" Beside it, the cosine of each rule's direction to the exact gradient; at the end: {told}."
    title = f"{metric.capitalize()} over training" + (", and cosine to the exact gradient" if aims else "")
    return Plot("comparison", title, alt, render("comparison", _WIDE if aims else _NARROW, draw))


def _draw_learning(axes: Axes, rules: Sequence[RuleRuns]) -> None:
    metric = rules[0].runs[0].metric
    _frame(axes, f"training {metric}")
    labels: list[Label] = []
    lowest = math.inf
    for i, one in enumerate(rules):
        band = _band([_learning(run.metrics.steps) for run in one.runs])
        colour = _COLOURS[i % len(_COLOURS)]
        if band is None:
            continue
        _draw_band(axes, band, i, _width(i, len(rules)))
        tests = one.values
        lowest = min(lowest, float(band[1].min()), *tests)
        at = float(band[0].max())
        if tests:
            axes.plot([at] * len(tests), tests, "D", color=colour, markersize=3.6, clip_on=False, zorder=5)
        end = float(np.mean(tests)) if tests else float(band[1][-1])
        labels.append((end, f"{one.label} {_short(end)}", colour, True))
    bottom = _bottom(metric, lowest)
    for name, value in references(rules).items():
        if value < bottom:
            continue
        axes.axhline(value, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1.5)
        labels.append((value, f"{name} {_short(value)}", MUTED, False))
    _scale(axes, metric, bottom)
    label_ends(axes, labels, _GAP)


def _draw_cosines(
    axes: Axes, rules: Sequence[RuleRuns], aims: Sequence[tuple[int, Series]], ylabel: str
) -> None:
    _frame(axes, ylabel)
    labels: list[Label] = []
    for i, band in aims:
        _draw_band(axes, band, i, _width(i, len(rules)))
        end = float(band[1][-1])
        labels.append((end, f"{rules[i].label} {end:.2f}", _COLOURS[i % len(_COLOURS)], True))
    axes.axhline(0.0, color=MUTED, linewidth=0.9, zorder=1.5)
    low = min(float(band[2].min()) for _, band in aims)
    axes.set_ylim(min(-0.1, low - 0.05), 1.0)
    label_ends(axes, labels, _GAP)


def _learning(steps: Sequence[Step]) -> list[tuple[float, float]]:
    """Means of the batches' metric over stretches of steps."""
    known = [(s.step, s.batch.value) for s in steps if math.isfinite(s.batch.value)]
    if not known:
        return []
    at, values = (np.array(part, dtype=float) for part in zip(*known, strict=True))
    x, y = thin(at, values, limit=_STRETCHES)
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _band(series: Sequence[Sequence[tuple[float, float]]]) -> Series | None:
    """Mean, lowest and highest over runs at the steps that all of them have."""
    tables = [dict(one) for one in series if one]
    if not tables:
        return None
    steps = sorted(set.intersection(*(set(table) for table in tables)))
    if not steps:
        return None
    values = np.array([[table[step] for step in steps] for table in tables])
    return np.array(steps, dtype=float), values.mean(0), values.min(0), values.max(0)


def _width(number: int, rules: int) -> float:
    """Of a rule's line: the first is drawn first, and shows beneath the others."""
    return _THIN + (_THICK - _THIN) * (1 - (number + 1) / rules)


def _draw_band(axes: Axes, band: Series, number: int, width: float) -> None:
    steps, mean, low, high = band
    colour = _COLOURS[number % len(_COLOURS)]
    stroke = _STROKES[number // len(_COLOURS) % len(_STROKES)]
    if (high > low).any():
        axes.fill_between(steps, low, high, color=colour, alpha=0.16, linewidth=0)
    axes.plot(steps, mean, color=colour, linestyle=stroke, linewidth=width)


def _frame(axes: Axes, ylabel: str) -> None:
    axes.set_xlabel("training step")
    axes.set_ylabel(ylabel)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.margins(x=0.02)
    grid(axes)


def _bottom(metric: str, lowest: float) -> float:
    """Where the axis of an accuracy begins: at a tenth below the lowest value; of others, nowhere."""
    if metric != "accuracy":
        return -math.inf
    return max(0.0, min(0.9, math.floor(10 * lowest) / 10)) if math.isfinite(lowest) else 0.0


def _scale(axes: Axes, metric: str, bottom: float) -> None:
    """An accuracy from `bottom` to 1; a number that spans much on a logarithmic axis."""
    if metric == "accuracy":
        axes.set_ylim(bottom, 1.0)
        return
    logarithmic(axes)
    axes.set_ylim(*axes.get_ylim())


def _short(value: float) -> str:
    return f"{value:.3f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"
