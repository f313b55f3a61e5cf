"""A run folder as one value. Whatever is not there yet is None or empty; whatever is broken is an error.

The folder holds `experiment.toml`, `environment.json`, `metrics.jsonl` (one object a line, of the kinds
step, epoch, warning and cosine), `summary.json` (written at the end) and the inspection (see
`inspection.py`). Checkpoints and TensorBoard events are not read.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rheobase.report.fields import RunFileError, Table
from rheobase.report.inspection import Inspection, read_inspection

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_STEP_KEYS = {"kind", "step", "epoch", "loss", "rates", "seconds", "learning_rate"}
_FILES = ("experiment.toml", "summary.json", "metrics.jsonl", "environment.json")


@dataclass(frozen=True)
class Scores:
    """Loss and metric over a set of samples; NaN where not measured."""

    loss: float
    value: float


@dataclass(frozen=True)
class Step:
    """One logged training step: loss and metric on its batch, mean rate of each layer in Hz."""

    step: int
    batch: Scores
    rates: Mapping[str, float]


@dataclass(frozen=True)
class Epoch:
    """The end of an epoch, after `step` training steps in all."""

    epoch: int
    step: int
    train: Scores | None
    validation: Scores | None
    seconds: float


@dataclass(frozen=True)
class HealthWarning:
    """What training warned of; `step` is -1 and `health` empty where the run did not say."""

    step: int
    layer: str
    health: str
    message: str


@dataclass(frozen=True)
class Alignment:
    """The cosine of the rule's direction to the exact gradient at a step, over all parameters and by layer;
    NaN where there was no angle."""

    step: int
    whole: float
    layers: Mapping[str, float]


@dataclass(frozen=True)
class Metrics:
    """What `metrics.jsonl` holds; `cut` if its last line was never finished (the run was killed)."""

    steps: tuple[Step, ...]
    epochs: tuple[Epoch, ...]
    warnings: tuple[HealthWarning, ...]
    metric: str
    cut: bool
    cosines: tuple[Alignment, ...] = ()


@dataclass(frozen=True)
class Summary:
    """What `summary.json` holds; numbers not given are NaN, `seconds` is training time in s."""

    task: str
    rule: str
    neuron: str
    substrate: str
    recipe: str
    seed: int
    metric: str
    value: float
    higher_is_better: bool
    chance: float
    baselines: Mapping[str, float]
    parameters: int | None
    epochs: int | None
    steps: int | None
    seconds: float
    compile_seconds: float
    best_epoch: int | None
    best_value: float
    selected_on: str
    evaluated: str
    train: Scores | None
    test: Scores | None
    warnings: tuple[HealthWarning, ...]
    peak_memory_mb: float
    version: str
    working_memory_mb: float = math.nan


@dataclass(frozen=True)
class Run:
    """Everything the report needs of one run folder."""

    folder: Path
    experiment: Mapping[str, Any]
    experiment_text: str
    environment: Mapping[str, Any]
    metrics: Metrics
    summary: Summary | None
    inspection: Inspection | None
    costs: Mapping[str, Any] | None = None
    """What its crossbars cost: the table "crossbar" of the summary."""

    @property
    def metric(self) -> str:
        """The metric's name: from the summary, else from the log, else empty."""
        return self.summary.metric if self.summary else self.metrics.metric

    def part(self, table: str) -> str:
        """The name of a part of the experiment ("rule" -> "bptt"), or "" where it is not known."""
        values = self.experiment.get(table)
        name = values.get("name") if isinstance(values, Mapping) else None
        return str(name) if name is not None else ""

    @property
    def seed(self) -> str:
        """The seed, from the experiment, or "" where it is not known."""
        values = self.experiment.get("training")
        return str(values.get("seed", "")) if isinstance(values, Mapping) else ""


def read_run(folder: Path) -> Run:
    """The run in `folder`.

    Raises `RunFileError` that names the file if one is malformed, and `FileNotFoundError` if `folder` is
    no run folder at all. Files that are not there (yet) are no error.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; wanted a run folder, such as runs/<name>")
    if not any((folder / name).is_file() for name in _FILES):
        raise FileNotFoundError(f"{folder}: not a run folder; it holds none of {', '.join(_FILES)}")
    experiment_text = _text(folder / "experiment.toml")
    summary = _json(folder / "summary.json")
    metric = summary.optional_text("metric") if summary else ""
    return Run(
        folder=folder,
        experiment=_toml(folder / "experiment.toml", experiment_text),
        experiment_text=experiment_text,
        environment=dict(env.values) if (env := _json(folder / "environment.json")) else {},
        metrics=_metrics(folder / "metrics.jsonl", metric),
        summary=_summary(summary) if summary else None,
        inspection=read_inspection(folder, _json(folder / "inspection.json")),
        costs=summary.values.get("crossbar") if summary else None,
    )


def _text(path: Path) -> str:
    if not path.is_file():
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RunFileError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error


def _toml(path: Path, text: str) -> dict[str, Any]:
    try:
        return dict(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise RunFileError(f"{path}: not TOML: {error}") from error


def _json(path: Path) -> Table | None:
    if not path.is_file():
        return None
    try:
        return Table.of(json.loads(_text(path)), str(path))
    except json.JSONDecodeError as error:
        raise RunFileError(f"{path}: not JSON: {error}") from error


def _metrics(path: Path, metric: str) -> Metrics:
    steps: list[Step] = []
    epochs: list[Epoch] = []
    warnings: list[HealthWarning] = []
    cosines: list[Alignment] = []
    text = _text(path)
    lines = text.splitlines()
    cut = False
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number}"
        try:
            row = Table.of(json.loads(line), where)
        except json.JSONDecodeError as error:
            # The log is appended to, so a kill may leave part of a line at the very end, and only there.
            if number == len(lines) and not text.endswith("\n"):
                cut = True
                break
            raise RunFileError(f"{where}: not JSON: {error.msg}") from error
        kind = row.text("kind")
        if kind == "step":
            metric = metric or _metric_of(row, _STEP_KEYS)
            steps.append(Step(row.whole("step"), _scores(row, metric), row.numbers("rates")))
        elif kind == "epoch":
            train, validation = row.table("train"), row.table("validation")
            metric = metric or (_metric_of(train, {"loss"}) if train else "")
            epochs.append(
                Epoch(
                    epoch=row.whole("epoch"),
                    step=row.whole("step"),
                    train=_scores(train, metric) if train else None,
                    validation=_scores(validation, metric) if validation else None,
                    seconds=row.number("seconds"),
                )
            )
        elif kind == "warning":
            warnings.append(_warning(row))
        elif kind == "cosine":
            cosines.append(Alignment(row.whole("step"), row.number("whole"), row.numbers("layers")))
        else:
            raise RunFileError(f"{where}: 'kind' is {kind!r}, wanted step, epoch, warning or cosine")
    return Metrics(tuple(steps), tuple(epochs), tuple(warnings), metric, cut, tuple(cosines))


def _metric_of(row: Table, known: set[str]) -> str:
    """The log names the metric only by its key: the one numeric key with no other meaning."""
    others = (key for key in row.values if key not in known)
    return next((key for key in others if isinstance(row.values[key], (int, float))), "")


def _scores(row: Table, metric: str) -> Scores:
    return Scores(row.number("loss"), row.number(metric) if metric else math.nan)


def _warning(row: Table) -> HealthWarning:
    step = row.optional_whole("step")
    return HealthWarning(
        step=-1 if step is None else step,
        layer=row.optional_text("layer"),
        health=row.optional_text("health"),
        message=row.optional_text("message"),
    )


def _summary(row: Table) -> Summary:
    metric = row.text("metric")
    best = row.table("best") or Table(row.where, {})
    train, test = row.table("train"), row.table("test")
    return Summary(
        task=row.text("task"),
        rule=row.text("rule"),
        neuron=row.text("neuron"),
        substrate=row.optional_text("substrate"),
        recipe=row.optional_text("recipe"),
        seed=row.whole("seed"),
        metric=metric,
        value=row.number("value"),
        higher_is_better=row.flag("higher_is_better", True),
        chance=row.number("chance"),
        baselines=row.numbers("baselines"),
        parameters=row.optional_whole("parameters"),
        epochs=row.optional_whole("epochs"),
        steps=row.optional_whole("steps"),
        seconds=row.number("seconds"),
        compile_seconds=row.number("compile_seconds"),
        best_epoch=best.optional_whole("epoch"),
        best_value=best.number("value"),
        selected_on=best.optional_text("selected_on"),
        evaluated=row.optional_text("evaluated"),
        train=_scores(train, metric) if train else None,
        test=_scores(test, metric) if test else None,
        warnings=_listed_warnings(row),
        peak_memory_mb=row.number("peak_memory_mb"),
        version=row.optional_text("version"),
        working_memory_mb=row.number("working_memory_mb"),
    )


def _listed_warnings(row: Table) -> tuple[HealthWarning, ...]:
    listed = row.values.get("warnings") or []
    if not isinstance(listed, list):
        raise RunFileError(f"{row.where}: 'warnings' is {listed!r:.60}, wanted a list")
    return tuple(
        HealthWarning(-1, "", "", item)
        if isinstance(item, str)
        else _warning(Table.of(item, f"{row.where}: 'warnings'"))
        for item in listed
    )
