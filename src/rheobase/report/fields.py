"""Values out of a file that somebody else wrote: typed, checked, and blamed on the file.

A run folder may come from another machine or an older version, or have been edited by hand, so nothing in
it is taken on trust. Every reader here raises `RunFileError`, whose message starts with the file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class RunFileError(ValueError):
    """A file of a run folder that cannot be used: which one, what was got, what was wanted."""


@dataclass(frozen=True)
class Table:
    """A table of a file; `where` says which one, as messages should name it.

    Keys that are absent or null are treated alike; numbers that are absent or null are NaN.

    >>> Table("summary.json", {"seed": "zero"}).whole("seed")
    Traceback (most recent call last):
    rheobase.report.fields.RunFileError: summary.json: 'seed' is 'zero', wanted a whole number
    """

    where: str
    values: Mapping[str, Any]

    @staticmethod
    def of(value: Any, where: str) -> Table:
        """`value` as a table, or the error that it is none."""
        if not isinstance(value, Mapping):
            raise RunFileError(f"{where}: got {_short(value)}, wanted a table of names and values")
        return Table(where, value)

    def text(self, key: str) -> str:
        """The text under `key`; it must be there."""
        value = self.values.get(key)
        if not isinstance(value, str):
            raise self._wrong(key, "text")
        return value

    def optional_text(self, key: str) -> str:
        """The text under `key`, or "" where there is none."""
        return "" if self.values.get(key) is None else self.text(key)

    def whole(self, key: str) -> int:
        """The whole number under `key`; it must be there."""
        value = self.values.get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(key, "a whole number")
        return value

    def optional_whole(self, key: str) -> int | None:
        """The whole number under `key`, or None where there is none."""
        return None if self.values.get(key) is None else self.whole(key)

    def number(self, key: str) -> float:
        """The number under `key`; NaN where there is none."""
        value = self.values.get(key)
        if value is None:
            return math.nan
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise self._wrong(key, "a number")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """The truth value under `key`."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """The list of texts under `key`; empty where there is none."""
        value = self.values.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(key, "a list of texts")
        return tuple(value)

    def table(self, key: str) -> Table | None:
        """The table under `key`, or None where there is none."""
        value = self.values.get(key)
        return None if value is None else Table.of(value, f"{self.where}: '{key}'")

    def numbers(self, key: str) -> dict[str, float]:
        """The table of numbers under `key`; empty where there is none."""
        table = self.table(key)
        return {} if table is None else {name: table.number(name) for name in table.values}

    def _wrong(self, key: str, wanted: str) -> RunFileError:
        if key not in self.values:
            return RunFileError(f"{self.where}: no '{key}'; wanted {wanted} there")
        return RunFileError(f"{self.where}: '{key}' is {_short(self.values[key])}, wanted {wanted}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
