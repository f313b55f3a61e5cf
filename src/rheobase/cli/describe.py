"""The metadata of a `Config`, in words: what an option takes, its bounds, its default."""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
import types
import typing
from typing import Any

from torch import Tensor

from rheobase.config import Config
from rheobase.registry import name_of


def shown_name(cls: type) -> str:
    """The name of a class as the command line shows it.

    >>> shown_name(type("FashionMNIST", (), {}))
    'fashion-mnist'
    """
    return name_of(cls).replace("_", "-")


def first_line(cls: type) -> str:
    """The first lines of a class's own docstring, as many as its first sentence goes over; empty without one.

    >>> told = "One sentence" + chr(10) + "over two lines." + chr(10) + "More."
    >>> first_line(type("Long", (), {"__doc__": told}))
    'One sentence over two lines.'
    """
    text = inspect.cleandoc(vars(cls).get("__doc__") or "")
    if text.startswith(f"{cls.__name__}("):  # written by `dataclass`, not by a person
        return ""
    lines: list[str] = []
    for line in text.split("\n\n")[0].split("\n"):
        lines.append(line.strip())
        if re.search(r"[.)](\s|$)", line):
            break
    return " ".join(lines)


def kind(hint: Any, field: dataclasses.Field[Any]) -> str:
    """What an option takes, as a placeholder.

    >>> from rheobase.training.experiment import Training
    >>> fields, hints = Training.__dataclass_fields__, typing.get_type_hints(Training)
    >>> [kind(hints[name], fields[name]) for name in ("epochs", "clip_norm", "schedule")]
    ['INT', 'FLOAT|none', 'constant|cosine|onecycle|drop']
    """
    return "FLOAT[,...]" if field.metadata.get("parameter") else _kind(hint)


def _kind(hint: Any) -> str:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        inner = "|".join(_kind(a) for a in args if a is not type(None))
        return f"{inner}|none" if type(None) in args else inner
    if origin is typing.Literal:
        return "|".join(map(str, args))
    if origin is tuple:
        return f"{_kind(args[0])},..."
    if inspect.isclass(hint) and issubclass(hint, Config):
        return "NAME"
    return {int: "INT", float: "FLOAT", bool: "true|false", str: "TEXT"}.get(hint, "VALUE")


def value_text(value: Any) -> str:
    """A value as it would be typed.

    >>> value_text(5e-4), value_text((100, 10)), value_text(None), value_text(True)
    ('0.0005', '100,10', 'none', 'true')
    """
    if isinstance(value, Config):
        return shown_name(type(value))
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Tensor):
        return f"{value.numel()} values" if value.numel() > 4 else value_text(tuple(value.tolist()))
    if isinstance(value, tuple):
        return ",".join(value_text(item) for item in value) or "none"
    return str(value)


def bounds(field: dataclasses.Field[Any]) -> str:
    """The bounds of an option, such as "above 0, at most 1"; empty if there are none."""
    words = {"above": "above", "at_least": "at least", "at_most": "at most"}
    told = ((text, field.metadata.get(key)) for key, text in words.items())
    return ", ".join(f"{text} {end:g}" for text, end in told if end is not None and math.isfinite(end))


def facts(field: dataclasses.Field[Any], default: Any) -> str:
    """Unit, bounds and default of an option, in brackets."""
    parts = [str(field.metadata.get("unit", "")), bounds(field), f"default {value_text(default)}"]
    return f"[{'; '.join(part for part in parts if part)}]"
