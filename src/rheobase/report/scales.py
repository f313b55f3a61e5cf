"""Logarithmic axes, labelled in plain numbers; times and other quantities in units of fitting size.

matplotlib labels such axes with formulas. In these figures text is text, so that a class called "$5" keeps
its name (`rheobase.report.style`), and a formula would stand there as it is written.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from rheobase.report.inspection import Array

LOG_RANGE = 30.0  # what spans more than this factor is drawn on a logarithmic axis

_PREFIXES = (("", 1.0), ("m", 1e-3), ("µ", 1e-6), ("n", 1e-9), ("p", 1e-12), ("f", 1e-15))
_UNITS = ((365.25 * 86400, "y"), (86400, "d"), (3600, "h"), (60, "min"), (1, "s"))  # in s


def heights(axes: Axes) -> Array:
    """All finite heights that are drawn."""
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines])
    finite: Array = values[np.isfinite(values)]
    return finite


def logarithmic(axes: Axes) -> bool:
    """Make the vertical axis logarithmic if what it shows spans more than `LOG_RANGE`; whether it does."""
    values = heights(axes)
    if not (values.min() > 0 and values.max() > LOG_RANGE * values.min()):
        return False
    axes.set_yscale("log")
    wide = values.max() > 1000 * values.min()  # labels at 2 and 5 too would run into one another
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    plain_numbers(axes.yaxis)
    return True


def plain_numbers(axis: Axis) -> None:
    """Label the ticks with numbers."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def prefixed(value: float, unit: str) -> str:
    """A quantity with the prefix that leaves its number between 1 and 1000.

    >>> prefixed(2.5e-9, "J"), prefixed(5e-7, "s"), prefixed(0, "J")
    ('2.5 nJ', '500 ns', '0 J')
    """
    prefix, size = prefix_of(value)
    return f"{value / size:.3g} {prefix}{unit}"


def prefix_of(value: float) -> tuple[str, float]:
    """The prefix for a quantity of this size, and its factor.

    >>> prefix_of(2.6e-6), prefix_of(0.0)
    (('µ', 1e-06), ('', 1.0))
    """
    if not value > 0:
        return "", 1.0
    return next((known for known in _PREFIXES if value >= known[1]), _PREFIXES[-1])


def duration(seconds: float) -> str:
    """A time in the largest unit of which it is at least about one.

    >>> [duration(t) for t in (1e-3, 1.0, 60.0, 86400.0, 2.6e6, 3.15e7, 3.15e8)]
    ['0.001 s', '1 s', '1 min', '1 d', '30 d', '1 y', '10 y']
    """
    for size, unit in _UNITS:
        if seconds >= 0.95 * size:
            return f"{seconds / size:.2g} {unit}"
    return f"{seconds:g} s"
