"""Runs grouped by rule: the table, the figure and the page."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from synthetic_run import EXPERIMENT, SUMMARY, metric_lines, write_lines

from rheobase.report import comparison_text, write_comparison
from rheobase.report.comparison import comparison_rows, differences, group_runs


def make(folder: Path, rule: str, seed: int, value: float, cosines: list[float], **training: Any) -> Path:
    """A run folder without an inspection."""
    folder.mkdir(parents=True)
    text = EXPERIMENT.replace('[rule]\nname = "bptt"\n', f"[rule]\n{rule}\n").replace(
        "seed = 3", f"seed = {seed}"
    )
    for key, setting in training.items():
        text = re.sub(rf"{key} = .*", f"{key} = {setting}", text)
    (folder / "experiment.toml").write_text(text)
    summary = SUMMARY | {
        "seed": seed,
        "value": value,
        "seconds": 10.0 * value,
        "working_memory_mb": 5.0 + seed,
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    lines = metric_lines(epochs=2)
    for i, whole in enumerate(cosines):
        layers = {"dense1": whole / 2, "dense2": None}
        lines.append({"kind": "cosine", "step": 1 + 40 * i, "whole": whole, "layers": layers})
    write_lines(folder, lines)
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    cut = 'name = "bptt"\ntruncation = 2'
    return [
        make(tmp_path / "a", 'name = "bptt"', 0, 0.9, []),
        make(tmp_path / "b", 'name = "bptt"', 1, 0.94, []),
        make(tmp_path / "c", cut, 0, 0.7, [0.2, 0.6], learning_rate=0.1),
        make(tmp_path / "d", cut, 1, 0.8, [0.4, 0.8], learning_rate=0.1),
    ]


def test_the_table_by_hand(folders: list[Path]) -> None:
    header, rows = comparison_rows(group_runs(folders))
    assert header == [
        "rule", "kind", "runs", "test accuracy", "spread", "time", "memory", "cosine", "hidden layers",
    ]  # fmt: skip
    assert rows[0] == ["bptt", "exact", "2", "0.9200", "0.0283", "9.2 s", "6.0 MB", "1.000", "1.000"]
    cut = ["bptt (truncation 2)", "truncated", "2", "0.7500", "0.0707", "7.5 s", "6.0 MB", "0.500", "0.250"]
    assert rows[1] == cut
    lines = comparison_text(folders).splitlines()
    assert [line.split()[0] for line in lines] == [
        "rule",
        "bptt",
        "bptt",
        "chance",
        "constant",
        "linear",
        "nearest",
    ]
    assert lines[5].split() == ["linear", "0.8910"]
    assert lines[5].index("0.8910") == lines[1].index("0.9200")


def test_differences_are_options_other_than_rule_and_seed(folders: list[Path]) -> None:
    assert differences(group_runs(folders)) == [["training learning_rate", "0.0005", "0.1"]]
    assert differences(group_runs(folders[:2])) == []


def test_unfinished_runs_and_one_seed(folders: list[Path]) -> None:
    (folders[3] / "summary.json").unlink()
    header, rows = comparison_rows(group_runs(folders[2:]))
    assert "spread" not in header
    assert rows[0][:4] == ["bptt", "truncated", "1 (+1 unfinished)", "0.7000"]
    (folders[2] / "summary.json").unlink()
    header, rows = comparison_rows(group_runs(folders[2:]))
    assert header == ["rule", "kind", "runs", "cosine", "hidden layers"]
    assert "unfinished" in comparison_text(folders[2:])


def test_a_rule_that_is_not_installed_is_shown_without_its_kind(tmp_path: Path) -> None:
    other = make(tmp_path / "x", 'name = "no_such_rule"', 0, 0.5, [0.1])
    (found,) = group_runs([other])
    assert found.rule is None
    assert found.aim(found.cosines()) == pytest.approx(0.1)
    assert math.isnan(found.aim(found.cosines("dense2")))
    header, rows = comparison_rows([found])
    assert (header[:2], rows[0][0]) == (["rule", "runs"], "no-such-rule")


def test_the_page(folders: list[Path], tmp_path: Path) -> None:
    path = write_comparison(folders, tmp_path / "out" / "comparison.html")
    page = path.read_text()
    assert page == write_comparison(folders, path).read_text()
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    assert "digits · bptt, bptt (truncation 2)" in text
    assert "Test accuracy: bptt not better" not in text
    assert "bptt and bptt (truncation 2) not better than nearest neighbour, 0.922" in text
    assert "dense1 0.250" in text
    assert "dense2 n/a" in text
    assert "training learning_rate 0.0005 0.1" in text
    assert 'href="../c/report.html"' in page
    assert page.count("<svg") == 1
    assert "<script" not in page
    assert re.search(r'aria-label="[^"]*at the end: bptt \(truncation 2\) 0\.35', page)


def test_no_cosines_leave_one_panel(folders: list[Path], tmp_path: Path) -> None:
    page = write_comparison(folders[:2], tmp_path / "comparison.html").read_text()
    assert "Cosine by layer" not in page
    assert "Nothing but the rule" in page


def test_accuracies_begin_below_the_lowest_curve_and_overlapping_lines_show(folders: list[Path]) -> None:
    from matplotlib.figure import Figure

    from rheobase.report.comparison_figure import _draw_learning

    rules = group_runs(folders)
    axes = Figure().subplots()
    _draw_learning(axes, rules)
    curves = [line for line in axes.lines if len(line.get_xdata()) > 2]
    lowest = min(float(min(line.get_ydata())) for line in curves)
    bottom, top = axes.get_ylim()
    assert top == 1.0
    assert bottom <= min(lowest, 0.7) < bottom + 0.1 + 1e-9
    told = {text.get_text().rsplit(" ", 1)[0] for text in axes.texts}
    known = dict(rules[0].runs[0].summary.baselines)  # type: ignore[union-attr]
    assert {name for name, value in known.items() if value >= bottom} <= {t.replace(" ", "_") for t in told}
    widths = [line.get_linewidth() for line in curves]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > widths[-1]
