"""Arrays under the weights of connections: exact where nothing is lost, and gradients through what is."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from rheobase.crossbar.array import array_of, arrays, place
from rheobase.crossbar.circuit import Tiles, layout, pieces
from rheobase.crossbar.devices.constant_step import ConstantStep
from rheobase.crossbar.devices.memtransistor import Memtransistor
from rheobase.crossbar.mapping import DifferentialPair, Offset, OneSigned, ReferenceColumn, WeightMapping
from rheobase.crossbar.programming.accumulate import Accumulate, _factor
from rheobase.crossbar.wires import Wires, transfer
from rheobase.layers.delayed import Delayed
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.layers.noise import renew_noise
from rheobase.layers.recurrent import Recurrent
from rheobase.neurons.leaky_integrator import LeakyIntegrator

IDEAL = ConstantStep(c2c=0.0)
KINDS: dict[str, Callable[[], nn.Module]] = {
    "dense": lambda: Dense(6, 5, signs=torch.tensor([1, -1] * 3)),
    "sparse": lambda: Dense(6, 5, density=0.5),
    "delayed": lambda: Delayed(6, 5, delays=(0.0, 3.0)),
    "recurrent": lambda: Recurrent(LeakyIntegrator(), 6, delays=(1.0, 4.0), signs=0.5, backend="torch"),
}
MAPPINGS = [DifferentialPair(), DifferentialPair(rest="low"), Offset(), ReferenceColumn()]


def make(kind: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return KINDS[kind]()


def run(layer: nn.Module) -> Tensor:
    x = torch.rand(8, 2, 6, generator=torch.Generator().manual_seed(1))
    result = layer(x)
    return result if isinstance(result, Tensor) else result.output


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("mapping", MAPPINGS, ids=lambda m: type(m).__name__)
def test_an_ideal_crossbar_is_the_layer_itself(kind: str, mapping: WeightMapping) -> None:
    """Bit for bit, forward and backward: beside a layer that has the weights which the cells store."""
    layer = make(kind)
    plain = copy.deepcopy(layer)
    placed = place(layer, IDEAL, mapping, generator=None, reach=1.5)
    torch.testing.assert_close(placed.parameter, original(plain), rtol=0, atol=1e-6)
    with torch.no_grad():
        original(plain).copy_(placed.array.stored().view_as(placed.parameter))
    expected, found = run(plain), run(layer)
    assert torch.equal(found, expected)
    expected.square().sum().backward()
    found.square().sum().backward()
    assert torch.equal(placed.parameter.grad, original(plain).grad)


def original(layer: nn.Module) -> nn.Parameter:
    return next(p for name, p in layer.named_parameters() if name.endswith(("original", "weight")))


def test_dales_law_takes_half_the_cells() -> None:
    layer = make("dense")
    before = layer.weight.detach().clone()
    placed = place(layer, IDEAL, OneSigned(), generator=None)
    assert tuple(placed.array.cells["g"].shape) == (1, 5, 6)
    torch.testing.assert_close(layer.weight, before)


def test_a_changed_parameter_acts_by_the_difference() -> None:
    """As a rule needs it that tries out perturbed weights; also beside read noise and wires."""
    tiles = Tiles(Wires(0.0, 0.0), 4, 4)
    for circuit in (None, tiles):
        layer = make("dense")
        placed = place(layer, IDEAL, DifferentialPair(), generator=None, reach=2.0, circuit=circuit)
        before = layer.weight.detach().clone()
        with torch.no_grad():
            placed.parameter[0, 0] += 0.01
        torch.testing.assert_close(float((layer.weight - before)[0, 0].detach()), 0.01, atol=1e-6, rtol=0)


def test_pulses_are_written_counted_and_paid() -> None:
    layer = make("dense")
    device = ConstantStep(step_up=0.01, step_down=0.02, c2c=0.0)
    placed = place(layer, device, DifferentialPair(), generator=None, reach=2.0)
    g = placed.array.cells["g"].clone()
    up = torch.zeros(2, 5, 6, dtype=torch.int32)
    up[0, 1, 2] = 3
    placed.array.pulse(up, up.flip(0), None)
    placed.sync()
    change = placed.array.cells["g"] - g
    assert float(change[0, 1, 2]) == pytest.approx(0.03, rel=1e-5)
    assert float(change[1, 1, 2]) == pytest.approx(-0.06, rel=1e-5)
    assert placed.array.pulses.sum((1, 2, 3)).tolist() == [3, 3]
    middle = device.siemens(g[:, 1, 2] + change[:, 1, 2] / 2)
    wanted = 3 * float(middle[0]) * device.up_volts**2 * device.up_seconds
    wanted += 3 * float(middle[1]) * device.down_volts**2 * device.down_seconds
    assert float(placed.array.energy) == pytest.approx(wanted, rel=1e-5)
    assert torch.equal(layer.weight, placed.array.stored())


def test_read_noise_is_frozen_until_the_key_changes() -> None:
    net = Network(dense=make("dense"))
    place(net.layers["dense"], ConstantStep(read_noise=0.1), DifferentialPair(), generator=None)
    one, same = run(net.layers["dense"]), run(net.layers["dense"])
    assert torch.equal(one, same)
    renew_noise(net, torch.Generator().manual_seed(5))
    assert not torch.equal(run(net.layers["dense"]), one)


def test_missing_connections_have_no_cells() -> None:
    layer = make("sparse")
    placed = place(layer, IDEAL, ReferenceColumn(), generator=None)
    present = placed.array.present
    assert present is not None
    assert tuple(present.shape) == (1, 6, 6)
    assert torch.equal(present[0, :5], placed.array.mask)
    assert torch.equal(layer.weight != 0, placed.array.mask)
    assert float(placed.array.spread(torch.ones(5, 6))[0, :5][~placed.array.mask].abs().sum()) == 0.0


def test_tiles_are_networks_of_their_own() -> None:
    cells = 1e-3 * torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wires = Wires(1.0, 2.0)
    found = layout(Tiles(wires, 3, 4)(cells))
    array = layout(cells)
    assert [pieces(5, 3), pieces(6, 4)] == [[3, 2], [3, 3]]
    torch.testing.assert_close(found[:3, 3:], transfer(array[:3, 3:], wires))
    torch.testing.assert_close(found[3:, :3], transfer(array[3:, :3], wires))
    assert torch.equal(Tiles(Wires(), 3, 4)(cells), cells)


def test_gradients_go_through_the_wires() -> None:
    """The parameter's gradient against finite differences of the whole layer, in double precision."""
    layer = make("dense").double()
    device = ConstantStep(g_min=1e-4, g_max=1e-2)
    tiles = Tiles(Wires(2.0, 3.0), 4, 6)
    placed = place(layer, device, DifferentialPair(), generator=None, circuit=tiles, reach=2.0)
    x = torch.rand(1, 3, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    layer(x).square().sum().backward()
    step = 1e-6
    for place_ in ((0, 0), (4, 5), (2, 3)):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                placed.parameter[place_] += sign * step
                values.append(float(layer(x).square().sum()))
                placed.parameter[place_] -= sign * step
        assert float(placed.parameter.grad[place_]) == pytest.approx(
            (values[0] - values[1]) / (2 * step), rel=1e-6, abs=1e-9
        )


def test_too_large_tiles_and_bad_wires_are_refused() -> None:
    with pytest.raises(ValueError, match="tile: got 2048 rows and 8 columns, wanted 1 to 512 of each"):
        Tiles(Wires(), 2048, 8)
    with pytest.raises(ValueError, match="r_bit: got -2 ohm"):
        Tiles(Wires(1, -2), 8, 8)
    layer = make("dense")
    place(layer, IDEAL, DifferentialPair(), generator=None)
    with pytest.raises(ValueError, match="no weight that could be put on an array"):
        place(layer, IDEAL, DifferentialPair(), generator=None)


def test_arrays_are_found_by_layer_and_saved() -> None:
    net = Network(dense=make("dense"), hidden=make("recurrent"))
    with pytest.raises(AssertionError):
        assert arrays(net)
    for layer in net.layers.values():
        place(layer, IDEAL, DifferentialPair(), generator=torch.Generator().manual_seed(0))
    assert list(arrays(net)) == ["layers.dense", "layers.hidden"]
    state = net.state_dict()
    assert "layers.dense.parametrizations.weight.1.cell_g" in state
    other = Network(dense=make("dense"), hidden=make("recurrent"))
    for layer in other.layers.values():
        place(layer, IDEAL, DifferentialPair(), generator=torch.Generator().manual_seed(1), reach=3.0)
    other.load_state_dict(state)
    assert torch.equal(other.layers["dense"].weight, net.layers["dense"].weight)
    array = array_of(other.layers["hidden"])
    assert array is not None
    assert torch.equal(array.stored(), net.layers["hidden"].weight)


@pytest.mark.parametrize(
    "mapping", [DifferentialPair(), Offset(), OneSigned()], ids=lambda m: type(m).__name__
)
def test_few_pulses_are_those_of_the_whole_array(mapping: WeightMapping) -> None:
    """What is accumulated is written alike, cell by cell where it is worth a pulse, or all cells at once."""
    results = []
    for few in (True, False):
        layer = make("dense")
        placed = place(layer, Memtransistor(), mapping, generator=None, reach=2.0)
        scheme, total = Accumulate(), 0.1 * torch.randn(5, 6, generator=torch.Generator().manual_seed(2))
        for turn in (1, 2):
            if few:
                factor = _factor(placed.array, turn)
                assert factor is not None
                scheme._write_few(placed.array, total, *factor, torch.Generator())
            else:
                scheme._write_all(placed.array, total, turn, torch.Generator())
        assert int(placed.array.pulses.sum()) > 0
        results.append((total, placed.array.pulses, placed.array.cells["g"], placed.array.energy))
    torch.testing.assert_close(results[0], results[1])
