"""Output spikes beside target spikes in the report of a run on spike trains, kept in bytes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from rheobase.report import write_report
from rheobase.report.inspection import read_inspection
from rheobase.report.rasters import are_trains, raster_plots
from rheobase.report.run import read_run
from rheobase.training.experiment import Experiment
from rheobase.training.fit import fit


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    task = {"pattern": "generated", "duration": 60.0, "window": 30.0, "target_times": [20.0, 40.0]}
    training = {"steps": 2, "epochs": 1}
    experiment = Experiment.from_recipe("spike_pattern", overrides={"task": task, "training": training})
    folder = tmp_path_factory.mktemp("runs") / "run"
    fit(experiment, folder, progress=False)
    return folder


def test_rasters_stand_in_for_lines(folder: Path) -> None:
    run = read_run(folder)
    assert run.inspection is not None
    assert run.inspection.samples is not None
    assert are_trains(run.inspection.samples)
    (plot,) = raster_plots(run.inspection)
    assert "1 output neurons" in plot.alt
    assert "2 target spikes on the left" in plot.alt  # of the pass that counts, not of both
    page = write_report(folder).read_text()
    assert "target and output" in page
    assert "Every spike of the output neurons" in page
    assert not re.search(r"trace0", page)


def test_trains_are_kept_in_bytes_and_read_as_numbers(folder: Path) -> None:
    arrays = load_file(folder / "inspection.safetensors")
    assert arrays["trains/targets"].dtype == np.uint8
    assert "targets" not in arrays
    assert arrays["signal/readout.v"].dtype == np.float32
    run = read_run(folder)
    assert run.inspection is not None
    samples = run.inspection.samples
    assert samples is not None
    assert samples.targets.dtype == np.float32
    assert samples.targets.sum() == 4
    assert "spikes" in samples.signals["readout"]
    assert read_inspection(folder, None) is None
