"""What exists: every room is walked for its public, final classes; nothing is listed by hand.

A room is a package or a module (`rheobase.neurons`, `rheobase.surrogate`, ...) with one base class
that names it in `room`. A class is found under its own name in snake case (`FashionMNIST` is
`fashion_mnist`; the command line shows and also takes `fashion-mnist`). Other distributions add
theirs through an entry point in the group of the room's name:

    [project.entry-points."rheobase.neurons"]
    izhikevich = "my_package.izhikevich:Izhikevich"
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, TypeVar

from rheobase.config import Config, fields_of

C = TypeVar("C", bound=Config)

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def name_of(cls: type) -> str:
    """The registry name of a class.

    >>> name_of(type("FashionMNIST", (), {}))
    'fashion_mnist'
    """
    return _WORD.sub("_", cls.__name__).lower()


def room_of(base: type[Config]) -> str:
    """The module name of the room that `base` heads."""
    room = getattr(base, "room", None)
    if not isinstance(room, str):
        raise TypeError(f"{base.__name__} heads no room: it has no class attribute 'room'")
    return room


def catalogue(base: type[C]) -> dict[str, type[C]]:
    """Every public final subclass of `base` in its room and in plug-ins, by name."""
    return dict(_catalogue(base))  # type: ignore[arg-type]


@functools.cache
def _catalogue(base: type[Config]) -> dict[str, type[Config]]:
    room = room_of(base)
    found: dict[str, type[Config]] = {}
    for module in _modules(room):
        for cls in vars(module).values():
            if _is_final(cls, base) and cls.__module__ == module.__name__:
                found[name_of(cls)] = cls
    for entry in entry_points(group=room):
        try:
            cls = entry.load()
        except Exception as error:
            raise ImportError(
                f"plug-in '{entry.name}' ({entry.value}) for {room} could not be loaded: {error}; "
                "mend or uninstall it"
            ) from error
        if not _is_final(cls, base):
            raise TypeError(f"plug-in '{entry.name}' ({entry.value}) is not a {base.__name__}")
        found[name_of(cls)] = cls
    return dict(sorted(found.items()))


def _modules(room: str) -> list[ModuleType]:
    package = importlib.import_module(room)
    if not hasattr(package, "__path__"):
        return [package]
    names = (m.name for m in pkgutil.walk_packages(package.__path__, prefix=f"{room}."))
    return [importlib.import_module(name) for name in names if "._" not in name]


def _is_final(cls: Any, base: type) -> bool:
    return (
        inspect.isclass(cls)
        and issubclass(cls, base)
        and not inspect.isabstract(cls)
        and cls is not base
        and not cls.__name__.startswith("_")
    )


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The message for a name that does not exist, with the nearest one that does.

    >>> unknown("neuron", "liv", ["lif", "if"])
    "unknown neuron 'liv'; did you mean 'lif'? Known: if, lif"
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}'?" if near else "."
    return f"unknown {kind} '{name}'{hint} Known: {', '.join(names)}"


def find(base: type[C], name: str) -> type[C]:
    """The class called `name` in the room of `base`; `ValueError` names the nearest known one."""
    known = catalogue(base)
    key = name.replace("-", "_").lower()
    if key not in known:
        kind = _WORD.sub(" ", base.__name__).lower()
        raise ValueError(unknown(kind, name, known))
    return known[key]


def meaning(base: type[Config], name: str) -> Mapping[str, Any]:
    """The table that a name stands for in the room of `base`: itself, or what the room says of other names.

    A base may have a classmethod `named(name)`, which returns a table, or None where it knows no such name.
    """
    if name.replace("-", "_").lower() in catalogue(base):
        return {"name": name}
    named = getattr(base, "named", None)
    return (named(name) if named else None) or {"name": name}


def build(base: type[C], table: Mapping[str, Any]) -> C:
    """The object that `Config.to_dict` described: `{"name": ..., option: value, ...}`.

    A `"preset"` in the table stands for that named set of options, beneath the others.
    """
    if "name" in table:
        table = {**table, **meaning(base, str(table["name"]))}
    options = {key.replace("-", "_"): value for key, value in table.items() if key != "name"}
    preset = options.pop("preset", None)
    if "name" not in table:
        raise ValueError(f"a {base.__name__} needs a 'name'; got only {sorted(table)}")
    cls = find(base, str(table["name"]))
    names = {field.name for field in fields_of(cls)}
    for key in options:
        if key not in names:
            raise ValueError(unknown(f"option of {name_of(cls)}", key, names))
    if preset is None:
        return cls(**options)
    presets = getattr(cls, "presets", {})
    if preset not in presets:
        raise ValueError(unknown(f"preset of {name_of(cls)}", str(preset), presets))
    return cls(**{**presets[preset], **options})
