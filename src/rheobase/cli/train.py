"""`rheobase train`: from a task's recipe or an experiment file, with any option changed, to a run."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rheobase.cli.choices import Plan
    from rheobase.cli.flags import Group
    from rheobase.training.experiment import Experiment
    from rheobase.training.summary import Summary


def _seeds(ctx: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...]:
    try:
        seeds = tuple(int(word) for word in (text or "").split(",") if word)
    except ValueError:
        seeds = (-1,)
    if any(seed < 0 for seed in seeds) or len(set(seeds)) < len(seeds):
        raise click.UsageError(f"--seeds: got '{text}', wanted different whole numbers, such as 0,1,2", ctx)
    return seeds


class Train(click.Command):
    """The command as it is before its words are known; they decide which options there are."""

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
        full = _Planned(self, chosen, groups(chosen.parts, reserved))
        return full.make_context(info_name, args, parent, **extra)

    def _without_value(self) -> set[str]:
        flags = (p for p in self.params if isinstance(p, click.Option) and p.is_flag)
        return {"-h", "--help", *(name for p in flags for name in p.opts)}


class _Planned(click.Command):
    """The command with the options of what was chosen."""

    def __init__(self, outline: Train, plan: Plan, groups: Sequence[Group]) -> None:
        self.outline, self.plan, self.groups = outline, plan, groups
        super().__init__(
            outline.name,
            params=[*outline.params, *(flag.option() for group in groups for flag in group.flags)],
            callback=functools.partial(_run, plan, groups),
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


@click.command(cls=Train)
@click.argument("task", metavar="[TASK|FILE.toml]", required=False)
@click.option(
    "--recipe", metavar="NAME", help="Recipe of the task: which choices to start from [default default]."
)
@click.option(
    "--experiment", "file", metavar="FILE", help="Experiment file (TOML) to start from, in place of TASK."
)
@click.option(
    "--out",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Run folder to write [default runs/TASK-RULE-DATE-TIME-sSEED]; with --seeds, the folder of those.",
)
@click.option(
    "--seeds", metavar="INT,...", callback=_seeds, help="Train once per seed; mean and spread at the end."
)
@click.option("--dt", type=float, metavar="MS", help="Duration of a time step, wherever there is one [ms].")
@click.option(
    "--save-experiment",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the experiment to this file.",
)
@click.option("--dry-run", is_flag=True, help="Print the experiment and do not train.")
@click.option("--no-progress", is_flag=True, help="No progress bar.")
def command() -> None:
    """Train a network on TASK, or as an experiment file says, into a new run folder.

    \b
      rheobase train mnist
      rheobase train digits --neuron synaptic-lif --neuron.tau-m 15 --epochs 5
      rheobase train mnist --data full --seeds 0,1,2
      rheobase train mnist --dry-run > mine.toml; rheobase train mine.toml
    """


def _run(plan: Plan, groups: Sequence[Group], **given: Any) -> None:
    from rheobase.cli.usage import wrong_usage

    if given["task"] is None and given["file"] is None:
        from rheobase.registry import catalogue
        from rheobase.tasks.base import Task

        known = ", ".join(name.replace("_", "-") for name in catalogue(Task))
        raise click.UsageError(f"which task? Name one of {known}, or an experiment file (FILE.toml)")
    with wrong_usage():
        experiment = plan.experiment(_changes(plan, groups, given))
    seeds = given["seeds"]
    if seeds and given["training__seed"] is not None:
        raise click.UsageError("got --seed and --seeds, wanted one of them")
    if given["save_experiment"]:
        experiment.save(given["save_experiment"])
    if given["dry_run"]:
        import tomli_w

        click.echo(tomli_w.dumps(experiment.tables()), nl=False)
        return
    out, progress = given["out"], not given["no_progress"]
    if not seeds:
        _train(experiment, out or _default_folder(experiment), plan.recipe, progress)
        return
    summaries = []
    for seed in seeds:
        one = experiment.replace(training=experiment.training.replace(seed=seed))
        folder = out / f"s{seed}" if out else _default_folder(one)
        summaries.append(_train(one, folder, plan.recipe, progress))
        click.echo()
    click.echo(_spread(summaries))


def _changes(plan: Plan, groups: Sequence[Group], given: dict[str, Any]) -> dict[str, Any]:
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


def _default_folder(experiment: Experiment) -> Path:
    from rheobase.cli.describe import shown_name

    task, rule = shown_name(type(experiment.task)), shown_name(type(experiment.rule))
    moment = datetime.now().strftime("%Y%m%d-%H%M%S")
    return Path("runs", f"{task}-{rule}-{moment}-s{experiment.training.seed}")


def _train(experiment: Experiment, folder: Path, recipe: str, progress: bool) -> Summary:
    from rheobase.cli.result import report_on
    from rheobase.training.fit import fit

    click.echo(f"Run folder: {folder}", err=True)
    summary = fit(experiment, folder, recipe=recipe, progress=progress)
    report_on(summary, folder)
    return summary


def _spread(summaries: Sequence[Summary]) -> str:
    from rheobase.cli.tables import columns

    values, digits = [s.value for s in summaries], 4 if summaries[0].higher_is_better else 5
    rows = [["seed", f"test {summaries[0].metric}", "training"]]
    rows += [[str(s.seed), f"{s.value:.{digits}f}", f"{s.seconds:.1f} s"] for s in summaries]
    seconds = statistics.mean(s.seconds for s in summaries)
    rows.append(["mean", f"{statistics.mean(values):.{digits}f}", f"{seconds:.1f} s"])
    if len(values) > 1:
        rows.append(["spread", f"{statistics.stdev(values):.{digits}f}", "(standard deviation over seeds)"])
    return columns(rows, right=[1])
