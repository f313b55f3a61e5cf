"""The page says what the run folder says, and says what is missing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from synthetic_run import SUMMARY, metric_lines, small_tensors, tensors, write_inspection, write_lines

from rheobase.report import RunFileError, write_report
from rheobase.report.samples import MOST_SAMPLES

FIGURES = [
    "loss",
    "metric",
    "confusion",
    "sample0",
    "sample3",
    "rates",
    "neuron_rates0",
    "weights0",
    "weights1",
]


def page_of(folder: Path) -> str:
    return write_report(folder).read_text(encoding="utf-8")


def figure(page: str, key: str) -> str:
    found = re.search(rf'<figure id="figure-{key}">.*?</figure>', page, re.DOTALL)
    assert found, f"no figure {key}"
    return found.group(0)


def test_complete_run_has_every_figure_and_number(full_page: str) -> None:
    for key in FIGURES:
        assert "<svg" in figure(full_page, key)
    assert full_page.count("<svg") == full_page.count("<figure") == 11
    assert "Test accuracy 0.944, 0.022 better than the best baseline (nearest neighbour, 0.922)" in full_page
    assert "chance is 0.1." in full_page
    for text in ("3.6 s", "3,050", "412 MB", "epoch 5", "An ordinary CPU", "45 % of neurons are silent"):
        assert text in full_page


def test_accuracy_figure_names_chance_every_baseline_and_the_test_value(full_page: str) -> None:
    svg = figure(full_page, "metric")
    for label in ("chance 0.100", "constant 0.112", "linear 0.891", "nearest neighbour 0.922", "test 0.944"):
        assert f">{label}</text>" in svg
    assert "validation 0.958" in svg


def test_every_figure_has_an_alternative_text(full_page: str) -> None:
    labels = re.findall(r'role="img" aria-label="([^"]+)"', full_page)
    assert len(labels) == full_page.count("<figure")
    assert any("4 taken" in x or "taken for" in x for x in labels)
    assert all(len(label) > 30 for label in labels)


def test_page_is_self_contained(full_page: str) -> None:
    assert "<script" not in full_page
    addresses = set(re.findall(r'(?:href|src)\s*=\s*"([^"]*)"', full_page))
    assert all(a.startswith(("#", "data:")) for a in addresses)
    assert "@import" not in full_page


def test_ids_are_unique(full_page: str) -> None:
    ids = re.findall(r'\sid="([^"]*)"', full_page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", full_page)) <= set(ids)


def test_path_of_the_report(small_folder: Path) -> None:
    path = write_report(small_folder)
    assert path == small_folder / "report.html"
    assert path.read_text(encoding="utf-8").endswith("</html>\n")


def test_same_folder_same_bytes_and_settings_untouched(small_folder: Path) -> None:
    before = dict(matplotlib.rcParams)
    first = write_report(small_folder).read_bytes()
    with matplotlib.rc_context({"font.size": 30.0, "svg.fonttype": "path"}):
        second = write_report(small_folder).read_bytes()
    assert first == second
    assert dict(matplotlib.rcParams) == before


def test_text_from_files_is_escaped(small_folder: Path) -> None:
    evil = "<script>alert(1)</script>"
    write_inspection(small_folder, small_tensors(), classes=[evil, "$5 & more", "c"])
    (small_folder / "summary.json").write_text(json.dumps(SUMMARY | {"task": evil, "warnings": [evil]}))
    (small_folder / "environment.json").write_text(json.dumps({"cpu": evil}))
    page = page_of(small_folder)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert ">$5 &amp; more</text>" in page


def test_killed_run_says_so(small_folder: Path) -> None:
    for name in ("summary.json", "inspection.json", "inspection.safetensors", "environment.json"):
        (small_folder / name).unlink()
    with (small_folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "step", "st')
    page = page_of(small_folder)
    assert "This run is unfinished" in page
    assert "Its log ends at step 240, after 6 whole epochs" in page
    assert "The last line of metrics.jsonl is cut off" in page
    assert page.count("has not been inspected on the test set yet") == 4
    assert "there is no environment.json" in page
    assert "digits" in page
    assert "bptt" in page
    assert "<svg" in figure(page, "metric")  # the metric's name is known from the log alone
    assert "silent" in page


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("experiment.toml", "there is no experiment.toml"),
        ("environment.json", "there is no environment.json"),
        ("metrics.jsonl", "No training step was logged"),
        ("inspection.json", "has not been inspected"),
        ("inspection.safetensors", "has not been inspected"),
        ("summary.json", "no summary yet"),
    ],
)
def test_a_missing_file_is_named_not_fatal(small_folder: Path, name: str, said: str) -> None:
    (small_folder / name).unlink()
    assert said in page_of(small_folder)


@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        ("confusion", "No confusion matrix was recorded"),
        ("inputs", "No samples were recorded"),
        ("rate/", "No firing rates of single neurons were recorded"),
        ("weight_", "No weight histograms were recorded"),
    ],
)
def test_a_missing_tensor_is_named_not_fatal(small_folder: Path, prefix: str, said: str) -> None:
    write_inspection(small_folder, {k: v for k, v in small_tensors().items() if not k.startswith(prefix)})
    assert said in page_of(small_folder)


def test_no_validation(small_folder: Path) -> None:
    write_lines(small_folder, metric_lines(validation=False))
    page = page_of(small_folder)
    assert "No validation data" in page
    assert "validation 0." not in figure(page, "metric")


def test_exploded_run(small_folder: Path) -> None:
    lines = metric_lines()
    for line in lines:
        if line["kind"] == "step" and line["step"] > 100:
            line["loss"] = float("nan")
        if line["kind"] == "epoch":
            line["train"], line["validation"] = {"loss": None, "accuracy": 0.1}, None
    write_lines(small_folder, lines)
    summary = SUMMARY | {"value": None, "test": {"loss": None, "accuracy": None}}
    (small_folder / "summary.json").write_text(json.dumps(summary))
    arrays = small_tensors()
    arrays["signal/readout.v"][5:] = np.nan
    arrays["rate/hidden"][:] = np.nan
    write_inspection(small_folder, arrays)
    page = page_of(small_folder)
    assert "The test accuracy of this run is not a number." in page
    assert "figure-loss" in page


def test_a_loss_that_is_never_finite_is_left_out(small_folder: Path) -> None:
    write_lines(small_folder, [{"kind": "step", "step": 1, "loss": None, "accuracy": 0.1, "rates": {}}])
    page = page_of(small_folder)
    assert "figure-loss" not in page
    assert "figure-metric" in page


def test_inputs_that_are_no_images(small_folder: Path) -> None:
    for inputs in (np.random.default_rng(0).random((1, 60)), np.random.default_rng(0).random((1, 50, 12))):
        write_inspection(
            small_folder, small_tensors() | {"inputs": inputs.astype(np.float32)}, input_is_image=False
        )
        assert "<svg" in figure(page_of(small_folder), "sample0")


def test_lower_is_better(small_folder: Path) -> None:
    changes = {"metric": "error", "value": 0.3, "higher_is_better": False, "baselines": {"a": 0.2, "b": 0.5}}
    (small_folder / "summary.json").write_text(json.dumps(SUMMARY | changes))
    assert "Test error 0.3, 0.1 worse than the best baseline (a, 0.2)" in page_of(small_folder)


def test_large_run_stays_below_four_megabytes(small_folder: Path) -> None:
    wide = tensors(steps=500, samples=1, hidden=64)
    layers = {f"signal/layer{n}.{x}": wide[f"signal/hidden.{x}"] for n in range(8) for x in ("spikes", "v")}
    write_inspection(small_folder, small_tensors() | layers)
    write_lines(small_folder, metric_lines(epochs=10, per_epoch=500))
    page = page_of(small_folder)
    sample = len(figure(page, "sample0"))
    assert len(page) - sample + MOST_SAMPLES * sample < 4_000_000


def test_at_most_so_many_samples(small_folder: Path) -> None:
    write_inspection(small_folder, tensors(samples=MOST_SAMPLES + 2, hidden=3))
    page = page_of(small_folder)
    assert page.count("figure-sample") == MOST_SAMPLES


def test_warnings_of_one_kind_are_grouped(small_folder: Path) -> None:
    warning = {"kind": "warning", "layer": "hidden", "health": "one_class", "message": "m"}
    write_lines(small_folder, [warning | {"step": step} for step in (30, 10, 20)])
    page = page_of(small_folder)
    assert page.count("one class") == 1
    assert "10 to 30" in page


def test_an_error_leaves_the_earlier_report_and_no_temporary_file(small_folder: Path) -> None:
    earlier = write_report(small_folder).read_bytes()
    (small_folder / "summary.json").write_text("{")
    with pytest.raises(RunFileError):
        write_report(small_folder)
    assert (small_folder / "report.html").read_bytes() == earlier
    assert not list(small_folder.glob(".report*"))


def test_write_is_whole_or_not_at_all(small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = write_report(small_folder).read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError("disc full")

    (small_folder / "environment.json").unlink()
    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disc full"):
        write_report(small_folder)
    assert (small_folder / "report.html").read_bytes() == earlier
    assert not list(small_folder.glob(".report*"))


def test_cosines_that_were_logged_have_a_figure(small_folder: Path) -> None:
    assert "figure-cosines" not in page_of(small_folder)
    layers = {"dense1": 0.5, "dense2": None}
    lines = [{"kind": "cosine", "step": step, "whole": 0.25, "layers": layers} for step in (1, 120, 240)]
    write_lines(small_folder, metric_lines() + lines)
    svg = figure(page_of(small_folder), "cosines")
    assert ">all 0.25</text>" in svg
    assert ">dense1 0.50</text>" in svg
    assert ">dense2" not in svg
