"""`rheobase eval`: a trained network on one split of its task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import click

from rheobase.cli.folders import RUN, selected, which


@click.command()
@click.argument("run", type=RUN)
@click.option(
    "--split",
    type=click.Choice(["test", "validation", "train"]),
    default="test",
    show_default=True,
    help="The part of the data.",
)
@which
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    run: Path,
    split: Literal["test", "validation", "train"],
    which: Literal["best", "last"] | None,
    as_json: bool,
) -> None:
    """Evaluate the network of RUN on a split of its task."""
    from rheobase.cli.tables import columns
    from rheobase.training.evaluate import evaluate

    chosen = which or selected(run)
    result = evaluate(run, which=chosen, split=split)
    rates = {layer: float(rate.mean()) for layer, rate in result.rates.items()}
    if as_json:
        table = {
            "run": str(run),
            "which": chosen,
            "split": split,
            "metric": result.metric,
            "value": result.value,
            "loss": result.loss,
            "rates": rates,
            "confusion": None if result.confusion is None else result.confusion.tolist(),
            "seconds": result.seconds,
        }
        click.echo(json.dumps(table))
        return
    rows = [[f"{split} {result.metric}", f"{result.value:.4f}"], [f"{split} loss", f"{result.loss:.4g}"]]
    rows += [[f"mean rate, {layer}", f"{rate:.1f} Hz"] for layer, rate in rates.items()]
    rows.append(["evaluation", f"{result.seconds:.1f} s"])
    click.echo(f"{run} ({chosen} network)\n{columns(rows, right=[1])}")
