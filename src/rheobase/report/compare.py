"""Several runs in one table: what was trained, what it and simple methods reached, how long it took."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from rheobase.report.run import Run, read_run

_FIRST = ("run", "task", "rule", "neuron", "seed", "metric", "value", "chance")
_LEFT = 4  # columns of text, aligned to the left; all others to the right


def comparison_table(folders: Iterable[Path]) -> str:
    """A Markdown table with one line for each run folder, in the order given.

    A run without a summary (still training, or killed) has the value "unfinished". Baselines have a column
    each; seconds are training time without compilation. Raises as `read_run` does.
    """
    runs = [read_run(folder) for folder in folders]
    baselines = list(dict.fromkeys(name for run in runs if run.summary for name in run.summary.baselines))
    header = [*_FIRST, *(name.replace("_", " ") for name in baselines), "seconds"]
    rows = [_row(run, baselines) for run in runs]
    widths = [max(3, *(len(row[i]) for row in [header, *rows])) for i in range(len(header))]
    rule = ["-" * width if i < _LEFT else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    lines = [" | ".join(_aligned(row, widths)) for row in [header, rule, *rows]]
    return "".join(f"| {line} |\n" for line in lines)


def _aligned(row: list[str], widths: list[int]) -> list[str]:
    cells = enumerate(zip(row, widths, strict=True))
    return [cell.ljust(width) if i < _LEFT else cell.rjust(width) for i, (cell, width) in cells]


def _row(run: Run, baselines: list[str]) -> list[str]:
    name = run.folder.resolve().name
    summary = run.summary
    if summary is None:
        parts = [run.part("task"), run.part("rule"), run.part("neuron")]
        cells = [name, *parts, run.seed, run.metrics.metric, "unfinished", "", *("" for _ in baselines), ""]
    else:
        cells = [name, summary.task, summary.rule, summary.neuron, str(summary.seed), summary.metric]
        cells += [_number(summary.value), _number(summary.chance)]
        cells += [_number(summary.baselines.get(key, math.nan)) for key in baselines]
        cells.append("" if math.isnan(summary.seconds) else f"{summary.seconds:.1f}")
    return [cell.replace("|", r"\|").replace("\n", " ") for cell in cells]


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"
