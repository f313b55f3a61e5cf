"""`rheobase report`: one run as a page, several as a table."""

from __future__ import annotations

from pathlib import Path

import click

from rheobase.cli.folders import RUN


@click.command(short_help="Write the report of a run, or compare runs.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=RUN)
def command(runs: tuple[Path, ...]) -> None:
    """Write report.html of one run, or compare several runs in a table (Markdown).

    A run that is unfinished has a report too.
    """
    from rheobase.report import comparison_table, write_report

    if len(runs) == 1:
        click.echo(write_report(runs[0]))
    else:
        click.echo(comparison_table(runs), nl=False)
