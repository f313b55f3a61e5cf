"""`rheobase show`: one thing and all its options."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rheobase.config import Config


@click.command()
@click.argument("name")
def command(name: str) -> None:
    """Show all options of one thing, with unit, bounds and default.

    NAME is any name that `rheobase list` shows, such as lif, mnist or bptt, or "training".
    """
    from rheobase.cli.rooms import things
    from rheobase.cli.usage import wrong_usage

    with wrong_usage():
        found = things(name)
    click.echo("\n\n".join(_page(room, cls) for room, cls in found))


def _page(room: str, cls: type[Config]) -> str:
    from rheobase.cli.describe import first_line, shown_name
    from rheobase.cli.tables import glossary
    from rheobase.neurons.base import Neuron
    from rheobase.rules.base import LearningRule

    default = cls()
    source = inspect.getmodule(cls)
    parts = [f"{shown_name(cls)} ({room}): {first_line(cls)}".removesuffix(": ")]
    equations = inspect.cleandoc((source.__doc__ if source else "") or "")
    if equations and _alone(cls):
        parts.append("\n".join(f"  {line}".rstrip() for line in equations.splitlines()))
    inputs = cls.inputs if issubclass(cls, Neuron) else ()
    if len(inputs) > 1:
        parts.append(f"Inputs\n  {', '.join(inputs)}, one after the other: {len(inputs)} values per neuron")
    if isinstance(default, LearningRule):
        entries = [("kind", default.kind), ("trains", default.trains), ("cost", default.cost)]
        parts.append(f"Rule\n{glossary(entries)}")
    options = list(_options(cls, default))
    parts.append(f"Options\n{glossary(options) or '  none'}")
    for what in ("presets", "recipes"):
        named = getattr(cls, what, {})
        if named:
            entries = [(key, _flat(table)) for key, table in named.items()]
            parts.append(f"{what.capitalize()}\n{glossary(entries)}")
    return "\n\n".join(parts)


def _alone(cls: type[Config]) -> bool:
    """Whether the module is about this class only, so that its text describes it."""
    from rheobase.config import Config

    own = [c for c in vars(inspect.getmodule(cls)).values() if inspect.isclass(c) and issubclass(c, Config)]
    return [c for c in own if c.__module__ == cls.__module__] == [cls]


def _options(cls: type[Config], default: Config) -> list[tuple[str, str]]:
    from rheobase.cli.describe import facts, kind
    from rheobase.config import fields_of, hints_of

    hints = hints_of(cls)
    return [
        (
            f"{field.name.replace('_', '-')} {kind(hints[field.name], field)}",
            f"{field.metadata.get('help', '')} {facts(field, getattr(default, field.name))}",
        )
        for field in fields_of(cls)
    ]


def _flat(table: Any, prefix: str = "") -> str:
    """A nested table on one line."""
    from rheobase.cli.describe import value_text

    words = []
    for key, value in table.items():
        if hasattr(value, "items"):
            words.append(_flat(value, f"{prefix}{key}."))
        else:
            words.append(f"{prefix}{key}={value_text(tuple(value) if isinstance(value, list) else value)}")
    return ", ".join(words)
