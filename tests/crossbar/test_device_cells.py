"""What all devices share (variation, noise, bounds, stuck cells, retention, units), for every preset."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rheobase.crossbar.devices.base import Device
from rheobase.crossbar.devices.constant_step import ConstantStep
from rheobase.crossbar.devices.library import device as named
from rheobase.crossbar.devices.library import load_device, presets, save_device
from rheobase.crossbar.devices.memtransistor import Memtransistor
from rheobase.crossbar.devices.neurosim import Neurosim
from rheobase.crossbar.devices.pcm import PCM, programming_spread
from rheobase.registry import build, catalogue

EVERY = [*presets(), *catalogue(Device)]
N = 20_000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=6, deadline=None)
@given(start=st.floats(0, 1), up=st.integers(0, 40), down=st.integers(0, 40), noise=st.booleans())
def test_pulses_keep_bounds_and_direction(name: str, start: float, up: int, down: int, noise: bool) -> None:
    device = named(name).replace(lifetime=None)
    generator = seeded() if noise else None
    cells = device.place(device.fresh((5,), generator, torch.float64), torch.full((5,), start))
    before = device.conductance(cells)
    counts = torch.full((5,), up), torch.full((5,), 0)
    raised = device.pulse(cells, *counts, generator)
    low, high = (torch.as_tensor(bound) for bound in device.bounds(cells))
    inside = raised.get("hidden", raised["g"])
    assert bool(((inside >= low - 1e-12) & (inside <= high + 1e-12)).all())
    assert bool((raised["g"] >= device.unformed_g).all())
    if not noise:
        assert bool((device.conductance(raised) >= before - 1e-12).all())
        lowered = device.pulse(cells, counts[1], torch.full((5,), down))
        assert bool((device.conductance(lowered) <= before + 1e-12).all())
        assert bool((device.increase(before, cells) >= 0).all())
        assert bool((device.decrease(before, cells) >= 0).all())


@pytest.mark.parametrize("name", EVERY)
def test_cells_of_every_device(name: str) -> None:
    device = named(name)
    cells = device.fresh((3, 4), seeded())
    again = device.fresh((3, 4), seeded())
    assert all(torch.equal(cells[key], again[key]) for key in cells)
    up = torch.ones(3, 4)
    moved = device.pulse(cells, up, 0 * up, seeded(1))
    assert set(moved) == set(cells)
    assert all(moved[key].shape == cells[key].shape for key in cells)
    assert all(moved[key].dtype == cells[key].dtype for key in cells)
    assert torch.equal(again["g"], cells["g"])  # as it was
    same = device.pulse(cells, up, 0 * up, seeded(1))
    assert all(torch.equal(moved[key], same[key]) for key in moved)
    g = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    torch.testing.assert_close(device.normalised(device.siemens(g)), g)
    assert build(Device, device.to_dict()) == device
    rises, falls = device.typical_steps()
    assert 0 < rises <= 1
    assert 0 < falls <= 1


def test_moments_of_variation_and_noise() -> None:
    device = ConstantStep(step_up=0.01, step_d2d=0.2, asymmetry_d2d=0.1, high_d2d=0.05, c2c=0.5)
    cells = device.fresh((N,), seeded())
    assert float(cells["gain_up"].mean()) == pytest.approx(1, abs=0.006)
    assert float(cells["gain_up"].std()) == pytest.approx((0.2**2 + 0.1**2) ** 0.5, rel=0.02)
    assert float((cells["gain_up"] - cells["gain_down"]).std()) == pytest.approx(0.2, rel=0.02)
    assert float(cells["high"].std()) == pytest.approx(0.05, rel=0.02)
    quiet = device.replace(step_d2d=0.0, asymmetry_d2d=0.0, high_d2d=0.0)
    start = quiet.place(quiet.fresh((N,)), torch.full((N,), 0.5))
    four = torch.full((N,), 4)
    moved = quiet.pulse(start, four, 0 * four, seeded())["g"] - 0.5
    assert float(moved.mean()) == pytest.approx(0.04, rel=0.01)
    assert float(moved.std()) == pytest.approx(0.5 * 0.01 * 2, rel=0.02)


def test_lognormal_spread_of_steps() -> None:
    cells = ConstantStep(step_d2d=0.5, step_d2d_lognormal=True).fresh((N,), seeded())
    assert float(cells["gain_up"].log().std()) == pytest.approx(0.5, rel=0.02)


def test_cycle_noise_of_neurosim_grows_with_the_root_of_pulses() -> None:
    device = Neurosim(c2c=0.01, label_up=0.0)
    start = device.place(device.fresh((N,)), torch.full((N,), 0.3))
    nine = torch.full((N,), 9)
    moved = device.pulse(start, nine, 0 * nine, seeded())["g"]
    assert float(moved.mean()) == pytest.approx(0.3 + 9 / 64, abs=1e-3)
    assert float(moved.std()) == pytest.approx(0.03, rel=0.02)


def test_write_noise_hides_the_state() -> None:
    device = ConstantStep(step_up=0.01, write_noise=0.05)
    cells = device.place(device.fresh((N,)), torch.full((N,), 0.5))
    up = torch.arange(N) % 2
    first = device.pulse(cells, up, 0 * up, seeded(1))
    second = device.pulse(first, up, 0 * up, seeded(2))
    moved, still = up == 1, up == 0
    torch.testing.assert_close(second["hidden"][moved], torch.full((N // 2,), 0.52))
    assert float((second["g"] - second["hidden"])[moved].std()) == pytest.approx(0.05, rel=0.03)
    assert torch.equal(second["g"][still], cells["g"][still])
    # Drawn anew, not added up.
    assert float((second["g"] - first["g"])[moved].std()) == pytest.approx(0.05 * 2**0.5, rel=0.03)


def test_stuck_cells() -> None:
    device = ConstantStep(stuck_low=0.1, stuck_high=0.05, unformed=0.02, g_min=1e-6, g_max=1e-5)
    cells = device.fresh((N,), seeded())
    up = torch.full((N,), 3)
    moved = device.place(device.pulse(cells, up, 0 * up, seeded()), torch.full((N,), 0.5))
    siemens = device.siemens(moved["g"])
    shares = [float(((siemens - level).abs() < 1e-9).float().mean()) for level in (1e-6, 1e-5, 0.0)]
    assert shares == pytest.approx([0.1, 0.05, 0.02], abs=0.006)
    assert float(cells["stuck"].float().mean()) == pytest.approx(0.17, abs=0.01)
    torch.testing.assert_close(moved["g"][~cells["stuck"]], torch.full((int((~cells["stuck"]).sum()),), 0.5))


def test_retention_and_leak() -> None:
    device = ConstantStep(retention=100.0, rest=0.2, lifetime=10.0)
    cells = device.place(device.fresh((1,), dtype=torch.float64), torch.tensor([1.0]))
    e = 2.718281828459045
    assert float(device.read(cells, time_s=100.0)) == pytest.approx(0.2 + 0.8 / e)
    assert float(device.drift(device.drift(cells, 40.0), 60.0)["g"]) == pytest.approx(0.2 + 0.8 / e)
    none = torch.zeros(1, dtype=torch.int64)
    assert float(device.pulse(cells, none, none)["g"]) == pytest.approx(0.2 + 0.8 * 0.9)


def test_read_noise_is_relative_to_the_conductance() -> None:
    device = Memtransistor(read_noise=0.1)
    cells = device.place(device.fresh((N,)), torch.full((N,), 0.4))
    siemens = device.siemens(device.read(cells, seeded()))
    assert float(siemens.std() / siemens.mean()) == pytest.approx(0.1, rel=0.02)
    assert torch.equal(device.read(cells), device.conductance(cells))


def test_sampled_statistics_of_pcm() -> None:
    device = PCM()
    for g in (0.2, 0.7):
        cells = device.program(device.fresh((N,), seeded(3)), torch.full((N,), g), seeded(4))
        assert float(cells["g"].std()) == pytest.approx(float(programming_spread(torch.tensor(g))), rel=0.03)
        assert float(cells["nu"].mean()) == pytest.approx(0.049, rel=0.03)
    read = device.read(device.place(device.fresh((N,)), torch.ones(N)), seeded(), 86400.0)
    assert float(read.std() / read.mean()) == pytest.approx(0.0448, rel=0.02)


def test_energy_of_pulses_and_reads() -> None:
    device = ConstantStep(
        g_min=1e-6, g_max=1e-5, up_volts=2.0, up_seconds=1e-6, down_volts=-1.0, down_seconds=2e-6
    )
    g, up, down = torch.tensor([1.0, 0.0]), torch.tensor([3, 0]), torch.tensor([0, 5])
    torch.testing.assert_close(
        device.pulse_energy(g, up, down), torch.tensor([1e-5 * 4 * 3e-6, 1e-6 * 1 * 1e-5])
    )
    torch.testing.assert_close(device.read_energy(g), torch.tensor([1e-5, 1e-6]) * 0.1**2 * 1e-8)


def test_what_makes_no_device_is_refused() -> None:
    with pytest.raises(ValueError, match="got g_min 1e-05 S and g_max 1e-06 S, wanted g_min below g_max"):
        ConstantStep(g_min=1e-5, g_max=1e-6)
    with pytest.raises(ValueError, match=r"come to 1\.2, wanted shares"):
        ConstantStep(stuck_low=0.7, unformed=0.5)
    with pytest.raises(ValueError, match=r"unknown device 'gokman-vlasov'; did you mean 'gokmen-vlasov'\?"):
        named("gokman-vlasov")


def test_preset_files(tmp_path: pytest.TempPathFactory) -> None:
    path = tmp_path / "mine.toml"  # type: ignore[operator]
    save_device(path, Neurosim.preset("epiram", c2c=0.03), "a test")
    assert named(str(path)) == Neurosim.preset("epiram", c2c=0.03)
    path.write_text("[device]\nname = 'constant-step'\nstep_op = 1")
    with pytest.raises(
        ValueError, match=r"mine\.toml: unknown option of constant_step 'step_op'; did you mean"
    ):
        load_device(path)
    path.write_text("step_up = 1")
    with pytest.raises(ValueError, match=r"mine\.toml: no table \[device\]"):
        load_device(path)
