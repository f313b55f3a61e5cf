"""`rheobase train`: from a task's recipe or an experiment file, with any option changed, to a run."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rheobase.cli.planned import Planned, experiment_changes, need_task, parse_seeds, starts

if TYPE_CHECKING:
    from rheobase.cli.choices import Plan
    from rheobase.cli.flags import Group
    from rheobase.training.experiment import Experiment
    from rheobase.training.summary import Summary
    from rheobase.workers import Workers


@click.command(cls=Planned, short_help="Train a network on a task, or as an experiment file says.")
@starts
@click.option(
    "--out",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Run folder to write [default runs/TASK-RULE-DATE-TIME-sSEED]; with --seeds, the folder of those.",
)
@click.option(
    "--seeds",
    metavar="INT,...",
    callback=parse_seeds,
    help="Train once per seed; mean and spread at the end.",
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
def command(plan: Plan, groups: Sequence[Group], **given: Any) -> None:
    """Train a network on TASK, or as an experiment file says, into a new run folder.

    \b
      rheobase train mnist
      rheobase train digits --neuron synaptic-lif --neuron.tau-m 15 --epochs 5
      rheobase train mnist --data full --seeds 0,1,2
      rheobase train mnist --dry-run > mine.toml; rheobase train mine.toml
    """
    from rheobase.cli.usage import wrong_usage
    from rheobase.workers import may_restart, together

    need_task(given)
    with wrong_usage():
        experiment = plan.experiment(experiment_changes(plan, groups, given))
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
    if out is None and may_restart():
        raise click.UsageError(
            "got no folder for a job that torchrun may start again (--max-restarts), wanted one that the "
            "next start finds too; add --out runs/NAME"
        )
    with together() as workers:
        if not seeds:
            _train(experiment, out or _default_folder(experiment, workers), plan.recipe, progress, workers)
            return
        summaries = []
        for seed in seeds:
            one = experiment.replace(training=experiment.training.replace(seed=seed))
            folder = out / f"s{seed}" if out else _default_folder(one, workers)
            summaries.append(_train(one, folder, plan.recipe, progress, workers))
            if workers.first:
                click.echo()
        if workers.first:
            click.echo(_spread(summaries))


def _default_folder(experiment: Experiment, workers: Workers) -> Path:
    """One that says what is in it, and when it was begun."""
    import torch

    from rheobase.cli.describe import shown_name

    now = torch.tensor(int(datetime.now().timestamp()))
    workers.tell([now])  # of the first one's clock
    task, rule = shown_name(type(experiment.task)), shown_name(type(experiment.rule))
    moment = datetime.fromtimestamp(int(now)).strftime("%Y%m%d-%H%M%S")
    return Path("runs", f"{task}-{rule}-{moment}-s{experiment.training.seed}")


def _train(experiment: Experiment, folder: Path, recipe: str, progress: bool, workers: Workers) -> Summary:
    import torch

    from rheobase.cli.result import report_on
    from rheobase.training.fit import fit, resume
    from rheobase.training.folder import RunFolder
    from rheobase.workers import restarted

    begun = torch.tensor(int(restarted() and RunFolder(folder).experiment.is_file()))
    workers.tell([begun])
    if workers.first:
        click.echo(f"Run folder: {folder}", err=True)
    if begun:
        summary = resume(folder, progress=progress)
    else:
        summary = fit(experiment, folder, recipe=recipe, progress=progress)
    if workers.first:
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
