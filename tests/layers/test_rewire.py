"""DEEP R: as many connections as before, signs that hold, noise and drift as in the paper, a task learnt."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from rheobase.layers.connection import Constraint, Rewiring
from rheobase.layers.delayed import Delayed
from rheobase.layers.dense import Dense
from rheobase.layers.recurrent import Recurrent
from rheobase.layers.rewire import rewire
from rheobase.neurons.leaky_integrator import LeakyIntegrator

SIZE = 20


def constraint(layer: nn.Module) -> Constraint:
    found = layer.parametrizations["weight"][0]  # type: ignore[index, union-attr]
    assert isinstance(found, Constraint)
    return found


def make(kind: str, rewiring: Rewiring, **options: object) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "dense":
            return Dense(SIZE, SIZE, density=0.2, rewiring=rewiring, **options)  # type: ignore[arg-type]
        if kind == "delayed":
            return Delayed(SIZE, SIZE, delays=(0.0, 2.0), density=0.2, rewiring=rewiring, **options)  # type: ignore[arg-type]
        neuron = LeakyIntegrator(tau_m=2.0)
        return Recurrent(neuron, SIZE, density=0.2, rewiring=rewiring, **options)  # type: ignore[arg-type]


def output(layer: nn.Module, x: Tensor) -> Tensor:
    result = layer(x)
    return result if isinstance(result, Tensor) else result.output


@pytest.mark.parametrize("kind", ["dense", "delayed", "recurrent"])
@pytest.mark.parametrize("signs", [None, 0.5])
def test_the_number_of_connections_stays_and_signs_hold(kind: str, signs: float | None) -> None:
    layer = make(kind, Rewiring(l1=0.1, temperature=1e-4), signs=signs)
    c = constraint(layer)
    first, signs_before = c.mask.clone(), c.signs.clone()
    number = int(first.sum())
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
    generator = torch.Generator().manual_seed(1)
    moved = 0
    for _ in range(100):
        optimizer.zero_grad()
        x, target = torch.randn(2, 4, 3, SIZE, generator=generator)
        (output(layer, x) - target).square().mean().backward()
        optimizer.step()
        moved += rewire(layer, optimizer, 0.02, generator)[""]
        weight = layer.weight.detach()
        assert int(c.mask.sum()) == number
        assert bool((weight[~c.mask] == 0).all())
        assert bool((weight * c.signs >= 0).all())
        if kind == "recurrent":
            assert not bool(c.mask.diagonal().any())
    assert moved > number / 2
    assert not torch.equal(c.mask, first)
    assert torch.equal(c.signs, signs_before)


def test_a_step_by_hand() -> None:
    layer = Dense(4, 1, density=0.5, bias=False, rewiring=Rewiring(l1=2.0), signs=[1, -1, 1, 1])
    c = constraint(layer)
    original = layer.parametrizations["weight"].original  # type: ignore[index]
    c.mask.copy_(torch.tensor([[True, True, False, False]]))
    optimizer = torch.optim.Adam([original], lr=0.1)
    original.grad = torch.zeros(1, 4)
    optimizer.step()
    optimizer.state[original]["exp_avg"].fill_(7.0)
    with torch.no_grad():
        original.copy_(torch.tensor([[0.5, -0.15, 0.0, 0.0]]))
    lost = rewire(layer, optimizer, 0.1, torch.Generator().manual_seed(0))
    assert lost == {"": 1}  # drift 0.1 * 2: 0.5 -> 0.3 stays, |-0.15| - 0.2 < 0 goes dormant
    assert float(layer.weight[0, 0].detach()) == pytest.approx(0.3)
    assert int(c.mask.sum()) == 2
    assert bool(c.mask[0, 0])
    assert bool((layer.weight[0, 1:] == 0).all())
    memory = optimizer.state[original]["exp_avg"][0]
    assert memory[0] == 7.0
    assert bool((memory[c.mask[0] & (torch.arange(4) > 0)] == 0).all())
    assert memory[1] == 0.0


def test_noise_and_drift_have_the_size_they_should() -> None:
    layer = Dense(300, 300, density=0.5, rewiring=Rewiring(l1=3.0, temperature=0.5))
    c = constraint(layer)
    with torch.no_grad():
        layer.parametrizations["weight"].original.copy_(10.0 * c.signs * c.mask)  # type: ignore[index]
    before = c.mask.clone()
    rewire(layer, torch.optim.SGD(layer.parameters()), 0.1, torch.Generator().manual_seed(0))
    assert torch.equal(c.mask, before)
    change = (layer.weight.detach() * c.signs - 10.0)[c.mask]
    assert float(change.mean()) == pytest.approx(-0.3, abs=0.01)
    assert float(change.std()) == pytest.approx(math.sqrt(2 * 0.1 * 0.5), rel=0.02)


def test_new_connections_are_drawn_alike() -> None:
    counts = torch.zeros(10)
    for seed in range(400):
        layer = Dense(10, 1, density=0.3, rewiring=Rewiring(l1=1e6))
        rewire(layer, torch.optim.SGD(layer.parameters()), 1.0, torch.Generator().manual_seed(seed))
        counts += constraint(layer).mask[0]
    assert float((counts / 120.0 - 1.0).abs().max()) < 0.35


def test_a_sparse_layer_finds_the_inputs_that_matter() -> None:
    """The target depends on 4 of 40 inputs; 8 connections, drawn at random, are to find them."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.zeros(1, 40)
    weight[0, [3, 11, 22, 35]] = torch.tensor([1.0, 0.9, 0.8, 0.7])

    def error(rewiring: Rewiring | None) -> float:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            layer = Dense(40, 1, density=0.2, bias=False, signs=1.0, rewiring=rewiring)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.05)
        loss = torch.zeros(())
        for _ in range(1500):
            x = torch.randn(1, 32, 40, generator=generator)
            optimizer.zero_grad()
            loss = (layer(x) - x @ weight.t()).square().mean()
            loss.backward()
            optimizer.step()
            rewire(layer, optimizer, 0.05, generator)
        return float(loss.detach())

    assert error(Rewiring(l1=0.02)) < 0.05 < 0.5 < error(None)


def test_layers_without_rewiring_are_left_alone() -> None:
    layer = Dense(20, 20, density=0.5, signs=0.5)
    before = {n: x.clone() for n, x in layer.state_dict().items()}
    assert rewire(layer, torch.optim.SGD(layer.parameters()), 0.1, torch.Generator()) == {}
    assert all(torch.equal(x, before[n]) for n, x in layer.state_dict().items())


def test_rewiring_wants_gaps() -> None:
    with pytest.raises(ValueError, match="rewiring: got a density of 1"):
        Dense(4, 4, rewiring=Rewiring())
