"""`rheobase list`: everything there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rheobase.config import Config


@click.command()
@click.argument("room", required=False)
def command(room: str | None) -> None:
    """List what there is: tasks, neurons, rules, surrogates, ...

    ROOM (tasks, neurons, rules, losses, devices, ...) shows one kind only. Plug-ins are listed with the rest.
    """
    from rheobase.cli.rooms import room as find_room
    from rheobase.cli.rooms import rooms
    from rheobase.cli.usage import wrong_usage

    with wrong_usage():
        chosen = dict([find_room(room)]) if room else rooms()
    click.echo("\n\n".join(_section(name, base) for name, base in chosen.items()))
    click.echo("\nAll options of one of them: rheobase show NAME")


def _section(name: str, base: type[Config]) -> str:
    from rheobase.cli.describe import first_line, shown_name
    from rheobase.cli.tables import glossary
    from rheobase.registry import catalogue

    entries = []
    for cls in catalogue(base).values():
        text = first_line(cls)
        for what in ("recipes", "presets"):
            names = ", ".join(getattr(cls, what, {}))
            text += f" ({what}: {names})" if names else ""
        entries.append((shown_name(cls), text))
    return f"{name.capitalize()}\n{glossary(entries) or '  none'}"
