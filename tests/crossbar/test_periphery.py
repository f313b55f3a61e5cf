"""Converters: levels, straight-through gradients, sums tile by tile, and where there is no place for them."""

from __future__ import annotations

import pytest
import torch

from rheobase.crossbar.devices.constant_step import ConstantStep
from rheobase.crossbar.periphery import quantise
from rheobase.crossbar.substrate import Crossbar
from rheobase.kernels.constant import Constant
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.layers.recurrent import Recurrent
from rheobase.neurons.leaky_integrator import LeakyIntegrator

GENERATOR = torch.Generator


def network() -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network(dense=Dense(10, 4))


def test_levels_and_range() -> None:
    x = torch.linspace(-2.0, 2.0, 401)
    levels = quantise(x, 3, 1.0, signed=True).unique()
    torch.testing.assert_close(levels, torch.tensor([-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0]) / 3)
    assert len(quantise(x, 3, 1.0, signed=False).unique()) == 8
    spikes = torch.tensor([0.0, 1.0])
    assert torch.equal(quantise(spikes, 1, 1.0, signed=False), spikes)


def test_gradient_passes_straight_through_within_range() -> None:
    x = torch.tensor([-2.0, 0.3, 0.9, 2.0], requires_grad=True)
    quantise(x, 2, 1.0, signed=True).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 0.0]


def test_sums_are_converted_tile_by_tile() -> None:
    net, x = network(), torch.rand(3, 2, 10, generator=GENERATOR().manual_seed(1))
    Crossbar(device=ConstantStep(), adc_bits=4, adc_range=0.5, tile_rows=5).place(net, GENERATOR())
    dense = net.layers["dense"]
    array = dense.parametrizations.weight[0]
    scale = 0.5 * float(array.largest) * 5
    parts = [
        quantise(x[..., rows] @ dense.weight[:, rows].t(), 4, scale, signed=True)
        for rows in (slice(5), slice(5, 10))
    ]
    torch.testing.assert_close(dense(x), parts[0] + parts[1] + dense.bias)
    constant = dense(Constant(x[0], 3))
    assert isinstance(constant, Constant)
    torch.testing.assert_close(constant.value, dense(x)[0])


def test_many_bits_are_no_converter() -> None:
    net, x = network(), torch.rand(3, 2, 10, generator=GENERATOR().manual_seed(1))
    Crossbar(device=ConstantStep(), adc_bits=16, adc_range=1.0, dac_bits=16).place(net, GENERATOR())
    plain = network()
    torch.testing.assert_close(net.layers["dense"](x), plain.layers["dense"](x), atol=2e-3, rtol=0)


def test_sums_inside_a_recurrent_layer_are_refused() -> None:
    net = Network(dense=Dense(3, 4), hidden=Recurrent(LeakyIntegrator(), 4), out=Dense(4, 2))
    with pytest.raises(ValueError, match=r"adc_bits: got 8 with layer 'layers\.hidden'"):
        Crossbar(adc_bits=8).place(net, GENERATOR())
    net = Network(dense=Dense(3, 4), hidden=Recurrent(LeakyIntegrator(), 4), out=Dense(4, 2))
    placed = Crossbar(adc_bits=8, layers=("dense", "out")).place(net, GENERATOR())
    assert list(placed) == ["layers.dense", "layers.out"]
