"""The look of every figure, and the way from a figure to inline SVG.

Colours are those of Okabe and Ito (2008, "Color Universal Design", https://jfly.uni-koeln.de/color/), told
apart with any common colour vision, darkened so that a label in them keeps a contrast of 4.5 to 1 on white
(WCAG 2.2, 1.4.3). Text stays text, so the page's font applies, and it can be selected and searched.

matplotlib keeps its settings in one process-wide table. `render` sets ours for as long as one figure takes
and puts the former ones back, so a user's own style neither leaks in nor is lost; drawing from two threads
at once is not supported (nor is it by matplotlib).
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rheobase.report.inspection import Array

INK = "#1b2733"
MUTED = "#5f6b76"
FAINT = "#c9d0d6"
BLUE = "#0067a3"
VERMILION = "#b84700"
GREEN = "#00785a"
PURPLE = "#9c4a82"
SERIES = (BLUE, VERMILION, GREEN, PURPLE, MUTED)

DENSE = 1500
"""Points above which a line is stored as pixels: as vectors, a few dozen such lines would weigh megabytes."""

SETTINGS = {
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.titlepad": 7.0,
    "axes.labelsize": 9.0,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "xtick.major.size": 3.0,
    "ytick.major.size": 0.0,
    "grid.color": "#eceff2",
    "grid.linewidth": 0.8,
    "text.color": INK,
    "text.parse_math": False,  # a class called "$5" is a name, not a formula
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "figure.dpi": 100.0,
    "savefig.dpi": 130.0,
    "svg.fonttype": "none",
}


@dataclass(frozen=True)
class Plot:
    """A finished figure: inline SVG, what it is called, and what it says to those who cannot see it."""

    key: str
    title: str
    alt: str
    svg: Markup


def render(key: str, size: tuple[float, float], draw: Callable[[Figure], None]) -> Markup:
    """What `draw` puts on an empty figure of `size` (inches), as SVG to stand inside HTML.

    The same drawing gives the same text. `key` must be unique on the page: it keeps the ids of one figure
    apart from those of another.
    """
    buffer = io.StringIO()
    with style.context(["default", SETTINGS | {"svg.hashsalt": key}]), warnings.catch_warnings():
        # Only matplotlib's measure of the text lacks the glyph; the browser draws it with its own fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return Markup(_for_html(buffer.getvalue()))  # matplotlib escapes the text it is given


def _for_html(svg: str) -> str:
    svg = svg[svg.index("<svg") :]
    # A style sheet inside an inline SVG would apply to the whole page.
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    # matplotlib numbers its groups anew in each figure; an id that nothing refers to can go.
    used = set(re.findall(r"(?:url\(#|href=\"#)([^\")]+)", svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: m.group(0) if m.group(1) in used else "", svg)
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1).strip()


def grid(axes: Axes) -> None:
    """Faint horizontal lines, behind the data."""
    axes.yaxis.grid(True)


def label_ends(axes: Axes, labels: Sequence[tuple[float, str, str, bool]], gap: float) -> None:
    """Names at the right of the axes, each at its height but never two on top of each other.

    `labels` are (height in data units, text, colour, bold); `gap` is the least distance as a share of the
    axes' height. Limits and scale of the axes must be final.
    """
    transform = axes.transLimits
    scaled = [float(transform.transform(axes.transScale.transform((1.0, y)))[1]) for y, *_ in labels]
    for (_, text, colour, bold), at, shown in zip(labels, scaled, spread(scaled, gap), strict=True):
        weight = "bold" if bold else "normal"
        place = axes.transAxes
        axes.text(
            1.045, shown, text, transform=place, va="center", color=colour, fontsize=8.5, fontweight=weight
        )
        leader = Line2D(
            [1.005, 1.035], [at, shown], transform=place, color=FAINT, linewidth=0.8, clip_on=False
        )
        axes.add_artist(leader)


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """The heights moved as little as a sweep can so that neighbours are at least `gap` apart, within 0 to 1
    if they fit.

    >>> [round(h, 2) for h in spread([0.5, 0.5, 0.1], 0.2)]
    [0.4, 0.6, 0.1]
    """
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    # Clusters of labels that touch are centred on the mean of where they wanted to be.
    clusters: list[list[int]] = []
    centres: list[float] = []
    for index in order:
        clusters.append([index])
        centres.append(heights[index])
        while (
            len(clusters) > 1
            and centres[-1] - centres[-2] < gap * (len(clusters[-1]) + len(clusters[-2])) / 2
        ):
            clusters[-2:] = [clusters[-2] + clusters[-1]]
            members = clusters[-1]
            half = gap * (len(members) - 1) / 2
            mean = sum(heights[i] for i in members) / len(members)
            centres[-2:] = [max(half, min(1.0 - half, mean)) if 2 * half <= 1 else 0.5]
    result = [0.0] * len(heights)
    for members, centre in zip(clusters, centres, strict=True):
        for place, index in enumerate(members):
            result[index] = centre + gap * (place - (len(members) - 1) / 2)
    return result


def contrast(one: str | tuple[float, ...], other: str | tuple[float, ...]) -> float:
    """The contrast of two colours, from 1 to 21 (WCAG 2.2, relative luminance).

    >>> round(contrast("white", "black"), 1)
    21.0
    """
    darker, lighter = sorted(_luminance(colour) + 0.05 for colour in (one, other))
    return lighter / darker


def _luminance(colour: str | tuple[float, ...]) -> float:
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]  # type: ignore[arg-type]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


def thin(x: Array, y: Array, limit: int = 400) -> tuple[Array, Array]:
    """At most `limit` points: means over equal runs of neighbours, ignoring NaN.

    >>> thin(np.arange(4.0), np.array([1.0, 3.0, 5.0, 7.0]), limit=2)
    (array([0.5, 2.5]), array([2., 6.]))
    """
    if len(x) <= limit:
        return x, y
    parts = np.array_split(np.arange(len(x)), limit)
    means = [np.mean(kept) if (kept := y[p][np.isfinite(y[p])]).size else np.nan for p in parts]
    return np.array([x[p].mean() for p in parts]), np.array(means)
