"""Figures of studies of crossbars: the metric against time, faults, or tiles and wires
(`studies/NAME.json`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from rheobase.files import write_text
from rheobase.report.fields import RunFileError
from rheobase.report.scales import duration
from rheobase.report.style import MUTED, SERIES, Plot, grid, label_ends, render

NAMES = ("retention", "faults", "wires")
#: What is said above them in the report.
STUDIES_NOTE = (
    "What ageing, faulty cells and wires make of the trained network (rheobase study): the mean of the "
    "repeats, and their least and greatest."
)
_TITLES = {
    "retention": "{metric} against the time after programming",
    "faults": "{metric} against the share of faulty cells",
    "wires": "{metric} against the size of a tile and the resistance of its wires",
}


def write_study(folder: Path, name: str) -> Path:
    """Draw the study of a run folder into `studies/NAME.svg`, and return its path.

    Raises:
        RunFileError: If its table is missing or damaged.
    """
    plot = study_plot(read_study(folder, name))
    path = folder / "studies" / f"{name}.svg"
    write_text(path, _alone(plot.svg))
    return path


def study_plots(folder: Path) -> list[Plot]:
    """A figure for each study that a run folder holds."""
    found = [name for name in NAMES if (folder / "studies" / f"{name}.json").is_file()]
    return [study_plot(read_study(folder, name)) for name in found]


def read_study(folder: Path, name: str) -> Mapping[str, Any]:
    """The table of a study."""
    path = folder / "studies" / f"{name}.json"
    try:
        table = json.loads(path.read_text("utf-8"))
        assert all(key in table for key in ("study", "metric", "x", "scale", "unchanged", "lines"))
    except (OSError, ValueError, AssertionError) as error:
        raise RunFileError(f"{path}: is no study ({error or 'fields are missing'}); make it again") from error
    return dict(table)


def study_plot(table: Mapping[str, Any]) -> Plot:
    """The figure of a study."""
    name, metric = str(table["study"]), str(table["metric"])

    def draw(figure: Figure) -> None:
        _draw(figure.subplots(), table)

    told = "; ".join(
        f"{line['label'] or metric} from {line['y'][0]:.3g} to {line['y'][-1]:.3g}" for line in table["lines"]
    )
    title = _TITLES[name].format(metric=metric.capitalize()) + f" ({table['device']})"
    alt = f"Line chart: {title}. {told}."
    return Plot(f"study-{name}", title, alt, render(f"study-{name}", (6.4, 3.8), draw))


def _draw(axes: Axes, table: Mapping[str, Any]) -> None:
    grid(axes)
    labels = []
    for i, line in enumerate(table["lines"]):
        colour = SERIES[i % len(SERIES)]
        axes.fill_between(line["x"], line["low"], line["high"], color=colour, alpha=0.15, linewidth=0)
        axes.plot(line["x"], line["y"], "o-", color=colour, markersize=3.5)
        labels.append((line["y"][-1], line["label"] or f"{line['y'][-1]:.3f}", colour, True))
    axes.axhline(table["unchanged"], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.axhline(table["chance"], color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)))
    labels += [
        (table["unchanged"], f"unchanged {table['unchanged']:.3f}", MUTED, False),
        (table["chance"], "chance", MUTED, False),
    ]
    xs = table["lines"][0]["x"]
    if table["scale"] == "symlog":
        least = min(x for x in xs if x > 0)
        axes.set_xscale("symlog", linthresh=least)
        axes.set_xlim(left=-least / 2)  # there are no shares below 0
    else:
        axes.set_xscale("log")
    told = duration if table["study"] == "retention" else "{:g}".format
    axes.set_xticks(xs, [told(x) for x in xs])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(str(table["x"]))
    axes.set_ylabel(f"test {table['metric']}")
    label_ends(axes, labels, 0.055)


def _alone(svg: Markup) -> str:
    """An SVG as a file of its own."""
    return '<?xml version="1.0" encoding="utf-8"?>\n' + str(svg).replace(
        "<svg ", '<svg xmlns:xlink="http://www.w3.org/1999/xlink" style="background:#fff" ', 1
    )
