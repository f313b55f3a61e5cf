"""Measured curves: conductance over pulses, potentiation and depression, from a CSV file.

    pulse,conductance (uS)            pulse,conductance,direction
    0,0.12                            0,1.2e-7,up
    1,0.31                            ...
    ...                               0,9.1e-6,down

The columns are found by name, in any order: `pulse` (number of pulses so far), `conductance`, and perhaps
`direction` (up or down, also 1 and -1, ltp and ltd, potentiation and depression). The unit stands in the
header in brackets, or is given: S, mS, uS, nS or pS. Without directions, the curve rises to its largest
conductance and falls from there on. Lines that start with # are comments.
"""

from __future__ import annotations

import csv
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

UNITS = {"S": 1.0, "mS": 1e-3, "uS": 1e-6, "µS": 1e-6, "μS": 1e-6, "nS": 1e-9, "pS": 1e-12}
_UP = {"up", "1", "+1", "ltp", "potentiation"}
_DOWN = {"down", "-1", "ltd", "depression"}

#: A step against the direction larger than this share of the range is no noise.
AGAINST = 0.15


class Row(NamedTuple):
    """One line of the file: its number, pulses, siemens, and the direction if it says one."""

    line: int
    pulse: float
    siemens: float
    up: bool | None


@dataclass(frozen=True)
class Branch:
    """Potentiation or depression: pulses since its start, from 0, and conductances in siemens."""

    pulses: NDArray[np.float64]
    siemens: NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """What was measured; a branch that was not is None."""

    up: Branch | None
    down: Branch | None

    @property
    def branches(self) -> tuple[Branch, ...]:
        """Those there are."""
        return tuple(branch for branch in (self.up, self.down) if branch is not None)

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest conductance, in siemens."""
        every = np.concatenate([branch.siemens for branch in self.branches])
        return float(every.min()), float(every.max())


def read_curve(path: Path, unit: str | None = None) -> Curve:
    """The curve in a CSV file.

    Args:
        path: The file.
        unit: Of conductances; None where the header says it.

    Raises:
        ValueError: If it is empty, lacks a column, has a value that is no number, an unknown unit, pulses
            that do not increase, or a branch that goes the wrong way; the message names file and line.
        OSError: If it cannot be read.
    """
    rows, titles = _table(path)
    pulse, _ = _column(titles, "pulse", path)
    conductance, found = _column(titles, "conductance", path)
    directions = [i for i, title in enumerate(titles) if title[0] == "direction"]
    scale = _scale(unit or found, path)
    read: list[Row] = []
    for line, cells in rows:
        if len(cells) != len(titles):
            raise ValueError(f"{path}:{line}: got {len(cells)} values, wanted {len(titles)} as in the header")
        siemens = _number(cells[conductance], "conductance", path, line) * scale
        if siemens < 0:
            raise ValueError(f"{path}:{line}: got the conductance {siemens} S, wanted at least 0")
        up = _direction(cells[directions[0]], path, line) if directions else None
        read.append(Row(line, _number(cells[pulse], "pulse", path, line), siemens, up))
    if len(read) < 3:
        raise ValueError(f"{path}: got {len(read)} measurements, wanted at least 3")
    rising, falling = _split(read)
    curve = Curve(_branch(rising, True, read, path), _branch(falling, False, read, path))
    if not curve.branches:
        raise ValueError(f"{path}: got no branch of at least 3 measurements, wanted one; measure more pulses")
    return curve


def _table(path: Path) -> tuple[list[tuple[int, list[str]]], list[tuple[str, str | None]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(_filled(csv.reader(file)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: got no text ({error}), wanted a CSV file in UTF-8") from error
    if not lines:
        raise ValueError(f"{path}: got an empty file, wanted a header and measurements")
    header, *rows = lines
    if not rows:
        raise ValueError(f"{path}:{header[0]}: got a header only, wanted measurements below it")
    return rows, [_title(cell) for cell in header[1]]


def _filled(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    for line, cells in enumerate(reader, 1):
        trimmed = [cell.strip() for cell in cells]
        if any(trimmed) and not trimmed[0].startswith("#"):
            yield line, trimmed


def _title(cell: str) -> tuple[str, str | None]:
    """A column's name and unit.

    >>> _title("Conductance [uS]"), _title("pulse")
    (('conductance', 'uS'), ('pulse', None))
    """
    match = re.fullmatch(r"([^\[(]*)[\[(]([^\])]*)[\])]", cell)
    name, unit = (match.group(1), match.group(2).strip()) if match else (cell, None)
    return name.strip().lower(), unit


def _column(titles: Sequence[tuple[str, str | None]], name: str, path: Path) -> tuple[int, str | None]:
    for index, (title, unit) in enumerate(titles):
        if title in (name, f"{name}s", f"{name} number"):
            return index, unit
    got = ", ".join(title for title, _ in titles)
    raise ValueError(
        f"{path}:1: got the columns {got}, wanted a column '{name}'; name it in the header, whose unit is "
        "written as in 'conductance (uS)'"
    )


def _scale(unit: str | None, path: Path) -> float:
    known = ", ".join(dict.fromkeys(name for name in UNITS if name.isascii()))
    if unit is None:
        raise ValueError(
            f"{path}:1: got conductances without a unit, wanted one of {known}; write 'conductance (uS)' in "
            "the header, or give --unit"
        )
    if unit not in UNITS:
        raise ValueError(f"{path}:1: got conductances in '{unit}', wanted one of {known}")
    return UNITS[unit]


def _number(text: str, what: str, path: Path, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{path}:{line}: got the {what} {text!r}, wanted a number") from None
    if not math.isfinite(value):
        raise ValueError(f"{path}:{line}: got the {what} {text}, wanted a finite number; remove the line")
    return value


def _direction(text: str, path: Path, line: int) -> bool:
    if text.lower() not in _UP | _DOWN:
        raise ValueError(f"{path}:{line}: got the direction {text!r}, wanted up or down")
    return text.lower() in _UP


def _split(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    if rows[0].up is not None:
        return [row for row in rows if row.up], [row for row in rows if not row.up]
    top = max(range(len(rows)), key=lambda i: rows[i].siemens)
    return rows[: top + 1], rows[top:]


def _branch(rows: list[Row], up: bool, every: list[Row], path: Path) -> Branch | None:
    if len(rows) < 3:
        return None
    word = "potentiation" if up else "depression"
    low, high = min(row.siemens for row in every), max(row.siemens for row in every)
    if low == high:
        raise ValueError(f"{path}: got the conductance {low} S everywhere, wanted g_min below g_max")
    for before, row in itertools.pairwise(rows):
        if row.pulse <= before.pulse:
            raise ValueError(
                f"{path}:{row.line}: got pulse {row.pulse:g} after {before.pulse:g}, wanted numbers that "
                f"increase within {word}; sort the lines, or mark directions in a column 'direction'"
            )
        against = (before.siemens - row.siemens if up else row.siemens - before.siemens) / (high - low)
        if against > AGAINST:
            raise ValueError(
                f"{path}:{row.line}: got {row.siemens:g} S after {before.siemens:g} S, {100 * against:.0f} % "
                f"of the range against {word}, wanted a curve that is monotone but for noise (at most "
                f"{100 * AGAINST:.0f} %); average over cycles, or mark directions in a column 'direction'"
            )
    change = rows[-1].siemens - rows[0].siemens
    if (change <= 0) if up else (change >= 0):
        raise ValueError(
            f"{path}:{rows[-1].line}: got {word} from {rows[0].siemens:g} to {rows[-1].siemens:g} S, wanted "
            f"a curve that {'rises' if up else 'falls'}; check the directions"
        )
    pulses = np.array([row.pulse for row in rows])
    return Branch(pulses - pulses[0], np.array([row.siemens for row in rows]))
