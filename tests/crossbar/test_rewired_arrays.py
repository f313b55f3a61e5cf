"""DEEP R on arrays: new connections are written to zero by pulses, the drift of others adds up to such."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from rheobase.crossbar.array import Placed, arrays, place
from rheobase.crossbar.devices.base import Device
from rheobase.crossbar.devices.constant_step import ConstantStep
from rheobase.crossbar.devices.library import device as named
from rheobase.crossbar.mapping import DifferentialPair, OneSigned, WeightMapping
from rheobase.crossbar.programming.accumulate import Accumulate
from rheobase.crossbar.programming.base import Programming
from rheobase.crossbar.programming.noise_aware import NoiseAware
from rheobase.crossbar.programming.optimizer import ERASED, PulsedOptimizer
from rheobase.crossbar.programming.write_verify import WriteVerify
from rheobase.layers.connection import Rewiring, constraint_of
from rheobase.layers.dense import Dense
from rheobase.layers.rewire import rewire
from rheobase.registry import catalogue, name_of
from rheobase.training.optimizers import optimizer_tensors, optimizer_values, restore_optimizer

FINE = ConstantStep(step_up=0.005, step_down=0.005)
RATE = 0.02


def made(
    scheme: Programming, device: Device, mapping: WeightMapping, l1: float
) -> tuple[Dense, Placed, PulsedOptimizer]:
    torch.manual_seed(0)
    layer = Dense(24, 16, density=0.25, rewiring=Rewiring(l1=l1), bias=False)
    generator = torch.Generator().manual_seed(0)
    placed = place(layer, device, mapping, generator=generator, largest=0.5)
    inner = torch.optim.SGD(layer.parameters(), lr=RATE)
    return layer, placed, PulsedOptimizer(inner, arrays(layer), scheme, seed=3)


def mask_of(layer: Dense) -> Tensor:
    constraint = constraint_of(layer)
    assert constraint is not None
    assert constraint.mask is not None
    return constraint.mask


def step(layer: Dense, optimizer: PulsedOptimizer, number: int, *, still: bool = False) -> None:
    optimizer.zero_grad()
    x = torch.randn(1, 5, 24, generator=torch.Generator().manual_seed(100 + number))
    loss = (layer(x) - x[..., :16]).square().mean()
    (0 * loss if still else loss).backward()
    optimizer.step()
    rewire(layer, optimizer, RATE, torch.Generator().manual_seed(200 + number))


@pytest.mark.parametrize("scheme", catalogue(Programming).values(), ids=name_of)
@pytest.mark.parametrize("mapping", [DifferentialPair(), OneSigned()], ids=lambda m: name_of(type(m)))
def test_cells_of_a_new_connection_are_written_to_zero(
    scheme: type[Programming], mapping: WeightMapping
) -> None:
    layer, placed, optimizer = made(scheme(), FINE, mapping, l1=0.5)
    mask, number, moved = mask_of(layer), int(mask_of(layer).sum()), 0
    for count in range(12):
        known, spent = mask.clone(), placed.array.pulses.clone()
        step(layer, optimizer, count)
        drawn = mask & ~known
        moved += int(drawn.sum())
        assert int(mask.sum()) == number
        assert torch.equal(placed.parameter.detach(), placed.array.stored().view_as(placed.parameter))
        if scheme.in_place and bool(drawn.any()):
            assert float(placed.parameter.detach()[drawn].abs().max()) <= ERASED * 0.5 + 1e-6
        # What is neither old nor new gets no pulse.
        assert not bool((placed.array.pulses - spent)[:, :, ~(mask | known)].any())
    assert moved > 20
    assert bool(placed.array.pulses.any()) == (scheme is not NoiseAware)


def test_cells_that_held_a_weight_are_erased_in_pulses_that_count() -> None:
    layer, placed, optimizer = made(WriteVerify(), named("memtransistor"), DifferentialPair(), l1=0.0)
    constraint = constraint_of(layer)
    assert constraint is not None
    assert constraint.signs is not None
    mask = mask_of(layer)
    lost = mask.clone()
    lost[1:] = False
    held = placed.array.cells["g"][:, lost].clone()
    copy_of = optimizer.state[placed.parameter]["write_copy"]
    copy_of[lost] = -0.1 * constraint.signs[lost]  # all that lead to the first neuron are past zero
    # Of the places that may be drawn, all but these are taken, so that many of these are drawn again.
    mask[1:] = True
    copy_of[1:] = 0.1 * constraint.signs[1:]
    energy = float(placed.array.energy)
    rewire(layer, optimizer, RATE, torch.Generator().manual_seed(0))
    drawn = mask.clone()
    drawn[1:] = False
    again = placed.array.cells["g"][:, drawn & lost]
    assert int(drawn.sum()) == int(lost.sum())
    assert held.shape[1] > 0
    assert bool((placed.array.pulses[:, :, drawn & lost].sum((0, 1)) > 0).any())
    assert float((again[0] - again[1]).abs().max()) < 0.05
    assert float(placed.array.energy) > energy


def test_what_draws_connections_to_zero_adds_up_to_pulses() -> None:
    # 40 steps of 0.02 x 0.1: each strength falls by 0.08, though one is less than half a pulse.
    layer, placed, optimizer = made(Accumulate(), FINE, DifferentialPair(), l1=0.1)
    before, mask = placed.parameter.detach().clone(), mask_of(layer).clone()
    for count in range(40):
        step(layer, optimizer, count, still=True)
    stay = mask & (before.abs() > 0.15)
    fall = (before - placed.parameter.detach()) * before.sign()
    assert int(stay.sum()) > 20
    assert float((fall[stay] - 0.08).abs().max()) < 0.01


@pytest.mark.parametrize("scheme", catalogue(Programming).values(), ids=name_of)
def test_training_that_rewires_resumes_to_the_same_bits(scheme: type[Programming]) -> None:
    def run(resume_at: int | None) -> tuple[Tensor, Tensor, Tensor]:
        device = named("memtransistor-5")
        layer, placed, optimizer = made(scheme(), device, DifferentialPair(), l1=0.5)
        for count in range(8):
            if count == resume_at:
                weights = copy.deepcopy(layer.state_dict())
                saved = copy.deepcopy((optimizer_tensors(optimizer), optimizer_values(optimizer)))
                layer, placed, optimizer = made(scheme(), device, DifferentialPair(), l1=0.5)
                layer.load_state_dict(weights)
                restore_optimizer(optimizer, *saved)
            step(layer, optimizer, count)
        return layer.weight.detach(), placed.array.cells["g"], mask_of(layer)

    assert all(torch.equal(a, b) for a, b in zip(run(None), run(4), strict=True))
