"""Costs by hand: energy of reads and pulses, time, cells, and reads per delay."""

from __future__ import annotations

import pytest
import torch

from rheobase.crossbar.accounting import Meter, account, cells_of, delays_of
from rheobase.crossbar.array import place
from rheobase.crossbar.devices.constant_step import ConstantStep
from rheobase.crossbar.mapping import DifferentialPair, ReferenceColumn
from rheobase.kernels.constant import Constant
from rheobase.layers.delayed import Delayed
from rheobase.layers.dense import Dense
from rheobase.layers.recurrent import Recurrent
from rheobase.neurons.lif import LIF

DEVICE = ConstantStep(g_min=1e-6, g_max=3e-6, read_volts=0.2, read_seconds=1e-8, c2c=0.0)


def test_energy_of_reads_is_that_of_the_rows_that_are_on() -> None:
    placed = place(Dense(3, 2), DEVICE, DifferentialPair(), generator=None)
    spikes = torch.zeros(4, 2, 3)
    spikes[0, 0, 1] = spikes[2, 1, 1] = spikes[3, 1, 0] = 1.0
    meter = Meter({"dense": placed})
    with meter.running():
        placed.layer(spikes)
    cost = meter.costs()["dense"]
    rows = DEVICE.siemens(placed.array.cells["g"].double()).sum((0, 1))
    assert cost.inputs == 1.5
    assert cost.reads == 4
    assert cost.read_seconds == pytest.approx(4e-8)
    assert cost.read_energy == pytest.approx(0.2**2 * 1e-8 * float(rows[1] + 0.5 * rows[0]))
    with meter.running():
        placed.layer(Constant(torch.ones(2, 3), 4))
    assert meter.costs()["dense"].inputs == pytest.approx((3.0 + 24.0) / 4)


def test_each_delay_is_a_read_of_its_own() -> None:
    delays = torch.tensor([[1.0, 2.0], [1.0, 5.0]])
    placed = place(Delayed(2, 2, delays=delays), DEVICE, DifferentialPair(), generator=None)
    assert delays_of(placed.layer) == 3
    assert delays_of(Dense(2, 2)) == 1
    assert delays_of(Recurrent(LIF(), 2)) == 1
    assert delays_of(Recurrent(LIF(), 2, delays=delays)) == 3
    meter = Meter({"delayed": placed})
    with meter.running():
        placed.layer(torch.ones(6, 1, 2))
    assert meter.costs()["delayed"].reads == 18


def test_cells_that_are_there_are_counted() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sparse = Dense(6, 5, density=0.5)
    placed = place(sparse, DEVICE, DifferentialPair(), generator=None)
    assert cells_of(placed.array) == 30
    assert cells_of(place(Dense(6, 5), DEVICE, ReferenceColumn(), generator=None).array) == 36


def test_time_of_writes_goes_row_by_row() -> None:
    placed = place(Dense(3, 2), DEVICE, DifferentialPair(), generator=None)
    up, down = torch.zeros(2, 2, 2, 3, dtype=torch.int32)
    up[0, 0, 0], up[0, 1, 0], up[1, 1, 2], down[0, 0, 1] = 2, 5, 1, 3
    placed.array.pulse(up, down, None)
    wanted = (5 + 1) * DEVICE.up_seconds + 3 * DEVICE.down_seconds
    assert float(placed.array.write_seconds) == pytest.approx(wanted)
    cost = Meter({"layers.dense": placed}).costs()
    table = account(cost, accesses=10)
    assert table["layers"]["dense"]["pulses_up"] == 8
    assert table["total"]["pulses_down"] == 3
    assert table["total"]["most_pulses"] == 5
    assert table["total"]["training_read_energy"] == 0.0
