"""Commands whose options depend on their words: those of what a task, a recipe and names choose.

A first pass finds the names (`choices`), options are made for what they name (`flags`), and the command is
then called with the plan, the options by table, and their values.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rheobase.cli.choices import Plan
    from rheobase.cli.flags import Group


class Planned(click.Command):
    """The command as it is before its words are known; they decide which options there are.

    Its function is called with a `Plan`, the `Group`s of options, and the values of all options.
    """

    without: tuple[str, ...] = ()
    """Tables that have no options here."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        from rheobase.cli.choices import plan, scan
        from rheobase.cli.flags import groups
        from rheobase.cli.usage import wrong_usage

        words = scan(args, self._without_value())
        with wrong_usage():
            chosen = plan(words)
        reserved = {name for p in self.params for name in (*p.opts, *p.secondary_opts)}
        found = groups(chosen.parts, reserved)
        kept = [group for group in found if group.flags[0].path[0] not in self.without]
        return _Full(self, chosen, kept).make_context(info_name, args, parent, **extra)

    def _without_value(self) -> set[str]:
        flags = (p for p in self.params if isinstance(p, click.Option) and p.is_flag)
        return {"-h", "--help", *(name for p in flags for name in p.opts)}


class _Full(click.Command):
    """The command with the options of what was chosen."""

    def __init__(self, outline: Planned, plan: Plan, groups: Sequence[Group]) -> None:
        self.outline, self.plan, self.groups = outline, plan, groups
        assert outline.callback is not None
        super().__init__(
            outline.name,
            params=[*outline.params, *(flag.option() for group in groups for flag in group.flags)],
            callback=functools.partial(outline.callback, plan, groups),
            help=outline.help,
            context_settings={"max_content_width": 120, "help_option_names": ["-h", "--help"]},
        )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from rheobase.cli.tables import glossary

        own = [p for p in self.outline.params if isinstance(p, click.Option)] + [self.get_help_option(ctx)]
        sections = [("Options", [r for p in own if p and (r := p.get_help_record(ctx))])]
        sections += [(group.title, group.rows()) for group in self.groups]
        for title, rows in sections:
            with formatter.section(title):
                formatter.write(glossary(rows, formatter.current_indent, width=formatter.width) + "\n")
        source = f"recipe '{self.plan.recipe}'" if self.plan.recipe else "experiment file"
        formatter.write_paragraph()
        formatter.write_text(
            f"Defaults are those of the task and {source} chosen, and of what --neuron, --encoder, ... name. "
            "Choose others and ask for --help again to see theirs. Lists are written 100,100; time is in ms."
        )


def experiment_changes(plan: Plan, groups: Sequence[Group], given: dict[str, Any]) -> dict[str, Any]:
    """The options given, and --dt in every table that has one of its own and was not told otherwise."""
    from rheobase.cli.flags import changes

    told = changes(given, groups)
    if given["dt"] is None:
        return told
    for name, part in plan.parts.items():
        if hasattr(part, "dt"):
            told[name] = {"dt": given["dt"], **told.get(name, {})}
        elif isinstance(part, tuple):
            items = told.get(name, part)
            told[name] = tuple(p.replace(dt=given["dt"]) if hasattr(p, "dt") else p for p in items)
    return told


def starts(command: Callable[..., Any]) -> Callable[..., Any]:
    """What names the experiment to start from: a task with a recipe, or a file."""
    task = click.argument("task", metavar="[TASK|FILE.toml]", required=False)
    recipe = click.option(
        "--recipe",
        metavar="NAME",
        help="Recipe of the task, the choices to start from [default: the one named default].",
    )
    file = click.option(
        "--experiment", "file", metavar="FILE", help="Experiment file (TOML) to start from, in place of TASK."
    )
    return task(recipe(file(command)))


def need_task(given: dict[str, Any]) -> None:
    """Refuse a command line that names neither a task nor an experiment file."""
    if given["task"] is None and given["file"] is None:
        from rheobase.registry import catalogue
        from rheobase.tasks.base import Task

        known = ", ".join(name.replace("_", "-") for name in catalogue(Task))
        raise click.UsageError(f"which task? Name one of {known}, or an experiment file (FILE.toml)")


def parse_seeds(ctx: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...]:
    """`0,1,2` as numbers; no numbers without the option."""
    try:
        seeds = () if text is None else tuple(int(word) for word in text.split(","))
    except ValueError:
        seeds = (-1,)
    if any(seed < 0 for seed in seeds) or len(set(seeds)) < len(seeds):
        raise click.UsageError(f"--seeds: got '{text}', wanted different whole numbers, such as 0,1,2", ctx)
    return seeds
