"""Reports of values and sequences: predictions against targets, thresholds that adapt, spectra of weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rheobase.report import write_report
from rheobase.report.answers import answer_plots, spectrum_plots, trace_plots
from rheobase.report.inspection import Inspection
from rheobase.report.receptive import tiled
from rheobase.report.run import read_run
from rheobase.training.experiment import Experiment
from rheobase.training.fit import fit
from rheobase.training.restore import load_network

FEW = {"epochs": 1, "steps": 4, "batch_size": 5, "threads": 1}


def run(folder: Path, task: str, options: dict[str, Any], network: dict[str, Any]) -> Path:
    tables = {"task": {"test_samples": 20, **options}, "network": network, "training": FEW}
    fit(Experiment.from_recipe(task, overrides=tables), folder, progress=False)
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def adding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("answers") / "adding"
    return run(folder, "adding", {"length": 10}, {"name": "recurrent", "hidden": [7]})


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("answers") / "pattern"
    options = {"duration": 50.0, "inputs": 8, "outputs_wanted": 2}
    return run(folder, "pattern_generation", options, {"name": "recurrent", "hidden": [6]})


def inspected(folder: Path) -> Inspection:
    found = read_run(folder).inspection
    assert found is not None
    return found


def figures(folder: Path) -> list[str]:
    return re.findall(r'<figure id="figure-(\w+)">', (folder / "report.html").read_text())


def test_values_have_a_scatter_and_their_errors(adding: Path) -> None:
    seen = inspected(adding)
    assert seen.answers is not None
    predictions, targets = seen.answers
    error = float(np.mean((predictions - targets) ** 2))
    summary = read_run(adding).summary
    assert summary is not None
    assert error == pytest.approx(summary.value, rel=1e-5)
    scatter, errors = answer_plots(seen)
    assert f"for 20 test samples; mean squared error {error:.4g}" in scatter.alt
    assert (scatter.key, errors.key) == ("answers", "errors")
    assert trace_plots(seen) == ()
    assert {"answers", "errors"} <= set(figures(adding))
    assert "confusion" not in figures(adding)


def test_thresholds_that_adapt_are_among_the_signals(adding: Path) -> None:
    seen = inspected(adding)
    assert seen.samples is not None
    threshold = seen.samples.signals["hidden1"]["threshold"]
    neuron: Any = load_network(adding)[0].neuron
    assert threshold.shape[0] == 10
    assert (threshold >= neuron.threshold - 1e-6).all()
    b = seen.samples.signals["hidden1"]["b"]
    assert np.allclose(threshold, neuron.threshold + neuron.beta * b, atol=1e-5)


def test_spectra_are_the_eigenvalues_of_recurrent_weights(adding: Path) -> None:
    before, after = inspected(adding).spectra["hidden1"]
    layer: Any = load_network(adding, which="last")[1].layers["hidden1"]
    wanted = np.linalg.eigvals(layer.weight.detach().double().numpy())
    found = after[:, 0] + 1j * after[:, 1]
    assert np.allclose(np.sort_complex(found), np.sort_complex(wanted), atol=1e-4)
    assert before is not None
    assert not np.allclose(before, after)
    (plot,) = spectrum_plots(inspected(adding))
    assert f"Largest modulus {np.abs(wanted).max():.3g} after training" in plot.alt
    assert plot.key in figures(adding)


def test_sequences_have_outputs_beside_targets(pattern: Path) -> None:
    seen = inspected(pattern)
    assert seen.samples is not None
    assert seen.samples.over_time
    assert seen.samples.targets.shape[1:] == (50, 2)
    plots = trace_plots(seen)
    assert [plot.key for plot in plots] == ["trace0", "trace1", "trace2"]
    assert {"trace0", "trace1", "trace2"} <= set(figures(pattern))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("answers") / "digits"
    tables = {"encoder": {"steps": 3}, "network": {"hidden": [5]}, "training": {**FEW, "batch_size": 64}}
    fit(Experiment.from_recipe("digits", overrides=tables), folder, progress=False)
    write_report(folder)
    return folder


def test_receptive_fields_are_the_weights_as_images(digits: Path) -> None:
    _, network = load_network(digits, "last")
    fields = inspected(digits).fields
    wanted = network.layers["dense1"].weight.detach().reshape(5, 8, 8)
    assert list(fields) == ["dense1"]
    np.testing.assert_array_equal(fields["dense1"], wanted.numpy())
    assert "fields0" in figures(digits)
    mosaic = tiled(fields["dense1"])
    assert mosaic.shape == (17, 26)
    np.testing.assert_array_equal(mosaic[9:, 9:17], fields["dense1"][4])
    assert np.isnan(mosaic[9:, 17:]).all()


def test_only_images_have_receptive_fields(adding: Path) -> None:
    assert inspected(adding).fields == {}
    assert "fields0" not in figures(adding)
