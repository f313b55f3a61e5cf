"""Several runs in one table."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from synthetic_run import SUMMARY

from rheobase.report import comparison_table


def test_table(run_folder: Path) -> None:
    other, killed = run_folder.with_name("b|c"), run_folder.with_name("killed")
    shutil.copytree(run_folder, other)
    shutil.copytree(run_folder, killed)
    (killed / "summary.json").unlink()
    changes = {"rule": "eprop", "seed": 12, "value": 0.5, "baselines": {"mean": 0.25}, "seconds": 100.04}
    (other / "summary.json").write_text(json.dumps(SUMMARY | changes))
    table = comparison_table([run_folder, other, killed])
    rows = [
        [cell.strip() for cell in line.replace(r"\|", "!").split("|")[1:-1]] for line in table.splitlines()
    ]
    names = ["run", "task", "rule", "neuron", "seed", "metric", "value", "chance"]
    assert rows[0] == [*names, "constant", "linear", "nearest neighbour", "mean", "seconds"]
    assert set("".join(rows[1])) == {"-", ":"}
    first = ["digits-bptt-3", "digits", "bptt", "lif", "3", "accuracy", "0.9440", "0.1000"]
    assert rows[2] == [*first, "0.1120", "0.8910", "0.9220", "", "3.6"]
    second = ["b!c", "digits", "eprop", "lif", "12", "accuracy", "0.5000", "0.1000"]
    assert rows[3] == [*second, "", "", "", "0.2500", "100.0"]
    killed_row = ["killed", "digits", "bptt", "lif", "3", "accuracy", "unfinished"]
    assert rows[4] == [*killed_row, *[""] * 6]
    assert len({len(line) for line in table.splitlines()}) == 1


def test_no_runs() -> None:
    assert len(comparison_table([]).splitlines()) == 2
