"""The page: `report.html`, one file that needs nothing else, not even a network.

It holds no script, and its content security policy forbids it to load anything. It shows no date: the same
run folder gives the same bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from rheobase.files import write_text
from rheobase.report.answers import answer_plots, spectrum_plots, trace_plots
from rheobase.report.crossbars import costs_note, crossbar_plots
from rheobase.report.curves import cosine_plots, curve_plots, rate_plots
from rheobase.report.histograms import (
    MOST_PANELS,
    confusion_plots,
    neuron_rate_plots,
    top_confusions,
    weight_plots,
)
from rheobase.report.options import describe, show
from rheobase.report.rasters import are_trains, raster_plots
from rheobase.report.receptive import field_plots
from rheobase.report.run import HealthWarning, Run, Summary, read_run
from rheobase.report.samples import sample_plots
from rheobase.report.studies import STUDIES_NOTE, study_plots
from rheobase.report.style import Plot
from rheobase.report.templates import render


@dataclass(frozen=True)
class Section:
    """A heading, its figures and how they stand, and a sentence about them or about their absence."""

    key: str
    title: str
    columns: str
    plots: tuple[Plot, ...]
    note: str


@dataclass(frozen=True)
class Fact:
    """A number of the header with its name and a remark."""

    name: str
    value: str
    remark: str


@dataclass(frozen=True)
class WarningGroup:
    """Warnings of one kind about one layer: how often, and the steps of the first and last."""

    layer: str
    health: str
    message: str
    times: int
    first: int
    last: int


def write_report(folder: Path) -> Path:
    """Write `report.html` into a run folder and return its path.

    The run may be unfinished: what is not there yet is said to be missing. Raises `RunFileError` (a
    `ValueError`) that names the file if one is malformed, and `FileNotFoundError` if `folder` is no run
    folder; an earlier report is then left as it was.
    """
    page = render_page(read_run(folder))
    path = folder / "report.html"
    write_text(path, page)
    return path


def render_page(run: Run) -> str:
    """The page as text."""
    return render(
        "template.html",
        name=run.folder.resolve().name,
        title=_title(run),
        verdict=_verdict(run),
        facts=_facts(run),
        unfinished=run.summary is None,
        cut=run.metrics.cut,
        warnings=warning_groups(run),
        sections=_sections(run),
        mistakes=_mistakes(run),
        has_classes=run.inspection is None or run.inspection.confusion is not None,
        epochs=run.metrics.epochs,
        metric=run.metric,
        number=_number,
        parts=describe(run.experiment),
        experiment_text=run.experiment_text,
        environment=[(key, show(value)) for key, value in run.environment.items() if value is not None],
    )


def warning_groups(run: Run) -> tuple[WarningGroup, ...]:
    """The run's health warnings, one group for each kind and layer, in order of first appearance."""
    logged = run.metrics.warnings or (run.summary.warnings if run.summary else ())
    groups: dict[tuple[str, str, str], list[HealthWarning]] = {}
    for warning in logged:
        # Messages may carry numbers that change from step to step; a kind and a layer do not.
        same = (warning.layer, warning.health, "" if warning.health else warning.message)
        groups.setdefault(same, []).append(warning)
    return tuple(
        WarningGroup(
            layer=found[0].layer,
            health=found[0].health.replace("_", " "),
            message=found[0].message,
            times=len(found),
            first=min(warning.step for warning in found),
            last=max(warning.step for warning in found),
        )
        for found in groups.values()
    )


def _title(run: Run) -> tuple[str, ...]:
    """Task, neuron, rule, as the command line writes them."""
    s = run.summary
    parts = (s.task, s.neuron, s.rule) if s else (run.part("task"), run.part("neuron"), run.part("rule"))
    return tuple(part.replace("_", "-") for part in parts if part)


def _verdict(run: Run) -> str:
    """One sentence: the value beside chance and the best simple method."""
    s = run.summary
    if s is None:
        steps = max((step.step for step in run.metrics.steps), default=0)
        return (
            f"This run is unfinished: it has no summary yet. Its log ends at step {steps}, after "
            f"{len(run.metrics.epochs)} whole epochs. It may still be training, or was stopped; a stopped "
            "run can be resumed."
        )
    if math.isnan(s.value):
        return f"The test {s.metric} of this run is not a number."
    known = {key.replace("_", " "): value for key, value in s.baselines.items() if math.isfinite(value)}
    text = f"Test {s.metric} {_number(s.value)}"
    if known:
        name, best = (max if s.higher_is_better else min)(known.items(), key=lambda item: item[1])
        gain = s.value - best if s.higher_is_better else best - s.value
        side = "better than" if gain > 0 else "worse than" if gain < 0 else "the same as"
        size = f"{_number(abs(gain))} " if gain else ""
        text += f", {size}{side} the best baseline ({name}, {_number(best)})"
    return f"{text}." if math.isnan(s.chance) else f"{text}; chance is {_number(s.chance)}."


def _facts(run: Run) -> tuple[Fact, ...]:
    s = run.summary
    if s is None:
        return ()
    test = f"test loss {_number(s.test.loss)}" if s.test and math.isfinite(s.test.loss) else "test"
    facts = [Fact(f"Test {s.metric}", _number(s.value), test)]
    if s.train and math.isfinite(s.train.value):
        facts.append(Fact(f"Training {s.metric}", _number(s.train.value), f"loss {_number(s.train.loss)}"))
    if math.isfinite(s.seconds):
        extra = (
            f"and {s.compile_seconds:.1f} s compiling" if s.compile_seconds >= 0.05 else "without evaluation"
        )
        facts.append(Fact("Training time", _seconds(s.seconds), extra))
    if s.epochs is not None:
        facts.append(Fact("Epochs", str(s.epochs), f"{s.steps:,} steps" if s.steps is not None else ""))
    if s.parameters is not None:
        facts.append(Fact("Parameters", f"{s.parameters:,}", f"on {s.substrate or 'ideal'} weights"))
    if math.isfinite(s.peak_memory_mb):
        facts.append(Fact("Peak memory", f"{s.peak_memory_mb:,.0f} MB", "of the whole process"))
    facts.append(Fact("Seed", str(s.seed), f"recipe {s.recipe}" if s.recipe else ""))
    return (*facts, *_model(s))


def _model(s: Summary) -> list[Fact]:
    """Which model was tested, and how it was chosen."""
    if not s.evaluated:
        return []
    if s.evaluated != "best" or s.best_epoch is None:
        return [Fact("Tested model", s.evaluated, "")]
    return [Fact("Tested model", f"epoch {s.best_epoch}", f"best by {s.selected_on or 'an unnamed measure'}")]


def _sections(run: Run) -> tuple[Section, ...]:
    seen = run.inspection
    absent = "" if seen else _NOT_INSPECTED
    curves = curve_plots(run) + cosine_plots(run)
    rates = rate_plots(run)
    results = confusion_plots(seen) + answer_plots(seen) if seen else ()
    traces = trace_plots(seen) + raster_plots(seen) if seen else ()
    sections = [Section("learning", "Learning", "two", curves, _learning_note(run, bool(curves)))]
    if results or not traces:
        sections.append(Section("results", "Test results", "two", results, absent or _results_note(run)))
    fields = field_plots(seen) if seen else ()
    if traces:
        sections.append(Section("traces", "Outputs over time", "one", traces, _traces_note(run)))
    if fields:
        note = "Each square is a neuron, lying as the image does. Dark or blue excites, vermilion inhibits."
        sections.append(Section("fields", "What neurons look for", "one", fields, note))
    sections += [
        Section(
            "samples",
            "Samples, layer by layer",
            "one",
            sample_plots(seen) if seen else (),
            absent or _samples_note(run),
        ),
        Section(
            "activity",
            "Activity",
            "three",
            rates + (neuron_rate_plots(seen) if seen else ()),
            absent or ("" if seen and seen.rates else "No firing rates of single neurons were recorded."),
        ),
        Section(
            "weights",
            "Weights before and after training",
            "three",
            spectrum_plots(seen) + weight_plots(seen) if seen else (),
            absent or _weights_note(len(seen.weights) if seen else 0),
        ),
    ]
    crossbars = crossbar_plots(run.folder, run.costs)
    if crossbars:
        sections.append(Section("crossbars", "Crossbars", "three", crossbars, costs_note(run.costs)))
    studies = tuple(study_plots(run.folder))
    if studies:
        sections.append(Section("studies", "Studies", "two", studies, STUDIES_NOTE))
    return tuple(sections)


def _results_note(run: Run) -> str:
    seen = run.inspection
    if seen is None or seen.confusion is not None:
        return ""
    if seen.answers is not None:
        return "Dashed: where predictions would be right."
    return "No confusion matrix was recorded."


def _traces_note(run: Run) -> str:
    if run.inspection and run.inspection.samples and are_trains(run.inspection.samples):
        return "Every spike of the output neurons, over the steps that are scored."
    if run.inspection and run.inspection.classes:
        return "Blue: the answer. Vermilion: the right one. Grey: where it counts."
    return "Colour: the output. Dashed: the target."


def _samples_note(run: Run) -> str:
    seen = run.inspection
    if seen is None or seen.samples is None:
        return "No samples were recorded."
    return f"{_ROWS} {_CLASSES if seen.samples.has_classes else _PICKED}"


_NOT_INSPECTED = "Not in this run folder: the trained network has not been inspected on the test set yet."

_ROWS = "Each row is a layer; time runs to the right."
_CLASSES = (
    "In the last layer, blue is the predicted class, and vermilion the true one where they differ. "
    "Elsewhere, colour picks out the neurons that vary most."
)
_PICKED = "Colour picks out the neurons that vary most."


def _learning_note(run: Run, any_curve: bool) -> str:
    if not any_curve:
        return "No training step was logged."
    parts = ["Dashed lines: chance and the baselines, on the test set. Grey: single batches."]
    if not any(epoch.validation for epoch in run.metrics.epochs):
        parts.append("No validation data: nothing was held out of the training set.")
    if run.summary is None:
        parts.append("No test value and no baselines yet: the run is unfinished.")
    return " ".join(parts)


def _mistakes(run: Run) -> list[tuple[str, str, int, str]]:
    """The most frequent mistakes: true class, class read, how often, share of the true class."""
    seen = run.inspection
    if seen is None or seen.confusion is None:
        return []
    totals = seen.confusion.sum(axis=1)
    return [
        (seen.class_name(true), seen.class_name(read), times, f"{100 * times / totals[true]:.1f} %")
        for true, read, times in top_confusions(seen.confusion, 10)
    ]


def _weights_note(count: int) -> str:
    if not count:
        return "No weight histograms were recorded."
    return f"The first {MOST_PANELS} of {count} parameters." if count > MOST_PANELS else ""


def _number(value: float) -> str:
    """Four significant digits, as few as say it; n/a for what was not measured."""
    return "n/a" if math.isnan(value) else f"{value:.4g}"


def _seconds(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
