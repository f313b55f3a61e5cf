"""Converters: levels, straight-through gradients, sums tile by tile and delay by delay."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rheobase.crossbar.array import array_of
from rheobase.crossbar.devices.constant_step import ConstantStep
from rheobase.crossbar.periphery import quantise
from rheobase.crossbar.substrate import Crossbar
from rheobase.kernels.constant import Constant
from rheobase.layers.delayed import Delayed
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.layers.neurons import Neurons
from rheobase.layers.over_time import OverTime
from rheobase.layers.recurrent import Recurrent
from rheobase.neurons.adaptive_lif import AdaptiveLIF
from rheobase.neurons.lif import LIF
from rheobase.rules.plastic_stage import why_not_online
from rheobase.rules.stages import Stage, stages
from rheobase.training.experiment import Experiment
from rheobase.training.fit import fit

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


def delayed_network(**options: Any) -> Network:
    torch.manual_seed(0)
    return Network(
        dense=Delayed(6, 6, delays=(0.0, 2.0)),
        hidden=Recurrent({"a": (LIF(), 4), "b": (AdaptiveLIF(), 2)}, delays=(1.0, 3.0), gain=3.0, **options),
        out=Dense(6, 2),
    )


def read(layer: nn.Module, x: torch.Tensor, weight: torch.Tensor, bits: int, rows: int) -> torch.Tensor:
    """One read, tile by tile."""
    largest = float(array_of(layer).largest)
    parts = zip(x.split(rows, -1), weight.split(rows, -1), strict=True)
    return sum(quantise(v @ w.t(), bits, 0.2 * largest * w.shape[1], signed=True) for v, w in parts)


def test_each_delay_is_a_read_of_its_own() -> None:
    net, x = delayed_network(), torch.rand(8, 3, 6, generator=GENERATOR().manual_seed(1))
    Crossbar(device=ConstantStep(), adc_bits=5, adc_range=0.2, tile_rows=3).place(net, GENERATOR())
    before, hidden = net.layers["dense"], net.layers["hidden"]
    delays = before.delays.steps
    seen = torch.cat([torch.zeros(2, 3, 6), x])
    wanted = sum(
        read(before, seen[2 - d : 10 - d], torch.where(delays == d, before.weight, 0.0), 5, 3)
        for d in range(3)
    )
    torch.testing.assert_close(before(x).output, wanted + before.bias)

    # The layer on the currents that arrive by those reads of its own past, and nothing else.
    current = 3.0 * torch.rand(8, 3, 6, generator=GENERATOR().manual_seed(2))
    spikes = hidden(current).output
    assert 0.05 < spikes.mean() < 0.95
    past = torch.cat([torch.zeros(3, 3, 6), spikes])
    arrived = sum(
        read(hidden, past[3 - d : 11 - d], torch.where(hidden.delays.steps == d, hidden.weight, 0.0), 5, 3)
        for d in (1, 2, 3)
    )
    silent = Recurrent({"a": (LIF(), 4), "b": (AdaptiveLIF(), 2)}, delays=(1.0, 3.0))
    nn.init.zeros_(silent.parametrizations.weight.original)
    assert torch.equal(silent(current + arrived).output, spikes)
    assert not torch.equal(silent(current).output, spikes)


def test_recurrent_layers_with_many_bits_are_no_converter_and_train() -> None:
    net, plain = delayed_network(), delayed_network()
    Crossbar(device=ConstantStep(), adc_bits=16, adc_range=1.0).place(net, GENERATOR())
    x = 4.0 * torch.rand(12, 3, 6, generator=GENERATOR().manual_seed(1))
    got, wanted = net(x), plain(x)
    torch.testing.assert_close(got.output, wanted.output, atol=5e-3, rtol=0)
    got.output.sum().backward()
    wanted.output.sum().backward()
    ours, theirs = (n.layers["hidden"].parametrizations.weight.original.grad for n in (net, plain))
    torch.testing.assert_close(ours, theirs, atol=1e-2, rtol=0.02)
    again = copy.deepcopy(net)
    assert torch.equal(again(x).output, got.output)


def test_kernels_know_no_converters() -> None:
    with pytest.raises(ValueError, match=r"got backend 'numba'.*wanted backend 'auto' or 'torch'"):
        Crossbar(adc_bits=8).place(delayed_network(backend="numba"), GENERATOR())
    net = Network(conv=OverTime(nn.Conv2d(1, 2, 3)))
    with pytest.raises(ValueError, match=r"adc_bits: got 8 with layer 'layers\.conv.*Conv2d"):
        Crossbar(adc_bits=8).place(net, GENERATOR())


@pytest.mark.parametrize("rule", ["bptt", "eprop", "open_es"])
def test_rules_train_through_converters(rule: str, tmp_path: Path) -> None:
    tables = {
        "task": {"order": "rows"},
        "rule": {"name": rule} | ({"population": 2} if rule == "open_es" else {}),
        "network": {"hidden": [8]},
        "substrate": {"name": "crossbar", "adc_bits": 8},
        "training": {"epochs": 1, "steps": 2, "batch_size": 4, "threads": 1},
    }
    experiment = Experiment.from_recipe("sequential-mnist", overrides=tables)
    summary = fit(experiment, tmp_path / "run", progress=False)
    assert summary.crossbar is not None


def test_weights_that_change_online_are_refused_converters() -> None:
    def first(*layers: str) -> Stage:
        net = Network(dense=Dense(3, 4), hidden=Recurrent(LIF(), 4), out=Dense(4, 2), readout=Neurons(LIF()))
        if layers:
            Crossbar(adc_bits=8, layers=layers).place(net, GENERATOR())
        return stages(net, "stdp")[0]

    assert why_not_online(first()) == ""
    assert "read in a way of their own" in why_not_online(first("hidden"))
    assert "forward hooks" in why_not_online(first("dense"))
