"""Figures of crossbars: units with prefixes, and ticks that are numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from rheobase.report.crossbars import costs_note, crossbar_plots

LAYER = {"read_energy": 2.5e-10, "write_energy": 3e-9}


def test_units_have_prefixes_and_ticks_are_numbers(tmp_path: Path) -> None:
    edges = np.arange(6.0)
    arrays = {
        "curve/up": np.linspace(0, 1, 20),
        "curve/down": np.linspace(1, 0, 20),
        "map/dense": np.linspace(1e-6, 3e-6, 12).reshape(3, 4),
        "counts0/dense": np.ones(5),
        "counts/dense": np.ones(5),
        "edges/dense": edges,
        "pulses/dense": np.array([1e5, 1e3, 10.0, 2.0, 0.0]),
        "pulse_edges/dense": edges,
    }
    save_file(arrays, tmp_path / "crossbars.safetensors")
    plots = {plot.key: plot.svg for plot in crossbar_plots(tmp_path, {"layers": {"dense": LAYER}})}
    assert set(plots) == {"device-curve", "energy", "map-dense", "conductance-dense", "pulses-dense"}
    assert not [key for key, svg in plots.items() if "mathdefault" in svg]
    assert ">100000<" in plots["pulses-dense"]
    assert ">µS<" in plots["map-dense"]
    assert ">pJ<" in plots["energy"]
    assert ">nJ<" in plots["energy"]


def test_costs_in_a_sentence() -> None:
    total = {"cells": 200, "reads": 50, "read_energy": 1.2e-10, "read_seconds": 5e-7}
    total |= {
        "pulses_up": 60,
        "pulses_down": 40,
        "most_pulses": 3,
        "write_energy": 2e-9,
        "write_seconds": 2e-3,
    }
    note = costs_note({"total": total | {"training_read_energy": 0.0}})
    assert "120 pJ and 500 ns in the cells; training took 100 pulses (0.5 per device, at most 3)" in note
    assert "2 nJ and 2 ms of writing row by row, and about 0 J of reading" in note
    assert costs_note(None) == ""
