"""`rheobase predict`: what a trained network says about inputs from a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from rheobase.cli.folders import RUN, experiment_of, selected, which

if TYPE_CHECKING:
    from torch import Tensor


@click.command(short_help="Say what a trained network makes of a file.")
@click.argument("run", type=RUN)
@click.argument("input", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@which
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per sample and line.")
def command(run: Path, input: Path, which: Literal["best", "last"] | None, as_json: bool) -> None:
    """Say what the network of RUN makes of INPUT: the class and the score of each, or the values asked for.

    INPUT is one sample or several: a NumPy file (.npy), a grey image (.png, .jpg), or an IDX file
    (also gzipped). Whole numbers are taken for pixels as published (0 to 255 for MNIST), others as
    they are.
    """
    from rheobase.cli.inputs import read_samples
    from rheobase.training.evaluate import predict

    task = experiment_of(run).task
    inputs = read_samples(input, task)
    scores = predict(run, inputs, which or selected(run))
    if task.classes is None or scores.dim() == 3:
        click.echo(_values(scores.movedim(-2, 0), as_json))
        return
    winners = scores.argmax(1).tolist()
    told = _lines if as_json else _table
    click.echo(told(scores.tolist(), winners, task.classes))


def _values(values: Tensor, as_json: bool) -> str:
    """The values for each sample, `[B, K]`, or over time, `[B, T, K]`; for classes, their scores."""
    from rheobase.cli.tables import columns

    key = "values" if values.dim() == 2 else "values over time"
    if as_json:
        return "\n".join(json.dumps({"sample": i, key: row}) for i, row in enumerate(values.tolist()))
    if values.dim() == 3:
        raise click.UsageError(f"got an answer of {values.shape[1]} steps, which no table holds; add --json")
    rows = [["sample", *(f"value {k}" for k in range(values.shape[1]))]]
    rows += [[str(i), *(f"{value:.4g}" for value in row)] for i, row in enumerate(values.tolist())]
    return columns(rows, right=range(len(rows[0])), indent=0)


def _lines(scores: list[list[float]], winners: list[int], names: Sequence[str]) -> str:
    return "\n".join(
        json.dumps({"sample": i, "class": names[k], "index": k, "scores": dict(zip(names, row, strict=True))})
        for i, (row, k) in enumerate(zip(scores, winners, strict=True))
    )


def _table(scores: list[list[float]], winners: list[int], names: Sequence[str]) -> str:
    from rheobase.cli.tables import columns

    rows = [["sample", "class", *names]]
    rows += [
        [str(i), names[k], *(f"{score:.4g}" for score in row)]
        for i, (row, k) in enumerate(zip(scores, winners, strict=True))
    ]
    return columns(rows, right=[0, *range(2, 2 + len(names))], indent=0)
