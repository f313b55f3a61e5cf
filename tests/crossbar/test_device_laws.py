"""Laws of devices against values worked out from their equations, to the digits printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rheobase.crossbar.devices.base import Device
from rheobase.crossbar.devices.constant_step import ConstantStep
from rheobase.crossbar.devices.exponential import Exponential
from rheobase.crossbar.devices.exponential_step import ExponentialStep
from rheobase.crossbar.devices.library import device as named
from rheobase.crossbar.devices.linear_step import LinearStep
from rheobase.crossbar.devices.memtransistor import Memtransistor, gate_factor
from rheobase.crossbar.devices.neurosim import Neurosim, curvature
from rheobase.crossbar.devices.pcm import PCM, drift_exponent, programming_spread, relative_read_spread
from rheobase.crossbar.devices.power_step import PowerStep
from rheobase.crossbar.devices.soft_bounds import SoftBounds


def after(device: Device, start: float, pulses: list[int], *, up: bool) -> Tensor:
    """g after each number of pulses, from a nominal cell at `start`, without noise."""
    counts = torch.tensor(pulses)
    cells = device.place(
        device.fresh(counts.shape, dtype=torch.float64), torch.full((1,), start, dtype=torch.float64)
    )
    none = torch.zeros_like(counts)
    return device.conductance(device.pulse(cells, counts if up else none, none if up else counts))


def one_by_one(device: Device, start: float, pulses: int, *, up: bool) -> Tensor:
    one, none = torch.ones(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
    cells = device.place(
        device.fresh((1,), dtype=torch.float64), torch.full((1,), start, dtype=torch.float64)
    )
    for _ in range(pulses):
        cells = device.pulse(cells, one if up else none, none if up else one)
    return device.conductance(cells)


def near(got: Tensor, wanted: list[float], digits: float = 5e-10) -> None:
    torch.testing.assert_close(got, torch.tensor(wanted, dtype=got.dtype), atol=digits, rtol=0)


def test_exponential() -> None:
    device = Exponential()
    start = float(device.normalised(torch.tensor(0.5e-4, dtype=torch.float64)))
    up = device.siemens(after(device, start, [1, 10, 100], up=True)) * 1e4
    down = device.siemens(after(device, start, [1, 10, 100], up=False)) * 1e4
    near(up, [0.502231636, 0.521669150, 0.671179533])
    near(down, [0.498884517, 0.489009952, 0.403658590])


def test_amplitudes_fall_over_training() -> None:
    device = Exponential(fall=0.5, fall_writes=4)
    cells = device.fresh((1,), dtype=torch.float64)
    one = torch.ones(1)
    steps = []
    for _ in range(6):
        moved = device.pulse(device.place(cells, torch.zeros(1)), one, 0 * one)
        steps.append(float(moved["g"]) / (0.01 / 0.9999))
        cells = moved
    assert steps == pytest.approx([1, 0.875, 0.75, 0.625, 0.5, 0.5])


def test_memtransistor() -> None:
    near(after(Memtransistor(), 0, [1, 2, 5, 10], up=True), [0.2248, 0.383926, 0.699247, 1], 5e-7)
    near(after(Memtransistor(), 1, [1, 2, 5, 10], up=False), [0.1302, 0.097214, 0.018298, 0], 5e-7)


def test_neurosim() -> None:
    device = Neurosim.preset("ag-a-si")
    assert device.g_min == pytest.approx(3.0769e-9, rel=1e-5)
    assert device.g_max == pytest.approx(3.8462e-8, rel=1e-5)
    got = device.siemens(after(device, 0, [1, 24, 48], up=True))
    wanted = torch.tensor([3.912950e-9, 1.906254e-8, 2.880069e-8], dtype=torch.float64)
    # The references were computed with A from the table, of four digits: .4992.
    torch.testing.assert_close(got, wanted, rtol=2e-5, atol=0)


@pytest.mark.parametrize(
    ("label", "a"),
    [(0.01, 126.268958), (0.05, 25.253264), (1.0, 1.251653), (2.40, 0.499181), (4.88, 0.200303)],
)
def test_labels_of_nonlinearity(label: float, a: float) -> None:
    assert 1 / curvature(label) == pytest.approx(a, rel=2e-5)
    assert curvature(-label) == -curvature(label)


def test_neurosim_goes_all_the_way_and_back() -> None:
    for name in Neurosim.presets:
        device = Neurosim.preset(name)
        near(after(device, 0, [device.pulses_up], up=True), [1.0])
        near(after(device, 1, [device.pulses_down], up=False), [0.0])


def test_a_negative_label_of_depression_is_steep_at_its_start() -> None:
    steep, slow = Neurosim(label_down=-3.0), Neurosim(label_down=3.0)
    assert float(after(steep, 1, [20], up=False)) < 0.5 < float(after(slow, 1, [20], up=False))


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize(
    "device",
    [ConstantStep(), LinearStep(slope_up=0.3, slope_down=0.9), SoftBounds.preset("reram-sb"), Neurosim()],
    ids=lambda d: type(d).__name__,
)
def test_solutions_for_many_pulses_are_those_of_pulse_after_pulse(device: Device, up: bool) -> None:
    many = after(device, 0.4, [37], up=up)
    torch.testing.assert_close(many, one_by_one(device, 0.4, 37, up=up), rtol=0, atol=1e-12)


#: dw of one pulse up and one down at weight w, by the formulas of aihwkit's documentation.
PUBLISHED = [
    (ConstantStep.preset("idealized"), 0.3, 2e-4, -2e-4),
    (ConstantStep.preset("gokmen-vlasov"), -0.7, 1.6e-3, -1.6e-3),
    (LinearStep.preset("capacitor"), 0.5, 0.005 * (1 - 0.05 * 0.5), -0.005 * (1 + 0.05 * 0.5)),
    (
        LinearStep.preset("ecram"),
        0.4,
        0.002 * (1 - 0.1153 * 0.4 / 1.1724),
        -0.002 * (1 + 0.5085 * 0.4 / 0.8276),
    ),
    (
        LinearStep.preset("ecram-mo"),
        -0.4,
        2.8214e-4 * (1 + 0.4152 * 0.4 / 1.1714),
        -2.8214e-4 * (1 - 0.7342 * 0.4 / 0.8286),
    ),
    (SoftBounds.preset("reram-sb"), 0.25, 0.002 * (1 - 0.25 / 1.25), -0.002 * (1 + 0.25 / 0.75)),
    (SoftBounds.preset("reram-array-om"), 0.2, 0.0949 * 0.8, -0.0949 * 1.2),
    (SoftBounds.preset("reram-array-hfo2"), -0.2, 0.4622 * 1.2, -0.4622 * 0.8),
    (
        ExponentialStep.preset("reram-es"),
        0.5,
        # z = -.5 * .5 - .5 = -.75; up: 1 + 1.18445 e^-3.75; down: (1 - up_down) (1 + .081404 e^3.75)
        0.00135 * (1 + 1.18445 * 0.0235177459),
        -0.00135 * (1 - 0.259359) * (1 + 0.081404 * 42.5210820),
    ),
]


@pytest.mark.parametrize(("device", "w", "up", "down"), PUBLISHED)
def test_mean_response_of_published_presets(device: Device, w: float, up: float, down: float) -> None:
    bounds = {"ecram": (-0.8276, 1.1724), "mo": (-0.8286, 1.1714), "sb": (-0.75, 1.25)}
    kind = {0.1153: "ecram", 0.4152: "mo"}.get(getattr(device, "slope_up", 0.0))
    kind = "sb" if device == SoftBounds.preset("reram-sb") else kind
    low, high = bounds.get(kind or "", (-1, 1))
    g = (w - low) / (high - low)
    device = device.replace(lifetime=None)
    assert float(after(device, g, [1], up=True)) - g == pytest.approx(up / (high - low), rel=1e-6)
    assert float(after(device, g, [1], up=False)) - g == pytest.approx(down / (high - low), rel=1e-6)


def test_mean_response_of_the_published_pcm() -> None:
    # aihwkit's PCMPresetDevice: w from 0 to 2, dw = .01 (1 + 27.235 e^(2.5 z)), z = -2 w / 2.
    w = 0.6
    dw = 0.01 * (1 + 27.235 * 0.2231301601)  # e^(-1.5)
    assert float(after(PCM(), w / 2, [1], up=True)) - w / 2 == pytest.approx(dw / 2, rel=1e-7)


def test_power_step() -> None:
    device = PowerStep(step_up=0.1, step_down=0.2, gamma_up=2.0, gamma_down=0.5)
    near(after(device, 0.5, [1], up=True), [0.5 + 0.1 * 0.25])
    near(after(device, 0.25, [1], up=False), [0.25 - 0.2 * 0.5])


def test_statistics_of_pcm() -> None:
    g = torch.tensor([0.1, 0.5, 1.0], dtype=torch.float64)
    near(programming_spread(g) * 25, [0.448, 0.953, 1.055], 5e-4)
    near(drift_exponent(g)[0], [0.0601, 0.049, 0.049], 5e-5)
    near(relative_read_spread(g, torch.tensor(86400.0)), [0.2, 0.0702, 0.0448], 5e-5)


def test_drift_of_pcm_without_noise() -> None:
    device = PCM()
    cells = device.place(device.fresh((1,), dtype=torch.float64), torch.tensor([0.5]))
    near(device.conductance(device.drift(cells, 86400.0)), [0.5 * ((86400 + 20) / 20) ** -0.049], 1e-12)
    later = device.drift(device.drift(cells, 1000.0), 85400.0)
    near(device.conductance(later), [0.5 * ((86400 + 20) / 20) ** -0.049], 1e-12)
    # A pulse starts from what has drifted, and the clock anew; the cell beside it goes on.
    two = device.place(device.fresh((2,), dtype=torch.float64), torch.tensor([0.5, 0.5]))
    two = device.drift(two, 86400.0)
    pulsed = device.pulse(two, torch.tensor([1, 0]), torch.tensor([0, 0]))
    assert pulsed["age"].tolist() == [0, 86400]
    before = device.conductance(two)
    near(pulsed["g"][:1], [float(before[0] + device.increase(before[:1], two))], 1e-12)
    near(device.conductance(pulsed)[1:], [float(before[1])], 1e-12)


def test_gate_window_scales_what_is_read() -> None:
    ratio = (8 * (300 / 8) ** 0.5 - 1) / 299  # at 0 V
    assert float(gate_factor(torch.tensor(0.0, dtype=torch.float64))) == pytest.approx(ratio)
    device = Memtransistor(gate_volts=0.0)
    cells = device.fresh((2, 3), dtype=torch.float64)
    up = torch.ones(2, 3)
    pulsed = device.pulse(cells, up, 0 * up)
    near(device.conductance(pulsed)[0], [0.2248 * ratio] * 3)
    near(device.read(device.place(cells, torch.full((2, 3), 0.1, dtype=torch.float64)))[1], [0.1] * 3)
    # On/off ratios of 300 and 8 at +50 and -50 V, in siemens.
    on = Memtransistor(g_min=1e-8, g_max=300e-8)
    full = on.place(on.fresh((2,), dtype=torch.float64), torch.ones(2))
    gates = {**full, "gate": torch.tensor([50.0, -50.0], dtype=torch.float64)}
    near(on.siemens(on.conductance(gates)) / on.g_min, [300, 8], 1e-9)


@pytest.mark.parametrize(
    ("per", "shape"), [("array", ()), ("row", (3,)), ("column", (4, 1)), ("cell", (2, 4, 3))]
)
def test_gate_is_a_tensor_of_any_extent(per: str, shape: tuple[int, ...]) -> None:
    device = Memtransistor(gate_law="step", gate_per=per)  # type: ignore[arg-type]
    cells = device.fresh((2, 4, 3), dtype=torch.float64)
    assert tuple(cells["gate"].shape) == shape
    gate = torch.linspace(-50, 50, max(1, cells["gate"].numel()), dtype=torch.float64).reshape(shape)
    up = torch.ones(2, 4, 3)
    moved = device.pulse({**cells, "gate": gate}, up, 0 * up)["g"]
    torch.testing.assert_close(moved, (0.2248 * gate_factor(gate)).expand(2, 4, 3))


@pytest.mark.parametrize("law", ["window", "step"])
def test_gate_is_differentiable(law: str) -> None:
    device = Memtransistor(gate_law=law)  # type: ignore[arg-type]
    cells = device.place(device.fresh((2, 3), dtype=torch.float64), torch.full((2, 3), 0.3))
    up, none = torch.tensor([[1, 2, 0], [0, 3, 1]]), torch.zeros(2, 3, dtype=torch.int64)

    def read(gate: Tensor) -> Tensor:
        return device.conductance(device.pulse({**cells, "gate": gate}, up, none))

    gate = torch.linspace(-20, 30, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(read, (gate,))


ORACLE = json.loads((Path(__file__).parent / "aihwkit_responses.json").read_text())


@pytest.mark.parametrize("name", ORACLE["presets"])
def test_mean_response_is_that_of_aihwkit_itself(name: str) -> None:
    """Weights after pulses in aihwkit (float32), from w = 0: up to 200 up, and after these up to 200 down."""
    measured, pulses = ORACLE["presets"][name], ORACLE["pulses"]
    low, high = measured["w_min"], measured["w_max"]
    device = named(name).replace(lifetime=None)
    up = after(device, -low / (high - low), pulses, up=True)
    near(low + up * (high - low), measured["up"], 2e-5)
    if measured["down"]:
        down = after(device, float(up[-1]), pulses, up=False)
        near(low + down * (high - low), measured["down"], 4e-5)
