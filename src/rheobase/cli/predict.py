"""`rheobase predict`: what a trained network says about inputs from a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click

from rheobase.cli.folders import RUN, experiment_of, selected, which


@click.command()
@click.argument("run", type=RUN)
@click.argument("input", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@which
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per sample and line.")
def command(run: Path, input: Path, which: Literal["best", "last"] | None, as_json: bool) -> None:
    """Say what the network of RUN makes of INPUT: the class, and the score of each class.

    INPUT is one sample or several: a NumPy file (.npy), a grey image (.png, .jpg), or an IDX file
    (also gzipped). Whole numbers are taken for pixels as published (0 to 255 for MNIST), others as
    they are.
    """
    from rheobase.cli.inputs import read_samples
    from rheobase.training.evaluate import predict

    task = experiment_of(run).task
    inputs = read_samples(input, task)
    scores = predict(run, inputs, which or selected(run))
    names = task.classes or tuple(str(i) for i in range(task.outputs))
    winners = scores.argmax(1).tolist()
    click.echo(
        _lines(scores.tolist(), winners, names) if as_json else _table(scores.tolist(), winners, names)
    )


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
