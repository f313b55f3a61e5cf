"""What is said after a network was trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rheobase.training.summary import Summary


def report_on(summary: Summary, folder: Path) -> None:
    """Print the result beside chance and the baselines, and write the report."""
    from rheobase.report import write_report

    click.echo(result_table(summary))
    click.echo(f"  run     {folder}")
    click.echo(f"  report  {write_report(folder)}")


def result_table(summary: Summary) -> str:
    """The test value beside chance and the baselines, and what it took."""
    from rheobase.cli.tables import columns

    title = " ".join(
        word.replace("_", "-")
        for word in (summary.task, summary.rule, summary.neuron, f"seed {summary.seed}")
    )
    known = {"chance": summary.chance, **summary.baselines}
    digits = 4 if summary.higher_is_better else 5  # a small error is all in its last ones
    rows = [[f"test {summary.metric}", f"{summary.value:.{digits}f}", ""]]
    rows += [[name.replace("_", " "), f"{value:.{digits}f}", ""] for name, value in known.items()]
    compiling = f"and {summary.compile_seconds:.1f} s compiling" if summary.compile_seconds >= 0.05 else ""
    rows.append(["training", f"{summary.seconds:.1f} s", compiling])
    if summary.warnings:
        rows.append(["warnings", str(len(summary.warnings)), "see the report"])
    return f"{title}\n{columns(rows, right=[1])}"
