"""Runs under several learning rules, brought together: what each rule reached, took and how well it aimed.

Runs are grouped by rule and its options. A value is the mean over a rule's runs (its seeds), a spread the
standard deviation between them. Time is training without compilation; memory is what training held at its
peak beyond what was there before its first step (`rheobase.training.memory`), the most of any run. The
cosine is that of the rule's direction to the exact gradient, mean over the points where it was measured: over
all parameters, and the mean of those of the hidden layers. The read-out's gradient, which is right under most
rules, is often so much larger than theirs that the former says little about them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rheobase.registry import build
from rheobase.report.options import show
from rheobase.report.run import Run, read_run
from rheobase.rules.base import LearningRule

#: Options that differ between the runs of a rule without making them another experiment.
_PER_RUN = {("training", "seed")}


@dataclass(frozen=True)
class RuleRuns:
    """The runs of one rule; `label` tells it from the others of the comparison."""

    label: str
    runs: tuple[Run, ...]

    @property
    def rule(self) -> LearningRule | None:
        """The rule, or None where this installation does not have it."""
        table = self.runs[0].experiment.get("rule")
        try:
            return build(LearningRule, table) if isinstance(table, Mapping) else None
        except (ImportError, ValueError):
            return None

    @property
    def values(self) -> list[float]:
        """The test values of the finished runs."""
        return [run.summary.value for run in self.runs if run.summary]

    def mean_of(self, name: str) -> float:
        """The mean over finished runs of a number of their summaries; NaN without any."""
        found = [float(getattr(run.summary, name)) for run in self.runs if run.summary]
        return statistics.fmean(found) if found else math.nan

    def most(self, name: str) -> float:
        """The largest of a number of the summaries; NaN where none was measured."""
        found = [float(getattr(run.summary, name)) for run in self.runs if run.summary]
        return max((value for value in found if math.isfinite(value)), default=math.nan)

    def cosines(self, layer: str | None = None) -> list[list[tuple[int, float]]]:
        """Steps and cosines of each run: over all parameters, or those of one layer."""
        told = [
            [
                (c.step, c.whole if layer is None else c.layers.get(layer, math.nan))
                for c in run.metrics.cosines
            ]
            for run in self.runs
        ]
        return [[(step, value) for step, value in one if math.isfinite(value)] for one in told]

    def hidden_cosines(self) -> list[list[tuple[int, float]]]:
        """Steps and mean cosines of the hidden layers, for each run."""
        return [
            [
                (c.step, statistics.fmean(known))
                for c in run.metrics.cosines
                if (known := [c.layers[n] for n in hidden(list(c.layers)) if math.isfinite(c.layers[n])])
            ]
            for run in self.runs
        ]

    def aim(self, cosines: Sequence[Sequence[tuple[int, float]]]) -> float:
        """The mean of these over all points and runs; 1 for an exact rule, NaN if nothing was measured."""
        if self.rule is not None and self.rule.kind == "exact":
            return 1.0
        every = [value for one in cosines for _, value in one]
        return statistics.fmean(every) if every else math.nan


def hidden(layers: Sequence[str]) -> list[str]:
    """Of layers with parameters in their order, those in front of the read-out and its connection.

    >>> hidden(["dense1", "hidden1", "dense2", "readout"])
    ['dense1', 'hidden1']
    """
    return [name for name in layers if name != "readout"][:-1]


def group_runs(folders: Iterable[Path]) -> tuple[RuleRuns, ...]:
    """The runs by rule, in the order given. Raises as `read_run` does."""
    groups: dict[str, list[Run]] = {}
    for folder in folders:
        run = read_run(folder)
        groups.setdefault(repr(run.experiment.get("rule")), []).append(run)
    labels = _labels([runs[0] for runs in groups.values()])
    return tuple(RuleRuns(label, tuple(runs)) for label, runs in zip(labels, groups.values(), strict=True))


def _labels(runs: Sequence[Run]) -> list[str]:
    """The rules' names, with the options in which those of one name differ."""
    tables = [_flat(run.experiment.get("rule")) for run in runs]
    labels = []
    for run, table in zip(runs, tables, strict=True):
        same = [other for other in tables if other.get("name") == table.get("name")]
        keys = {key for other in same for key in other if any(o.get(key) != other[key] for o in same)}
        told = ", ".join(f"{key} {table[key]}" for key in sorted(keys) if key in table)
        labels.append(f"{run.part('rule').replace('_', '-')}{f' ({told})' if told else ''}")
    return labels


def comparison_rows(rules: Sequence[RuleRuns]) -> tuple[list[str], list[list[str]]]:
    """The header and a row per rule, in words. Columns that nobody has anything to say in are left out."""
    metric = rules[0].runs[0].metric
    header = ["rule", "kind", "runs", f"test {metric}", "spread", "time", "memory", "cosine", "hidden layers"]
    rows = []
    for one in rules:
        values = one.values
        spread = statistics.stdev(values) if len(values) > 1 else math.nan
        unfinished = len(one.runs) - len(values)
        rows.append(
            [
                one.label,
                one.rule.kind if one.rule else "",
                f"{len(values)}" + (f" (+{unfinished} unfinished)" if unfinished else ""),
                _value(one.mean_of("value")),
                _value(spread),
                _number(one.mean_of("seconds"), "{:.1f} s"),
                _number(one.most("working_memory_mb"), "{:.1f} MB"),
                _number(one.aim(one.cosines()), "{:.3f}"),
                _number(one.aim(one.hidden_cosines()), "{:.3f}"),
            ]
        )
    kept = [i for i in range(len(header)) if any(row[i] for row in rows)]
    return [header[i] for i in kept], [[row[i] for i in kept] for row in rows]


def references(rules: Sequence[RuleRuns]) -> dict[str, float]:
    """Chance and the baselines of the task, from a finished run; empty without one."""
    summary = next((run.summary for one in rules for run in one.runs if run.summary), None)
    if summary is None:
        return {}
    named = {"chance": summary.chance} | dict(summary.baselines)
    return {name.replace("_", " "): value for name, value in named.items() if math.isfinite(value)}


def differences(rules: Sequence[RuleRuns]) -> list[list[str]]:
    """The options in which the rules' experiments differ: name, then the value under each rule."""
    tables = [
        {
            (part, key): value
            for part, table in one.runs[0].experiment.items()
            for key, value in _flat(table).items()
        }
        for one in rules
    ]
    keys = dict.fromkeys(key for table in tables for key in table)
    differing = [
        key
        for key in keys
        if key not in _PER_RUN and key[0] != "rule" and len({repr(table.get(key)) for table in tables}) > 1
    ]
    return [
        [f"{part} {key}", *(_option(table.get((part, key))) for table in tables)] for part, key in differing
    ]


def comparison_text(folders: Iterable[Path]) -> str:
    """The comparison as a table for the terminal, with chance and the baselines beneath."""
    rules = group_runs(folders)
    header, rows = comparison_rows(rules)
    known = references(rules)
    place = next((i for i, name in enumerate(header) if name.startswith("test ")), None)
    if place is not None:
        for name, value in known.items():
            rows.append([name if i == 0 else _value(value) if i == place else "" for i in range(len(header))])
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    left = 2 if "kind" in header else 1
    lines = [
        "  ".join(
            c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in [header, *rows]
    ]
    return "\n".join(f"  {line}".rstrip() for line in lines)


def _flat(table: Any, prefix: str = "") -> dict[str, Any]:
    """A table with its inner tables' options as `outer.inner`."""
    if not isinstance(table, Mapping):
        return {} if table is None else {prefix.rstrip("."): table}
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def _option(value: Any) -> str:
    return "none" if value is None else show(value)


def _value(value: float) -> str:
    """Four decimals, or as many digits where a small error would lose them."""
    return "" if math.isnan(value) else f"{value:.4f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"


def _number(value: float, form: str) -> str:
    return "" if math.isnan(value) else form.format(value)
