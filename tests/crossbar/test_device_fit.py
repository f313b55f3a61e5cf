"""Fits of laws to measured curves, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rheobase.cli.main import main
from rheobase.crossbar.devices.base import Device
from rheobase.crossbar.devices.constant_step import ConstantStep
from rheobase.crossbar.devices.library import device as named
from rheobase.crossbar.devices.linear_step import LinearStep
from rheobase.crossbar.devices.memtransistor import Memtransistor
from rheobase.crossbar.devices.neurosim import Neurosim
from rheobase.crossbar.devices.power_step import PowerStep
from rheobase.crossbar.fitting.curve import Branch, Curve, read_curve
from rheobase.crossbar.fitting.fit import fit, simulate

RANGE = {"g_min": 1e-7, "g_max": 5e-6}


def measured(device: Device, pulses: int, noise: float = 0.0) -> Curve:
    """What a measurement of a nominal cell finds, up from g = 0 and down from g = 1."""
    rng, n = np.random.default_rng(0), np.arange(pulses + 1.0)
    branches = []
    for up in (True, False):
        g = simulate(device, 0.0 if up else 1.0, n, up=up) + noise * rng.normal(size=len(n))
        branches.append(Branch(n, device.g_min + g * (device.g_max - device.g_min)))
    return Curve(*branches)


@pytest.mark.parametrize(
    ("device", "pulses"),
    [
        (Memtransistor(a_up=0.1, b_up=2.0, a_down=0.3, b_down=3.0, **RANGE), 12),
        (LinearStep(step_up=0.03, step_down=0.04, slope_up=0.4, slope_down=0.7, **RANGE), 15),
        (PowerStep(step_up=0.1, step_down=0.05, gamma_up=1.5, gamma_down=0.8, **RANGE), 12),
        (ConstantStep(step_up=0.02, step_down=0.03, **RANGE), 10),
        (Neurosim(pulses_up=20, pulses_down=20, label_up=2.4, label_down=-4.88, **RANGE), 20),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, Device) else None,
)
def test_fits_find_the_parameters_that_made_the_curve(device: Device, pulses: int) -> None:
    found = fit(type(device), measured(device, pulses), **RANGE)
    assert found.rmse == pytest.approx((0, 0), abs=1e-5)
    for estimate in found.estimates:
        assert estimate.value == pytest.approx(getattr(device, estimate.name), rel=2e-3), estimate.name
        assert getattr(found.device, estimate.name) == estimate.value


def test_standard_errors_are_of_the_size_of_the_errors() -> None:
    device = Memtransistor(**RANGE)
    found = fit(Memtransistor, measured(device, 10, noise=0.01), **RANGE)
    assert [e.name for e in found.estimates] == ["a_up", "b_up", "a_down", "b_down"]
    off = [(e.value - getattr(device, e.name)) / e.error for e in found.estimates]
    assert max(abs(z) for z in off) < 3
    assert all(0 < e.error < 0.3 * abs(e.value) for e in found.estimates)
    assert found.rmse[0] == pytest.approx(0.01, rel=0.6)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_curves_without_directions_turn_at_their_top(tmp_path: Path) -> None:
    text = "# a comment\nPulse number, Conductance [nS]\n0,1\n1,3\n2,5\n3,4\n4,2\n"
    curve = read_curve(write(tmp_path / "c.csv", text))
    assert curve.up is not None
    assert curve.down is not None
    np.testing.assert_allclose(curve.up.siemens, [1e-9, 3e-9, 5e-9])
    np.testing.assert_allclose(curve.down.pulses, [0, 1, 2])
    np.testing.assert_allclose(curve.down.siemens, [5e-9, 4e-9, 2e-9])


GOOD = "pulse,conductance (uS),direction\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "c.csv: got an empty file"),
        (GOOD, r"c\.csv:1: got a header only"),
        ("pulse,current\n0,1\n", r"c\.csv:1: got the columns pulse, current, wanted a column 'conductance'"),
        ("n,conductance (uS)\n0,1\n", "wanted a column 'pulse'"),
        ("pulse,conductance\n0,1\n", "got conductances without a unit, wanted one of S, mS, uS, nS, pS"),
        ("pulse,conductance (ohm)\n0,1\n", "got conductances in 'ohm', wanted one of S"),
        (GOOD + "0,1,up\n1,nan,up\n2,3,up\n", r"c\.csv:3: got the conductance nan, wanted a finite number"),
        (GOOD + "0,1,up\n1,x,up\n2,3,up\n", r"c\.csv:3: got the conductance 'x', wanted a number"),
        (GOOD + "0,1,up\n1,2\n", r"c\.csv:3: got 2 values, wanted 3"),
        (GOOD + "0,1,up\n1,-2,up\n2,3,up\n", r"c\.csv:3: got the conductance -2e-06 S, wanted at least 0"),
        (GOOD + "0,1,up\n1,2,left\n2,3,up\n", r"c\.csv:3: got the direction 'left', wanted up or down"),
        (GOOD + "0,1,up\n1,2,up\n", "got 2 measurements, wanted at least 3"),
        (GOOD + "0,1,up\n2,2,up\n1,3,up\n", r"c\.csv:4: got pulse 1 after 2, wanted numbers that increase"),
        (GOOD + "0,1,up\n1,5,up\n2,2,up\n3,6,up\n", r"c\.csv:4: .* 60 % of the range against potentiation"),
        (GOOD + "0,3,up\n1,3,up\n2,3,up\n", "everywhere, wanted g_min below g_max"),
    ],
)
def test_what_is_no_curve_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_curve(write(tmp_path / "c.csv", text))


def test_ranges_and_laws_that_cannot_be_fitted_are_refused() -> None:
    curve = measured(ConstantStep(**RANGE), 5)
    with pytest.raises(ValueError, match="got g_min 1e-05 S and g_max 1e-06 S, wanted g_min below g_max"):
        fit(ConstantStep, curve, 1e-5, 1e-6)


def test_the_command_line_fits_draws_and_names_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    curve = measured(Memtransistor(**RANGE), 6)
    rows = [
        f"{n:g},{g * 1e6:.8g},{word}"
        for word, b in (("up", curve.up), ("down", curve.down))
        for n, g in zip(b.pulses, b.siemens, strict=True)  # type: ignore[union-attr]
    ]
    path = write(tmp_path / "device.csv", GOOD + "\n".join(rows))
    limits = ["--g-min", "1e-7", "--g-max", "5e-6"]
    assert main(["devices", "fit", str(path), "--law", "memtransistor", *limits]) == 0
    shown = capsys.readouterr().out
    assert "a_up" in shown
    assert "0.2248" in shown
    fitted = named(str(tmp_path / "device.toml"))
    assert isinstance(fitted, Memtransistor)
    assert fitted.b_down == pytest.approx(3.762, rel=1e-3)
    assert (tmp_path / "device.svg").stat().st_size > 5000
    figure = tmp_path / "laws.svg"
    assert main(["devices", "plot", str(tmp_path / "device.toml"), "pcm", "--out", str(figure)]) == 0
    assert "pulses up" in figure.read_text()
    assert main(["devices", "list"]) == 0
    assert "gokmen-vlasov" in capsys.readouterr().out
    assert main(["devices", "plot", "pmc"]) == 2
    assert "did you mean 'pcm'?" in capsys.readouterr().err
    assert main(["devices", "fit", str(write(tmp_path / "bad.csv", GOOD))]) == 1
    assert "bad.csv:1: got a header only" in capsys.readouterr().err
