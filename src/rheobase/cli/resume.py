"""`rheobase resume`: go on with a run that was stopped."""

from __future__ import annotations

from pathlib import Path

import click

from rheobase.cli.folders import RUN


@click.command(short_help="Go on with a run that was stopped.")
@click.argument("run", type=RUN)
@click.option("--no-progress", is_flag=True, help="No progress bar.")
def command(run: Path, no_progress: bool) -> None:
    """Go on training from the last checkpoint of RUN, as if it had never stopped."""
    from rheobase.cli.result import report_on
    from rheobase.training.checkpoint import read_checkpoint
    from rheobase.training.fit import resume
    from rheobase.training.folder import RunFolder
    from rheobase.workers import together

    with together() as workers:
        if no_progress and workers.first:  # otherwise the progress bar says so
            folder = RunFolder(run)
            folder.check()
            place = read_checkpoint(folder.checkpoints, "last").checkpoint.values["place"]
            click.echo(f"going on after step {place['step']} (epoch {place['epoch']})", err=True)
        summary = resume(run, progress=not no_progress)
    if workers.first:
        report_on(summary, run)
