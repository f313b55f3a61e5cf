"""The page of a comparison: one table, one figure, and what the runs do not have in common.

Like a run's report it needs nothing else, runs no script, and is the same bytes for the same run folders.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from rheobase.files import write_text
from rheobase.report.comparison import (
    RuleRuns,
    comparison_rows,
    differences,
    group_runs,
    references,
)
from rheobase.report.comparison_figure import comparison_plot
from rheobase.report.templates import render


def write_comparison(folders: Iterable[Path], path: Path) -> Path:
    """Write the page that compares these runs by learning rule to `path`, and return it.

    Runs may be unfinished. Raises as `rheobase.report.write_report` does.
    """
    rules = group_runs(folders)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render_comparison(rules, path.parent))
    return path


def render_comparison(rules: Sequence[RuleRuns], home: Path) -> str:
    """The page as text; links to the runs are relative to the folder `home`."""
    header, rows = comparison_rows(rules)
    first = rules[0].runs[0]
    return render(
        "comparison.html",
        task=first.part("task").replace("_", "-"),
        labels=[one.label for one in rules],
        verdict=_verdict(rules),
        header=header,
        rows=rows,
        references=[(name, f"{value:.4f}") for name, value in references(rules).items()],
        metric=first.metric,
        plot=comparison_plot(rules),
        layers=_layers(rules),
        differences=differences(rules),
        about=[(one.label, one.rule.trains, one.rule.cost) for one in rules if one.rule],
        runs=[(one.label, [_link(run.folder, run.seed, home) for run in one.runs]) for one in rules],
    )


def _verdict(rules: Sequence[RuleRuns]) -> str:
    """One sentence: which rules beat the best simple method, and which do not."""
    summary = next((run.summary for one in rules for run in one.runs if run.summary), None)
    known = references(rules)
    if summary is None or not known:
        return "No run is finished yet."
    best = max if summary.higher_is_better else min
    name, bar = best(known.items(), key=lambda item: item[1])
    finished = [one for one in rules if one.values]
    above = [
        one.label
        for one in finished
        if (one.mean_of("value") > bar if summary.higher_is_better else one.mean_of("value") < bar)
    ]
    below = [one.label for one in finished if one.label not in above]
    told = [f"{_list(above)} better than the best simple method ({name}, {bar:.4g})"] if above else []
    told += (
        [f"{_list(below)} not" if above else f"{_list(below)} not better than {name}, {bar:.4g}"]
        if below
        else []
    )
    return f"Test {summary.metric}: {'; '.join(told)}."


def _list(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _layers(rules: Sequence[RuleRuns]) -> tuple[list[str], list[list[str]]]:
    """The mean cosine of each layer under each rule for which it was measured: header and rows."""
    measured = [one for one in rules if any(one.cosines())]
    names = dict.fromkeys(
        name for one in measured for run in one.runs for c in run.metrics.cosines for name in c.layers
    )
    rows = []
    for name in names:
        values = [one.aim(one.cosines(name)) for one in measured]
        rows.append([name, *("n/a" if math.isnan(value) else f"{value:.3f}" for value in values)])
    return ["layer", *(one.label for one in measured)], rows


def _link(folder: Path, seed: str, home: Path) -> tuple[str, str]:
    """What a run is called, and where its report is."""
    where = os.path.relpath(folder / "report.html", home)
    return f"seed\N{NO-BREAK SPACE}{seed}", Path(where).as_posix()
