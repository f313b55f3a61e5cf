"""The experiment as tables to read: every option with its value, unit and meaning.

Units and help are not in the run folder; they are the metadata of the `Config` classes that the experiment
names. A class that is not installed here (a plug-in, an older version) leaves the value without its unit, and
its table says so.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rheobase.config import Config, fields_of, hints_of
from rheobase.registry import find, name_of

ROOMS: Mapping[str, str] = {
    "task": "rheobase.tasks",
    "encoder": "rheobase.coding.encoders",
    "network": "rheobase.networks",
    "neuron": "rheobase.neurons",
    "readout": "rheobase.neurons",
    "rule": "rheobase.rules",
    "loss": "rheobase.coding.losses",
    "decoder": "rheobase.coding.decoders",
    "regularisers": "rheobase.coding.regularisers",
}
"""Which room the name in each table of an experiment belongs to."""


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


def describe(experiment: Mapping[str, Any], rooms: Mapping[str, str] = ROOMS) -> tuple[Part, ...]:
    """The parts of an experiment in the order of its file; single values at the top come first."""
    single = {key: value for key, value in experiment.items() if not _tables(value)}
    parts = [_part("experiment", single, None)] if single else []
    for key, value in experiment.items():
        for table in _tables(value):
            cls = _class(table.get("name"), rooms.get(key)) or _class_by_name(table.get("name") or key)
            parts.append(_part(key, table, cls))
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
            yield from _rows(f"{prefix}{key}.", inner, _nested(hints.get(key), value.get("name")))
        else:
            yield Row(prefix + key, show(value), unit, meaning)


def show(value: Any) -> str:
    """A value as a reader wants it.

    >>> show(True), show(0.0005), show([1000, 10])
    ('yes', '0.0005', '1000, 10')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        shown = ", ".join(show(item) for item in value[:8])
        return f"{shown}, ... ({len(value)} values)" if len(value) > 8 else shown
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _nested(hint: Any, name: Any) -> type[Config] | None:
    if isinstance(hint, type) and issubclass(hint, Config):
        return _class(name, getattr(hint, "room", None))
    return None


def _class(name: Any, room: str | None) -> type[Config] | None:
    """The class of that name in a room, or None if this installation has none."""
    if not isinstance(name, str) or room is None:
        return None
    try:
        base = _head(room)
        return find(base, name) if base else None
    except (ImportError, ValueError):
        return None


def _head(room: str) -> type[Config] | None:
    """The base class that heads a room."""
    package = importlib.import_module(room)
    for module in pkgutil.iter_modules(getattr(package, "__path__", []), prefix=f"{room}."):
        importlib.import_module(module.name)
    return next((cls for cls in _configs(Config) if vars(cls).get("room") == room), None)


def _class_by_name(name: str) -> type[Config] | None:
    """A class outside the rooms, such as the training settings, which the experiment has just one of."""
    own = (cls for cls in _configs(Config) if cls.__module__.startswith("rheobase.training"))
    return next((cls for cls in own if name_of(cls) == name), None)


def _configs(base: type[Config]) -> Iterator[type[Config]]:
    for cls in base.__subclasses__():
        yield cls
        yield from _configs(cls)
