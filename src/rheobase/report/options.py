"""The experiment as tables to read: every option with its value, unit and meaning.

Units and help are not in the run folder; they are the metadata of the `Config` classes that the experiment
names. A class that is not installed here (a plug-in, an older version) leaves the value without its unit, and
its table says so.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rheobase.config import Config, fields_of, hints_of
from rheobase.registry import find
from rheobase.training.experiment import Experiment


@dataclass(frozen=True)
class Row:
    """One option as it is shown; nested options are written `outer.inner`."""

    option: str
    value: str
    unit: str
    help: str


@dataclass(frozen=True)
class Part:
    """One table of the experiment; `described` if its class was found, so that units are known."""

    table: str
    name: str
    rows: tuple[Row, ...]
    described: bool


def describe(experiment: Mapping[str, Any], root: type[Config] = Experiment) -> tuple[Part, ...]:
    """The parts of an experiment in the order of its file; single values at the top come first."""
    hints = hints_of(root)
    single = {key: value for key, value in experiment.items() if not _tables(value)}
    parts = [_part("experiment", single, root)] if single else []
    for key, value in experiment.items():
        parts += [_part(key, table, _class(hints.get(key), table.get("name"))) for table in _tables(value)]
    return tuple(parts)


def _tables(value: Any) -> list[Mapping[str, Any]]:
    """The tables in a value: itself, or each of a list of them (`[[regularisers]]`)."""
    if isinstance(value, Mapping):
        return [value]
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        return value
    return []


def _part(table: str, values: Mapping[str, Any], cls: type[Config] | None) -> Part:
    options = {key: value for key, value in values.items() if key != "name"}
    name = str(values.get("name", ""))
    # Without options there is no unit to miss.
    return Part(table, name, tuple(_rows("", options, cls)), cls is not None or not options or not name)


def _rows(prefix: str, values: Mapping[str, Any], cls: type[Config] | None) -> Iterator[Row]:
    fields = {field.name: field for field in fields_of(cls)} if cls else {}
    hints = hints_of(cls) if cls else {}
    for key, value in values.items():
        field = fields.get(key.replace("-", "_"))
        metadata = field.metadata if field else {}
        unit, meaning = str(metadata.get("unit", "")), str(metadata.get("help", ""))
        if isinstance(value, Mapping):
            yield Row(prefix + key, str(value.get("name", "")), unit, meaning)
            inner = {k: v for k, v in value.items() if k != "name"}
            yield from _rows(f"{prefix}{key}.", inner, _class(hints.get(key), value.get("name")))
        else:
            yield Row(prefix + key, show(value), unit, meaning)


def show(value: Any) -> str:
    """A value as a reader wants it.

    >>> show(True), show(0.0005), show([1000, 10]), show([])
    ('yes', '0.0005', '1000, 10', 'none')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        if not value:
            return "none"
        shown = ", ".join(show(item) for item in value[:8])
        return f"{shown}, ... ({len(value)} values)" if len(value) > 8 else shown
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _class(hint: Any, name: Any) -> type[Config] | None:
    """The class of a table where a field asks for `hint`, or None if this installation has none.

    A base class heads a room, where the name is looked up; any other `Config` is meant itself.
    """
    base = next((arg for arg in (hint, *typing.get_args(hint)) if _is_config(arg)), None)
    if base is None or not hasattr(base, "room"):
        return base
    try:
        return find(base, name) if isinstance(name, str) else None
    except (ImportError, ValueError):  # a plug-in that is broken or missing here, an older name
        return None


def _is_config(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Config)
