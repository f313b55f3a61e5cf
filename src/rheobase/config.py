"""Options: the one place where a default, its unit, its bounds and its help are written.

Everything a user can choose (a neuron, a surrogate, a task, a rule, ...) is a `Config`: a frozen
dataclass whose fields carry metadata. The command line, the documentation, the validation and the
experiment files are all read from that metadata.

>>> class Tap(Config):
...     flow: float = option(default=1.5, unit="l/min", above=0, help="how much water comes out")
>>> Tap().flow
1.5
>>> Tap(flow=-1)
Traceback (most recent call last):
ValueError: Tap.flow: got -1.0 l/min, wanted a number above 0 l/min
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from typing_extensions import Self, dataclass_transform

T = TypeVar("T")


def option(
    *,
    default: T,
    help: str,
    unit: str = "",
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
) -> T:
    """A field of a `Config` with its default, unit, bounds (`above` excludes its end) and help.

    >>> class Pump(Config):
    ...     cycles: int = option(default=3, at_least=1, help="how often it runs")
    >>> Pump(cycles=0)
    Traceback (most recent call last):
    ValueError: Pump.cycles: got 0, wanted at least 1
    """
    bounds = {"above": above, "at_least": at_least, "at_most": at_most}
    metadata = {"help": help, "unit": unit, **bounds}
    return dataclasses.field(default=default, metadata=metadata)


def parameter(
    *,
    default: float,
    help: str,
    unit: str = "",
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Any:
    """A number that may also be one value per neuron (a tensor `[N]`), and may be trained.

    >>> class Leak(Config):
    ...     tau: Any = parameter(default=20.0, unit="ms", above=0, help="time constant")
    >>> Leak(tau=[10.0, 20.0]).tau
    tensor([10., 20.])
    """
    bounds = {"above": above, "at_least": at_least, "at_most": at_most}
    metadata = {"help": help, "unit": unit, "parameter": True, **bounds}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(option, parameter))
class Config:
    """A frozen, validated, serialisable description. Subclasses become dataclasses by themselves.

    A field whose annotation is itself a `Config` is nested: it is given as an object, as a name,
    or as a table `{"name": ..., option: value}`.

    >>> class Valve(Config):
    ...     width: float = option(default=2.0, unit="cm", above=0, help="its opening")
    >>> Valve().replace(width=3).to_dict()
    {'name': 'valve', 'width': 3.0}
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)

    def __post_init__(self) -> None:
        hints = hints_of(type(self))
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            where = f"{type(self).__name__}.{field.name}"
            value = coerce(getattr(self, field.name), hints[field.name], field, where)
            object.__setattr__(self, field.name, value)
        self.validate()

    def validate(self) -> None:
        """Checks across fields. Raise `ValueError` with what was got, what was wanted, what to do."""

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, validated again."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]

    def to_dict(self) -> dict[str, Any]:
        """Name and options as plain values (numbers, strings, lists, tables), for files."""
        from rheobase.registry import name_of

        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {"name": name_of(type(self))} | {
            key: _plain(value) for key, value in values.items() if value is not None
        }


def fields_of(cls: type[Config]) -> tuple[dataclasses.Field[Any], ...]:
    """The option fields of a `Config` class, in order."""
    return dataclasses.fields(cls)  # type: ignore[arg-type]


def hints_of(cls: type[Config]) -> dict[str, Any]:
    """The resolved annotations of a `Config` class."""
    return typing.get_type_hints(cls)


def _plain(value: Any) -> Any:
    if isinstance(value, Config):
        return value.to_dict()
    if isinstance(value, torch.Tensor):
        return value.detach().tolist()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def coerce(value: Any, hint: Any, field: dataclasses.Field[Any], where: str) -> Any:
    """`value` as the type `hint` asks for; a clear `ValueError` where it cannot be."""
    if field.metadata.get("parameter"):
        return _parameter(value, field, where)
    return _bounded(_typed(value, hint, where), field, where)


def _typed(value: Any, hint: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if type(None) in args and (value is None or value == "none"):
            return None
        inner = [a for a in args if a is not type(None)]
        return _typed(value, inner[0], where)
    if origin is typing.Literal:
        if value not in args:
            raise ValueError(f"{where}: got {value!r}, wanted one of {', '.join(map(str, args))}")
        return value
    if origin is tuple:
        if isinstance(value, str):
            value = [part for part in value.replace(",", " ").split() if part]
        if not isinstance(value, Sequence):
            value = (value,)
        return tuple(_typed(item, args[0], where) for item in value)
    if isinstance(hint, type) and issubclass(hint, Config):
        return _nested(value, hint, where)
    if hint is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        value = words.get(value.lower(), value) if isinstance(value, str) else value
        if not isinstance(value, bool):
            raise ValueError(f"{where}: got {value!r}, wanted true or false")
        return value
    if hint in (int, float) and isinstance(value, (int, float, str)) and value is not True:
        try:
            number = hint(value)
        except ValueError:
            wanted = "a whole number" if hint is int else "a number"
            raise ValueError(f"{where}: got {value!r}, wanted {wanted}") from None
        if hint is int and isinstance(value, float) and value != number:
            raise ValueError(f"{where}: got {value!r}, wanted a whole number")
        return number
    if hint is str and isinstance(value, str):
        return value
    if hint is Any:
        return value
    raise ValueError(f"{where}: got {value!r}, wanted {getattr(hint, '__name__', hint)}")


def _nested(value: Any, base: type[Config], where: str) -> Config:
    from rheobase.registry import build

    if isinstance(value, base):
        return value
    if isinstance(value, str):
        return build(base, {"name": value})
    if isinstance(value, Mapping):
        return build(base, dict(value))
    raise ValueError(f"{where}: got {value!r}, wanted a {base.__name__}, its name, or a table")


def _parameter(value: Any, field: dataclasses.Field[Any], where: str) -> Any:
    """A neuron parameter: a float, or one value per neuron; tracing symbols pass untouched."""
    if isinstance(value, (torch.Tensor, list, tuple)):
        tensor = torch.as_tensor(value)
        if tensor.dim() > 1:
            raise ValueError(
                f"{where}: got shape {tuple(tensor.shape)}, wanted a number or one value per "
                "neuron, shape [N]"
            )
        if tensor.dtype not in (torch.float32, torch.float64):
            tensor = tensor.to(torch.get_default_dtype())
        flat = tensor.detach().reshape(-1)
        for extreme in (flat.min(), flat.max()) if flat.numel() else ():
            _bounded(float(extreme), field, where)
        return tensor
    if isinstance(value, (int, float, str)):
        return _bounded(_typed(value, float, where), field, where)
    raise ValueError(f"{where}: got {value!r}, wanted a number or one value per neuron")


def _bounded(value: Any, field: dataclasses.Field[Any], where: str) -> Any:
    for item in value if isinstance(value, tuple) else (value,):
        if isinstance(item, (int, float)) and not isinstance(item, bool):
            _check_bounds(item, field.metadata, where)
    return value


def _check_bounds(value: float, metadata: Mapping[str, Any], where: str) -> None:
    unit = f" {metadata['unit']}" if metadata.get("unit") else ""
    above, low, high = (metadata.get(k) for k in ("above", "at_least", "at_most"))
    wanted = ""
    if not math.isfinite(value):
        wanted = "a finite number"
    elif above is not None and not value > above:
        wanted = f"a number above {above:g}{unit}"
    elif low is not None and not value >= low:
        wanted = f"at least {low:g}{unit}"
    elif high is not None and not value <= high:
        wanted = f"at most {high:g}{unit}"
    if wanted:
        raise ValueError(f"{where}: got {value}{unit}, wanted {wanted}")
