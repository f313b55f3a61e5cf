"""The second pass: an option of the command line for every option of every part of an experiment.

    [training]     --epochs 3                       (also --training.epochs)
    [neuron]       --neuron NAME, --neuron.preset NAME, --neuron.tau-m 10
    nested         --neuron.surrogate NAME, --neuron.surrogate.slope 10
    regularisers   --regularisers NAME:option=value,option=value (repeatable)

An option that only one table has can be given without its table: --data, --steps, --hidden. The training
settings yield: --steps is the encoder's where that has steps, and training's elsewhere.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from rheobase.cli.describe import facts, first_line, kind, shown_name
from rheobase.cli.rooms import is_config, lists, tables
from rheobase.config import Config, coerce, fields_of, hints_of
from rheobase.registry import build, catalogue
from rheobase.training.experiment import Experiment

Path = tuple[str, ...]

if TYPE_CHECKING:
    _GivenType = click.ParamType["Given"]
else:
    _GivenType = click.ParamType  # not generic in older versions of click


@dataclass(frozen=True)
class Given:
    """A value from the command line (None is one: "none")."""

    value: Any


@dataclass(frozen=True)
class Flag:
    """An option of the command line, and where in the experiment its value goes."""

    path: Path  # ("neuron", "surrogate", "slope")
    names: tuple[str, ...]  # ("--neuron.surrogate.slope",); the first ones are shown in the help
    metavar: str
    help: str
    type: click.ParamType[Given] | None = None  # None: a name, which the first pass has dealt with
    multiple: bool = False
    hidden_names: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The name of click's parameter."""
        return "__".join(self.path)

    def option(self) -> click.Option:
        """The click option."""
        return click.Option(
            [self.key, *self.names, *self.hidden_names],
            type=self.type or click.STRING,
            metavar=self.metavar,
            help=self.help,
            multiple=self.multiple,
        )


@dataclass(frozen=True)
class Group:
    """The options of one table under a heading of the help; `notes` are rows that are no options."""

    title: str
    flags: tuple[Flag, ...]
    notes: tuple[tuple[str, str], ...] = ()

    def rows(self) -> list[tuple[str, str]]:
        """What the help shows."""
        return [(f"{', '.join(f.names)} {f.metavar}", f.help) for f in self.flags] + list(self.notes)


def groups(parts: Mapping[str, Any], reserved: Collection[str] = ()) -> list[Group]:
    """The options for the `parts` of an experiment; `reserved` names are never short forms."""
    own = {name: fields_of(type(parts[name])) for name, base in tables().items() if hasattr(base, "room")}
    shared = Counter(field.name for fields in own.values() for field in fields)
    taken = {*reserved, *(f"--{name}" for name in (*tables(), *lists()))}
    short = {name for name, times in shared.items() if times == 1 and _flag(name) not in taken}
    helps = {field.name: str(field.metadata["help"]) for field in fields_of(Experiment)}
    result = [
        _table(name, base, parts[name], short if name in own else set(shared), helps[name])
        for name, base in tables().items()
    ]
    # The training settings are asked for most: they come first.
    result.sort(key=lambda group: group.flags[0].path[0] != "training")
    return result + [_list(name, base, parts[name], helps[name]) for name, base in lists().items()]


def changes(given: Mapping[str, Any], every: Sequence[Group]) -> dict[str, Any]:
    """The values that were given, as nested tables."""
    result: dict[str, Any] = {}
    for flag in (flag for group in every for flag in group.flags):
        value = given.get(flag.key)
        if flag.multiple and value:
            result[flag.path[0]] = tuple(part for item in value for part in item.value)
        elif isinstance(value, Given):
            table = result
            for step in flag.path[:-1]:
                table = table.setdefault(step, {})
            table[flag.path[-1]] = value.value
    return result


def _table(name: str, base: type[Config], part: Config, short: Collection[str], told: str) -> Group:
    """The options of one table. `short` are those that need no table before their name; for the training
    settings, those that do."""
    if not hasattr(base, "room"):
        title = name.capitalize()
        flags = tuple(
            dataclasses.replace(flag, names=(_flag(flag.path[-1]),), hidden_names=flag.names)
            if flag.path[-1] not in short
            else flag
            for flag in _options(part, (name,), ())
        )
        return Group(title, flags)
    title = f"{name.capitalize()} ({shown_name(type(part))})"
    chosen = [] if name == "task" else list(_choice(base, part, (name,), told))
    return Group(title, (*chosen, *_options(part, (name,), short)))


def _choice(base: type[Config], part: Config, path: Path, told: str) -> Iterator[Flag]:
    """`--neuron NAME`, and `--neuron.preset NAME` where the one chosen has presets."""
    known = ", ".join(cls.replace("_", "-") for cls in catalogue(base))
    yield Flag(path, (_flag(*path),), "NAME", f"{told} [{known}; default {shown_name(type(part))}]")
    presets = getattr(type(part), "presets", {})
    if presets:
        yield Flag(
            (*path, "preset"),
            (_flag(*path, "preset"),),
            "NAME",
            f"named set of options, beneath those given one by one [{', '.join(presets)}]",
        )


def _options(part: Config, path: Path, short: Collection[str]) -> Iterator[Flag]:
    hints = hints_of(type(part))
    for field in fields_of(type(part)):
        here, hint, value = (*path, field.name), hints[field.name], getattr(part, field.name)
        if is_config(hint):
            yield from _choice(hint, value, here, str(field.metadata.get("help", "")))
            yield from _options(value, here, ())
            continue
        names = (_flag(*here), *([_flag(field.name)] if field.name in short else []))
        text = f"{field.metadata.get('help', '')} {facts(field, value)}".strip()
        yield Flag(here, names, kind(hint, field), text, _Value(hint, field))


def _list(name: str, base: type[Config], value: tuple[Config, ...], told: str) -> Group:
    names = ", ".join(shown_name(type(part)) for part in value) or "none"
    flag = Flag(
        (name,),
        (f"--{name}",),
        "NAME[:OPTION=VALUE,...]",
        f"{told}; repeatable, replaces the recipe's [default {names}]",
        _Item(base),
        multiple=True,
        hidden_names=(f"--{name.removesuffix('s')}",),
    )
    notes = []
    for cls in catalogue(base).values():
        notes.append((shown_name(cls), first_line(cls)))
        default, hints = cls(), hints_of(cls)
        for field in fields_of(cls):
            term = f"  :{field.name.replace('_', '-')}={kind(hints[field.name], field)}"
            notes.append(
                (term, f"{field.metadata.get('help', '')} {facts(field, getattr(default, field.name))}")
            )
    return Group(name.capitalize(), (flag,), tuple(notes))


def _flag(*path: str) -> str:
    """The long option of a path: ("neuron", "tau_m") is --neuron.tau-m."""
    return "--" + ".".join(step.replace("_", "-") for step in path)


class _Value(_GivenType):
    """One option's value, checked by its own metadata."""

    name = "value"

    def __init__(self, hint: Any, field: dataclasses.Field[Any]) -> None:
        self.hint, self.field = hint, field

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Given:
        if isinstance(value, Given):
            return value
        where = param.opts[0] if param else self.field.name
        try:
            return Given(coerce(self._plain(str(value)), self.hint, self.field, where))
        except ValueError as error:
            raise click.UsageError(str(error), ctx) from error

    def _plain(self, text: str) -> Any:
        """Text as `coerce` takes it: it knows numbers and words, and here come lists and choices."""
        if self.field.metadata.get("parameter") and "," in text:
            try:
                return [float(item) for item in text.split(",")]
            except ValueError:
                return text
        hint, optional = self.hint, False
        if typing.get_origin(hint) in (typing.Union, types.UnionType):
            optional = type(None) in typing.get_args(hint)
            hint = next(a for a in typing.get_args(hint) if a is not type(None))
        if typing.get_origin(hint) is typing.Literal:
            return {str(choice): choice for choice in typing.get_args(hint)}.get(text, text)
        if typing.get_origin(hint) is tuple and text == "none":
            return None if optional else ()
        return text


class _Item(_GivenType):
    """NAME:option=value,option=value, one part of a list; "none" is no part."""

    name = "item"

    def __init__(self, base: type[Config]) -> None:
        self.base = base

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Given:
        if isinstance(value, Given):
            return value
        if value == "none":
            return Given(())
        name, _, rest = str(value).partition(":")
        table: dict[str, Any] = {}
        for word in filter(None, rest.split(",")):
            key, equals, text = word.partition("=")
            if not equals:
                raise click.UsageError(f"{value}: got '{word}', wanted OPTION=VALUE", ctx)
            table[key.strip()] = text.strip()
        try:
            return Given((build(self.base, {**table, "name": name}),))
        except ValueError as error:
            where = param.opts[0] if param else name
            raise click.UsageError(f"{where} {value}: {error}", ctx) from error
