"""`rheobase compare`: the same network, data, seeds and budget under several learning rules."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from rheobase.cli.planned import Planned, experiment_changes, need_task, parse_seeds, starts

if TYPE_CHECKING:
    from rheobase.cli.choices import Plan
    from rheobase.cli.flags import Group
    from rheobase.training.experiment import Experiment
    from rheobase.training.summary import Summary

#: Points of training at which directions are compared with the gradient, if --cosines does not say.
COSINES = 20


class Choice(NamedTuple):
    """A rule as the command line names it, with the options given there."""

    name: str
    options: Mapping[str, str]

    @property
    def slug(self) -> str:
        """A name for folders.

        >>> Choice("bptt", {"truncation": "20"}).slug
        'bptt-truncation20'
        """
        words = [self.name.replace("_", "-"), *(f"{key}{value}" for key, value in self.options.items())]
        return re.sub(r"[^\w.-]", "-", "-".join(words))

    @property
    def text(self) -> str:
        """As it was written.

        >>> Choice("bptt", {"truncation": "20"}).text
        'bptt:truncation=20'
        """
        options = ",".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.name}:{options}" if options else self.name


def rules(text: str) -> list[Choice]:
    """The rules named on the command line, `NAME[:OPTION=VALUE,...],...`.

    Raises:
        ValueError: If there is none, or one twice.

    >>> [choice.slug for choice in rules("bptt,bptt:truncation=20")]
    ['bptt', 'bptt-truncation20']
    """
    found: list[Choice] = []
    for word in filter(None, (part.strip() for part in text.split(","))):
        name, colon, option = word.partition(":")
        if "=" in name and not colon and found:  # a further option of the rule before
            found[-1] = Choice(found[-1].name, {**found[-1].options, **_option(word)})
        else:
            found.append(Choice(name.replace("-", "_").lower(), _option(option) if option else {}))
    twice = {choice.slug for choice in found if found.count(choice) > 1}
    if not found or twice:
        got = f"{', '.join(sorted(twice))} twice" if twice else "none"
        raise ValueError(
            f"--rules: got {got}, wanted names of different rules, such as bptt,bptt:truncation=20"
        )
    return found


def _option(word: str) -> dict[str, str]:
    key, equals, value = word.partition("=")
    if not equals:
        raise ValueError(f"--rules: got '{word}', wanted OPTION=VALUE, as in bptt:truncation=20")
    return {key.strip().replace("-", "_"): value.strip()}


class Compare(Planned):
    """As `rheobase train`, but rules are chosen by --rules."""

    without = ("rule",)


@click.command(cls=Compare, short_help="Train one network under several learning rules.")
@starts
@click.option(
    "--rules", metavar="NAME[:OPTION=VALUE,...],...", help="The learning rules, with options of theirs."
)
@click.option(
    "--out",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Folder of the runs and of the report [default runs/compare-TASK].",
)
@click.option(
    "--seeds", metavar="INT,...", callback=parse_seeds, help="Train once per rule and seed [default 0]."
)
@click.option("--dt", type=float, metavar="MS", help="Duration of a time step, wherever there is one [ms].")
@click.option("--no-progress", is_flag=True, help="No progress bar.")
def command(plan: Plan, groups: Sequence[Group], **given: Any) -> None:
    """Train the same network on TASK under several learning rules, and compare them.

    Each rule takes the task's settings for it (a learning rate, say), beneath the options given here. Every
    rule and seed has a run folder of its own. The same command again goes on where it was stopped, and
    adds rules and seeds to those that are there.

    \b
      rheobase compare mnist --rules bptt,bptt:truncation=5 --epochs 3
      rheobase compare adding --rules bptt,eprop --seeds 0,1,2
    """
    from rheobase.cli.usage import wrong_usage
    from rheobase.report import comparison_text, write_comparison
    from rheobase.training.comparison import compare
    from rheobase.training.errors import Interrupted

    need_task(given)
    with wrong_usage():
        runs = _experiments(plan, groups, given)
    out = given["out"] or _default_folder(next(iter(runs.values())))
    told = {out / name: experiment for name, experiment in runs.items()}
    numbers = {folder: number for number, folder in enumerate(told, start=1)}

    def starting(folder: Path, experiment: Experiment) -> None:
        click.echo(f"run {numbers[folder]} of {len(told)}: {folder}", err=True)

    try:
        compare(
            told, recipe=plan.recipe, progress=not given["no_progress"], starting=starting, finished=_report
        )
    except Interrupted as error:
        raise Interrupted(f"{error}, or with the rest: the same command again") from error
    click.echo(comparison_text(list(told)))
    click.echo(f"\n  runs    {out}\n  report  {write_comparison(list(told), out / 'comparison.html')}")


def _experiments(plan: Plan, groups: Sequence[Group], given: dict[str, Any]) -> dict[str, Experiment]:
    """Every run that is wanted, by the name of its folder."""
    if given["seeds"] and given["training__seed"] is not None:
        raise ValueError("got --seed and --seeds, wanted one of them")
    if not given["rules"]:
        raise ValueError("--rules: which? Name those to compare, such as bptt,bptt:truncation=20")
    found: dict[str, Experiment] = {}
    for choice in rules(given["rules"]):
        experiment = _experiment(plan, groups, given, choice)
        for seed in given["seeds"] or (experiment.training.seed,):
            training = experiment.training.replace(seed=seed)
            found[f"{choice.slug}-s{seed}"] = experiment.replace(training=training)
    return found


def _experiment(plan: Plan, groups: Sequence[Group], given: dict[str, Any], choice: Choice) -> Experiment:
    """The plan under one rule: the task's settings for it, then what was given."""
    from rheobase.config import fields_of
    from rheobase.registry import unknown

    own = plan.with_rule(choice.name)
    rule = own.parts["rule"]
    known = [field.name for field in fields_of(type(rule))]
    for key in choice.options:
        if key not in known:
            raise ValueError(f"--rules {choice.text}: {unknown(f'option of {choice.name}', key, known)}")
    changes = experiment_changes(own, groups, given)
    changes["training"] = {"cosines": COSINES, **changes.get("training", {})}
    try:
        return own.experiment({**changes, "rule": dict(choice.options)})
    except TypeError as error:  # an option that the rule's settings leave no place for
        raise ValueError(
            f"rule '{choice.name}': these options do not fit the task's settings for it ({error})"
        ) from None


def _default_folder(experiment: Experiment) -> Path:
    from rheobase.cli.describe import shown_name

    return Path("runs", f"compare-{shown_name(type(experiment.task))}")


def _report(folder: Path, summary: Summary) -> None:
    from rheobase.report import write_report

    write_report(folder)
    click.echo(f"  test {summary.metric} {summary.value:.4g}", err=True)
