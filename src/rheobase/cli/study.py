"""`rheobase study`: what time, faulty cells and wires do to a trained network on crossbars."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from rheobase.cli.folders import RUN, selected, which


@click.command(short_help="Study a trained network on crossbars.")
@click.argument("what", type=click.Choice(["retention", "faults", "wires"]))
@click.argument("run", type=RUN)
@click.option(
    "--device", metavar="NAME", help="Device to put a run with ideal weights on (or a preset file)."
)
@click.option(
    "--repeats", type=click.IntRange(1), default=3, show_default=True, help="Draws to average over."
)
@click.option("--samples", type=click.IntRange(1), metavar="N", help="Use the first N test samples only.")
@which
def command(
    what: Literal["retention", "faults", "wires"],
    run: Path,
    device: str | None,
    repeats: int,
    samples: int | None,
    which: Literal["best", "last"] | None,
) -> None:
    """Study the network of RUN on crossbars, and draw a figure.

    \b
      rheobase study retention RUN --device pcm     metric against time after programming
      rheobase study faults RUN                     against the share of stuck cells
      rheobase study wires RUN                      against tile size and wire resistance
    """
    from rheobase.cli.tables import columns
    from rheobase.cli.usage import wrong_usage
    from rheobase.crossbar.devices.library import device as find_device
    from rheobase.crossbar.substrate import Crossbar
    from rheobase.report.studies import write_study
    from rheobase.training.studies import Study

    with wrong_usage():
        substrate = None if device is None else Crossbar(device=find_device(device))
    study = Study(run, which or selected(run), substrate, samples)
    if what == "wires":
        table = study.wires()
    elif what == "faults":
        table = study.faults(repeats=repeats)
    else:
        table = study.retention(repeats=repeats)
    rows = [[table["x"], *(line["label"] or table["metric"] for line in table["lines"])]]
    for k, x in enumerate(table["lines"][0]["x"]):
        rows.append([f"{x:g}", *(f"{line['y'][k]:.4f}" for line in table["lines"])])
    click.echo(columns(rows, right=list(range(len(rows[0])))))
    click.echo(f"unchanged {table['metric']} {table['unchanged']:.4f} ({table['device']})")
    click.echo(f"Figure: {write_study(run, what)}")
