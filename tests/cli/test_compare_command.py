"""`rheobase compare`, end to end on scikit-learn's digits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from small_words import SMALL

from rheobase import report
from rheobase.cli.compare import rules
from rheobase.training import comparison
from rheobase.training.errors import Interrupted
from rheobase.training.experiment import Experiment
from rheobase.training.summary import Summary


@pytest.fixture(autouse=True)
def no_reports_of_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes seconds; the comparison's own page is drawn."""
    monkeypatch.setattr(report, "write_report", lambda folder: folder / "report.html")


def test_rules_with_options() -> None:
    found = rules("bptt, bptt:truncation=2,other=x,e-prop")
    assert [tuple(choice) for choice in found] == [
        ("bptt", {}),
        ("bptt", {"truncation": "2", "other": "x"}),
        ("e_prop", {}),
    ]
    assert [choice.slug for choice in found] == ["bptt", "bptt-truncation2-otherx", "e-prop"]


def test_one_run_a_rule_and_seed_one_table_one_page(cli: Any, tmp_path: Path) -> None:
    words = ("compare", "digits", *SMALL, "--rules", "bptt,bptt:truncation=2", "--no-progress")
    result = cli(*words, "--seeds", "0,3")
    assert result.code == 0, result.err
    out = tmp_path / "runs" / "compare-digits"
    names = [f"{rule}-s{seed}" for rule in ("bptt", "bptt-truncation2") for seed in (0, 3)]
    assert sorted(p.name for p in out.iterdir()) == sorted([*names, "comparison.html"])
    cut: Any = Experiment.load(out / "bptt-truncation2-s3" / "experiment.toml")
    assert (cut.rule.truncation, cut.training.seed, cut.training.cosines) == (2, 3, 20)
    assert cut.network.hidden == (8,)
    assert [f"run {i} of 4: runs/compare-digits/{name}" in result.err for i, name in enumerate(names, 1)] == (
        [True] * 4
    )
    for rule, label, kind in (
        ("bptt", "bptt", "exact"),
        ("bptt-truncation2", "bptt (truncation 2)", "truncated"),
    ):
        a, b = (Summary.load(out / f"{rule}-s{seed}").value for seed in (0, 3))
        row = rf"{re.escape(label)} +{kind} +2 +{(a + b) / 2:.4f} +{abs(a - b) / 2**0.5:.4f} "
        assert re.search(row, result.out), result.out
    assert re.search(r"linear +0\.96", result.out)
    before = {name: (out / name / "metrics.jsonl").stat().st_mtime_ns for name in names}
    again = cli(*words, "--seeds", "0,3")
    assert again.out == result.out
    assert again.err == ""
    assert before == {name: (out / name / "metrics.jsonl").stat().st_mtime_ns for name in names}
    other = cli(*words, "--learning-rate", "0.1")
    assert other.code == 1
    assert "holds a run with other options" in other.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--rules", "bptt,bpt"], "unknown learning rule 'bpt'; did you mean 'bptt'?"),
        (["--rules", "bptt:truncate=3"], "unknown option of bptt 'truncate'; did you mean 'truncation'?"),
        (["--rules", "bptt:truncation"], "got 'truncation', wanted OPTION=VALUE"),
        (["--rules", "bptt:truncation=0"], "got 0 steps, wanted at least 1 steps"),
        (["--rules", "bptt,bptt"], "got bptt twice"),
        ([], "--rules: which?"),
        (["--rules", "bptt", "--rule", "bptt"], "No such option '--rule'"),
        (["--rules", "bptt", "--seed", "1", "--seeds", "1,2"], "got --seed and --seeds"),
    ],
)
def test_wrong_words_end_with_2_before_anything_is_made(
    cli: Any, tmp_path: Path, words: list[str], told: str
) -> None:
    result = cli("compare", "digits", *words)
    assert result.code == 2
    assert told in " ".join(result.err.split())
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_comparison_says_how_to_go_on(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise Interrupted("stopped at step 3; go on with: rheobase resume x")

    monkeypatch.setattr(comparison, "compare", stopped)
    result = cli("compare", "digits", *SMALL, "--rules", "bptt")
    assert result.code == 130
    assert result.err.strip().endswith("rheobase resume x, or with the rest: the same command again")


def test_a_task_is_needed(cli: Any) -> None:
    result = cli("compare", "--rules", "bptt")
    assert (result.code, "which task?" in result.err) == (2, True)


def test_help_has_the_options_of_a_run_but_not_of_a_rule(cli: Any) -> None:
    text = cli("compare", "adding", "--help").out
    assert "--neuron.tau-m" in text
    assert "--learning-rate" in text
    assert "--rules " in text
    assert "--rule.truncation" not in text
