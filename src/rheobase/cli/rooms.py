"""What there is to choose from: the tables of an experiment, and the rooms behind them.

Both are read from the fields of `Experiment`, and from the fields of what those fields may hold
(a neuron's surrogate); nothing is listed here by hand.
"""

from __future__ import annotations

import inspect
import typing
from typing import Any

from rheobase.config import Config, fields_of, hints_of
from rheobase.registry import catalogue, name_of, unknown
from rheobase.training.experiment import Experiment

Room = type[Config]


def tables() -> dict[str, Room]:
    """The tables of an experiment that hold one thing each, and the base class of each."""
    hints = hints_of(Experiment)
    return {field.name: hints[field.name] for field in fields_of(Experiment) if is_config(hints[field.name])}


def lists() -> dict[str, Room]:
    """The tables of an experiment that hold any number of things (`[[regularisers]]`)."""
    hints = {field.name: hints_of(Experiment)[field.name] for field in fields_of(Experiment)}
    inner = {name: (*typing.get_args(hint), None)[0] for name, hint in hints.items()}
    return {name: base for name, base in inner.items() if is_config(base)}


def is_config(hint: Any) -> bool:
    """Whether an annotation is a `Config` class, and so a table of its own."""
    return inspect.isclass(hint) and issubclass(hint, Config)


def rooms() -> dict[str, Room]:
    """Every room by its name in the plural: "tasks", "neurons", "surrogates", ..."""
    found: dict[str, Room] = {}
    waiting = [*tables().values(), *lists().values()]
    while waiting:
        base = waiting.pop(0)
        if not hasattr(base, "room") or base in found.values():
            continue
        word = str(base.room).rpartition(".")[2]
        found[word if word.endswith("s") else f"{word}s"] = base
        for cls in catalogue(base).values():
            waiting += [hint for hint in hints_of(cls).values() if is_config(hint)]
    return found


def room(name: str) -> tuple[str, Room]:
    """The room called `name`, in the plural or the singular; `ValueError` names the nearest one."""
    every = rooms()
    words = {alias: plural for plural, base in every.items() for alias in _aliases(plural, base)}
    key = name.lower()
    if key in words:
        return words[key], every[words[key]]
    owner = next((plural for plural, base in every.items() if _key(name) in catalogue(base)), None)
    if owner:
        raise ValueError(f"'{name}' is not a room but one of the {owner}: rheobase show {name}")
    raise ValueError(unknown("room", name, every))


def things(name: str) -> list[tuple[str, type[Config]]]:
    """Every thing called `name`, with its room; `ValueError` names the nearest one.

    The training settings, of which there is one kind only, are found as "training".
    """
    every = [(word, cls) for word, base in rooms().items() for cls in catalogue(base).values()]
    every += [("experiment", base) for base in tables().values() if not hasattr(base, "room")]
    found = [(word, cls) for word, cls in every if name_of(cls) == _key(name)]
    if not found:
        raise ValueError(unknown("name", name, {name_of(cls).replace("_", "-") for _, cls in every}))
    return found


def _aliases(plural: str, base: Room) -> set[str]:
    uses = {table for table, held in tables().items() if held is base}
    return {plural, plural.removesuffix("s"), plural.removesuffix("es"), name_of(base), *uses}


def _key(name: str) -> str:
    return name.replace("-", "_").lower()
