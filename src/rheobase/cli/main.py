"""`rheobase`: the commands, and what happens when something goes wrong.

A command is a module of this package with a `click` command called `command` in it. Modules are
imported when they are asked for, and import torch only when they run, so that help is quick.

What is wrong with the words on the command line ends with exit code 2, anything else with 1, in
one line each; `--debug` shows the traceback instead.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, TextIO

import click

from rheobase.cli.waiting import spin_briefly

COMMANDS = (
    "train",
    "compare",
    "resume",
    "eval",
    "predict",
    "report",
    "list",
    "show",
    "devices",
    "study",
    "bench",
)


class Commands(click.Group):
    """The commands, each loaded from its module when needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"rheobase.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        if _DEBUG not in command.params:
            command.params.append(_DEBUG)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and name not in COMMANDS:
            near = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
            hint = f"; did you mean '{near[0]}'?" if near else "."
            raise click.UsageError(f"unknown command '{name}'{hint} Known: {', '.join(COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)


def _remember(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        ctx.find_root().ensure_object(dict)["debug"] = True


#: Understood before and after a command's name.
_DEBUG = click.Option(
    ["--debug"],
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_remember,
    help="Show the traceback of an error.",
)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rheobase", prog_name="rheobase")
def commands() -> None:
    """Train spiking neural networks, and look at what came out.

    \b
      rheobase train mnist                 train with the task's default recipe
      rheobase train mnist --help          every option of the task, with unit and default
      rheobase list                        everything there is: tasks, neurons, rules, ...
      rheobase show lif                    all options of one of them
    """


commands.params.append(_DEBUG)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code: 0, 2 for wrong usage, 1 for any other error, 130 if interrupted."""
    context: dict[str, Any] = {"debug": False}
    spin_briefly()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            code = commands.main(arguments, prog_name="rheobase", standalone_mode=False, obj=context)
        sys.stdout.flush()
    except click.exceptions.Abort as error:
        click.echo(str(error.__cause__ or "") or "Interrupted.", err=True)
        return 130
    except BrokenPipeError:
        return _closed_pipe()
    except Exception as error:
        if context["debug"]:
            raise
        return _failed(error)
    return code if isinstance(code, int) else 0


def _failed(error: Exception) -> int:
    """Say in one line what is wrong. What the library does not raise on purpose is raised again."""
    from rheobase.training.errors import RunError

    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        message = f"{where}{error.strerror}"
    elif isinstance(error, (ValueError, OSError, ImportError, RunError)):
        message = str(error)
    elif isinstance(error, (TypeError, MemoryError)):  # TraceError is a TypeError
        message = f"{type(error).__name__}: {error} (--debug shows where)"
    else:
        raise error
    click.echo(f"Error: {message}", err=True)
    return 1


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning for a person who does not read our source."""
    click.echo(f"Warning: {message}", err=True)


def _closed_pipe() -> int:
    """The reader of our output has gone (`rheobase list | head`): nothing more can be said to it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1
