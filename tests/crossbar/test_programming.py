"""Schemes of programming: what they write on average, what they keep, and that they resume exactly."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from rheobase.crossbar.array import Placed, arrays, place
from rheobase.crossbar.devices.base import Device
from rheobase.crossbar.devices.constant_step import ConstantStep
from rheobase.crossbar.devices.library import device as named
from rheobase.crossbar.devices.memtransistor import Memtransistor
from rheobase.crossbar.devices.soft_bounds import SoftBounds
from rheobase.crossbar.mapping import DifferentialPair, Offset, OneSigned
from rheobase.crossbar.programming._transfer import LEAST_FORGETTING, Transfer
from rheobase.crossbar.programming.accumulate import Accumulate
from rheobase.crossbar.programming.base import Programming, State
from rheobase.crossbar.programming.noise_aware import NoiseAware
from rheobase.crossbar.programming.one_shot import program, refresh
from rheobase.crossbar.programming.optimizer import PulsedOptimizer
from rheobase.crossbar.programming.relieve import relieve
from rheobase.crossbar.programming.rounded_pulses import RoundedPulses
from rheobase.crossbar.programming.stochastic_pulses import StochasticPulses
from rheobase.crossbar.programming.tiki_taka import TikiTaka
from rheobase.crossbar.programming.tiki_taka2 import TikiTaka2
from rheobase.crossbar.programming.write_verify import WriteVerify
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.registry import build, catalogue, name_of
from rheobase.training.experiment import Training
from rheobase.training.optimizers import (
    make_optimizer,
    optimizer_tensors,
    optimizer_values,
    restore_optimizer,
)

FINE = ConstantStep(step_up=0.01, step_down=0.01)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def placed_on(
    device: Device, size: tuple[int, int] = (30, 20), largest: float = 1.0, **options: Any
) -> Placed:
    torch.manual_seed(0)
    layer = Dense(*size)
    options = {"mapping": DifferentialPair(), "generator": seeded(), **options}
    return place(layer, device, largest=largest, **options)


def written(scheme: Programming, placed: Placed, wish: Tensor, times: int = 1) -> tuple[Tensor, State]:
    """The change of the weight by so many equal wishes, and what the scheme keeps then."""
    before, state, generator = placed.parameter.detach().clone(), scheme.begin(placed), seeded(7)
    for _ in range(times):
        scheme.write(placed, wish, state, generator)
    return placed.parameter.detach() - before, state


@pytest.mark.parametrize("scheme", catalogue(Programming).values(), ids=name_of)
def test_every_scheme_moves_weights_where_they_are_wished(scheme: type[Programming]) -> None:
    placed = placed_on(FINE)
    wish = torch.zeros(20, 30)
    wish[:10], wish[10:15] = 0.05, -0.05
    # Tiki-Takas pass on as much as their cells forget by 4 pulses; these, of one step size, forget nothing.
    whole = {"transfer": 0.5 / (4 * LEAST_FORGETTING)} if issubclass(scheme, Transfer) else {}
    moved, _ = written(scheme(**whole), placed, wish, times=4)
    assert float(moved[:10].mean()) > 0.01
    assert float(moved[10:15].mean()) < -0.01
    assert abs(float(moved[15:].mean())) < 0.01
    assert torch.equal(placed.parameter.detach(), placed.array.stored())
    assert build(Programming, scheme().to_dict()) == scheme()


@pytest.mark.parametrize("independent", [False, True])
def test_stochastic_pulses_are_right_on_average(independent: bool) -> None:
    placed = placed_on(ConstantStep(step_up=0.05, step_down=0.05), (200, 200), largest=1.0)
    wish = torch.full((200, 200), 0.004)
    moved, _ = written(StochasticPulses(independent=independent), placed, wish, times=4)
    assert float(moved.mean()) == pytest.approx(4 * 0.004, rel=0.04)  # 4.6 standard errors
    assert {round(float(v), 4) for v in moved.unique()} <= {round(0.05 * n, 4) for n in range(9)}


def test_rounded_pulses_lose_small_wishes() -> None:
    small, _ = written(RoundedPulses(), placed_on(FINE), torch.full((20, 30), 0.004), times=10)
    assert float(small.abs().max()) < 1e-6
    large, _ = written(RoundedPulses(), placed_on(FINE), torch.full((20, 30), 0.024))
    torch.testing.assert_close(large, torch.full((20, 30), 0.02), atol=1e-5, rtol=0)


def test_accumulation_loses_nothing() -> None:
    moved, state = written(Accumulate(), placed_on(FINE), torch.full((20, 30), 0.004), times=10)
    torch.testing.assert_close(moved + state["sum"], torch.full((20, 30), 0.04), atol=1e-5, rtol=0)
    assert float(state["sum"].abs().max()) <= 0.01 + 1e-5
    seldom, state = written(Accumulate(every=4), placed_on(FINE), torch.full((20, 30), 0.01), times=3)
    assert float(seldom.abs().max()) == 0.0
    torch.testing.assert_close(state["sum"], torch.full((20, 30), 0.03))


def test_write_verify_follows_its_copy() -> None:
    device = Memtransistor(c2c=0.05, step_d2d=0.05)
    placed = placed_on(device, (60, 40))
    _, state = written(WriteVerify(rounds=3, every=1), placed, 0.02 * torch.randn(40, 60), times=8)
    error = placed.parameter.detach() - state["copy"]
    assert float(error.square().mean().sqrt()) < 0.02
    # The copy stays within what the array can hold.
    _, state = written(WriteVerify(), placed_on(FINE), torch.full((20, 30), 0.6), times=3)
    assert float(state["copy"].max()) == 1.0


def test_coarse_pairs_reach_weights_between_their_steps() -> None:
    # A pulse moves this device by up to a fifth of the range; pairs come within a hundredth.
    placed = placed_on(Memtransistor(), (40, 40))
    target = torch.empty(40, 40).uniform_(-0.6, 0.6, generator=seeded(1))
    done = program(placed, target, seeded(), rounds=6, tolerance=0.005)
    assert done.error < 0.01
    assert float((placed.parameter.detach() - target).abs().max()) < 0.05


def test_stuck_cells_are_made_good_by_their_partners() -> None:
    device = ConstantStep(step_up=0.01, step_down=0.01, stuck_low=0.05)
    placed = placed_on(device, (40, 40))
    target = torch.empty(40, 40).uniform_(-0.4, 0.4, generator=seeded(1))
    program(placed, target, seeded(), rounds=12, tolerance=0.01)
    stuck = placed.array.cells["stuck"].any(0)
    assert 0.05 < float(stuck.float().mean()) < 0.15
    error = (placed.parameter.detach() - target).abs()
    assert float(error[~stuck].max()) < 0.03
    # A cell stuck at the bottom leaves half the weights to its partner.
    assert float((error[stuck] < 0.03).float().mean()) > 0.4


def test_pcm_is_programmed_by_raising_and_refreshed_before_pairs_are_full() -> None:
    placed = placed_on(named("pcm").replace(c2c=0.0), (40, 40), mapping=DifferentialPair(rest="low"))
    target = torch.empty(40, 40).uniform_(-0.5, 0.5, generator=seeded(1))
    assert program(placed, target, seeded(), rounds=12, tolerance=0.02).error < 0.06
    array = placed.array
    array.put(
        array.device.place(array.cells, torch.stack([torch.full((40, 40), 0.9), torch.full((40, 40), 0.5)]))
    )
    assert relieve(array, seeded()) > 1550  # but for cells whose upper bound is below what is full
    assert float(array.stored().mean()) == pytest.approx(0.4, abs=0.06)
    assert float(array.cells["g"][1].median()) < 0.1
    with pytest.raises(
        ValueError, match="pcm cells, which cannot be lowered in steps, on the mapping offset"
    ):
        RoundedPulses().begin(placed_on(named("pcm"), mapping=Offset()))


def test_the_device_s_own_programming_has_its_published_spread() -> None:
    placed = placed_on(named("pcm"), (100, 100), mapping=DifferentialPair(rest="low"))
    target = torch.full((100, 100), 0.5)
    program(placed, target, seeded(), procedure=True)
    # One cell at g = .5 (.953 uS of 25), its partner at 0 (.263 uS, cut at 0).
    assert float(placed.parameter.detach().std()) == pytest.approx(0.0387, rel=0.05)


def test_refresh_brings_back_what_retention_lost() -> None:
    placed = placed_on(ConstantStep(step_up=0.005, step_down=0.005, retention=100.0), (20, 20))
    target = torch.full((20, 20), 0.5)
    program(placed, target, None)
    array = placed.array
    aged = array.device.drift(array.cells, 50.0)
    lost = array.mapping.decode(aged["g"], 1.0)
    assert float(lost.mean()) == pytest.approx(0.5 * 0.60653, rel=0.02)
    assert refresh(placed, target, None, 50.0).error < 0.01


def test_noise_aware_training_spends_no_pulses() -> None:
    placed = placed_on(FINE, (100, 100))
    _, state = written(NoiseAware(noise=0.05), placed, torch.zeros(100, 100))
    noise = placed.parameter.detach() - state["copy"]
    assert float(noise.std()) == pytest.approx(0.05, rel=0.05)
    assert int(placed.array.pulses.sum()) == 0


@pytest.mark.parametrize("scheme", [TikiTaka(), TikiTaka2()], ids=lambda s: type(s).__name__)
def test_tiki_takas_first_write_to_a_second_array(scheme: Programming) -> None:
    placed = placed_on(FINE)
    before = placed.parameter.detach().clone()
    state = scheme.begin(placed)
    scheme.replace(every=1000).write(placed, torch.full((20, 30), 0.1), state, seeded())
    assert torch.equal(placed.parameter.detach(), before)
    fast = placed.array.mapping.decode(state["fast_g"] - state["zero"], 1.0)
    assert float(fast.mean()) == pytest.approx(0.08, abs=1e-6)  # 4 pulses of 0.01 on each cell of a pair


@pytest.mark.parametrize("size", [1e-4, 1e-2])
def test_what_a_fast_array_passes_on_does_not_hang_on_the_size_of_a_step(size: float) -> None:
    wish = size * torch.randn(100, 80, generator=seeded(1))
    passed = []
    for step in (0.002, 0.02):
        placed = placed_on(ConstantStep(step_up=step, step_down=step), (80, 100))
        scheme = TikiTaka2(fast=4.0, columns=1.0, transfer=1.0)
        state = scheme.begin(placed)
        placed.array.largest.fill_(1e6)  # a sum is worth no pulse then, and shows all that was passed on
        scheme.write(placed, wish, state, seeded())
        passed.append(float((state["sum"] * wish).sum() / wish.square().sum()))
    share = 4 * LEAST_FORGETTING  # what these cells forget by 4 pulses, which comes in at each update
    assert passed == pytest.approx([share, share], rel=0.05)


def test_fast_cells_at_rest_push_nothing_though_their_symmetry_points_differ() -> None:
    device = SoftBounds(step_up=0.02, step_down=0.02, asymmetry_d2d=0.2)
    placed = placed_on(device, (30, 20))
    scheme = TikiTaka(transfer=1.0, columns=1.0)
    state = scheme.begin(placed)
    assert float(state["zero"].std()) > 0.02
    cells = {name.removeprefix("fast_"): value for name, value in state.items() if name.startswith("fast_")}
    one = torch.ones(state["zero"].shape, dtype=torch.int64)
    for _ in range(20):  # pulses up and down in turn leave cells where they are
        cells = dict(device.pulse(device.pulse(cells, one, 0 * one), 0 * one, one))
    assert float((cells["g"] - state["zero"]).abs().max()) < 0.02
    change = -placed.parameter.detach().clone()
    scheme.write(placed, torch.zeros(20, 30), state, seeded())
    assert float((change + placed.parameter.detach()).abs().max()) == 0.0


def test_one_signed_cells_are_written_with_the_sign_of_their_neuron() -> None:
    torch.manual_seed(0)
    layer = Dense(8, 4, signs=[1, 1, 1, 1, -1, -1, -1, -1])
    placed = place(layer, FINE, OneSigned(), generator=None, largest=1.0)
    scheme = WriteVerify(tolerance=0.005, every=1)
    state = scheme.begin(placed)
    for _ in range(3):
        scheme.write(placed, torch.full((4, 8), 0.1), state, seeded())
    assert bool((state["copy"][:, 4:] <= 0).all())
    assert float(placed.parameter.detach()[:, :4].min()) > 0.29
    assert float(layer.weight.detach()[:, 4:].max()) <= 0


def trained(scheme: Programming, steps: int, resume_at: int | None) -> tuple[Tensor, dict[str, Tensor]]:
    """Weights and cells after some steps, with a save and a restart in between."""

    def build_one() -> tuple[Dense, PulsedOptimizer]:
        torch.manual_seed(0)
        layer = Dense(12, 8)
        place(
            layer, Memtransistor(c2c=0.05, step_d2d=0.05), DifferentialPair(), generator=seeded(), largest=1.0
        )
        inner = torch.optim.Adam(layer.parameters(), lr=0.02)
        return layer, PulsedOptimizer(inner, arrays(layer), scheme, seed=3)

    layer, optimizer = build_one()
    for step in range(steps):
        if step == resume_at:
            weights = copy.deepcopy(layer.state_dict())
            saved = optimizer_tensors(optimizer), optimizer_values(optimizer)
            layer, optimizer = build_one()
            layer.load_state_dict(weights)
            restore_optimizer(optimizer, *copy.deepcopy(saved))
        optimizer.zero_grad()
        x = torch.randn(1, 5, 12, generator=seeded(100 + step))
        (layer(x) - x[..., :8]).square().mean().backward()
        optimizer.step()
    cells = {name: one.array.cells["g"] for name, one in arrays(layer).items()}
    return layer.weight.detach(), cells


@pytest.mark.parametrize("scheme", catalogue(Programming).values(), ids=name_of)
def test_training_resumes_to_the_same_bits(scheme: type[Programming]) -> None:
    weight, cells = trained(scheme(), 6, None)
    again, others = trained(scheme(), 6, 3)
    assert torch.equal(weight, again)
    assert all(torch.equal(cells[name], others[name]) for name in cells)


def test_what_is_not_on_an_array_moves_as_the_optimizer_says() -> None:
    torch.manual_seed(0)
    layer = Dense(12, 8)
    place(layer, FINE, DifferentialPair(), generator=None)
    optimizer = PulsedOptimizer(
        torch.optim.SGD(layer.parameters(), lr=0.5), arrays(layer), RoundedPulses(), seed=0
    )
    assert layer.bias is not None
    before = layer.bias.detach().clone()
    layer(torch.ones(1, 3, 12)).sum().backward()
    optimizer.step()
    torch.testing.assert_close(layer.bias.detach(), before - 0.5 * 3)


def test_connections_that_are_not_trained_stay_as_they_were_placed() -> None:
    torch.manual_seed(0)
    fixed, layer = Dense(12, 12, bias=False), Dense(12, 8)
    network = Network(fixed=fixed, layer=layer)
    for one in (fixed, layer):
        place(one, named("memtransistor-5"), DifferentialPair(), generator=seeded(), largest=1.0)
    placed = arrays(network)
    placed["layers.fixed"].parameter.requires_grad_(False)
    training = Training(optimizer="adam", learning_rate=0.05)
    inner = make_optimizer(training, network.parameters())
    optimizer = PulsedOptimizer(inner, placed, WriteVerify(every=1), seed=0)
    before = fixed.weight.clone()
    network(torch.ones(1, 3, 12)).output.sum().backward()
    optimizer.step()
    assert torch.equal(fixed.weight, before)
    assert not bool(placed["layers.fixed"].array.pulses.any())
    assert bool(placed["layers.layer"].array.pulses.any())
    restore_optimizer(optimizer, optimizer_tensors(optimizer), optimizer_values(optimizer))
