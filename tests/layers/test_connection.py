"""Signs and gaps of connections, alike for dense, delayed and recurrent ones."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rheobase.layers.connection import count_parameters
from rheobase.layers.delayed import Delayed
from rheobase.layers.dense import Dense
from rheobase.layers.recurrent import Recurrent
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF

SIZE = 12
SIGNS = torch.tensor([1, -1] * 6)

KINDS: dict[str, Callable[..., nn.Module]] = {
    "dense": lambda **options: Dense(SIZE, SIZE, **options),
    "delayed": lambda **options: Delayed(SIZE, SIZE, delays=(0.0, 3.0), **options),
    "recurrent": lambda **options: Recurrent(LeakyIntegrator(tau_m=2.0), SIZE, backend="torch", **options),
}
OPTIMIZERS = {
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
}
each = pytest.mark.parametrize("kind", list(KINDS))


def make(kind: str, **options: object) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return KINDS[kind](**options)


def output(layer: nn.Module, x: Tensor) -> Tensor:
    result = layer(x)
    return result if isinstance(result, Tensor) else result.output


@each
@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_no_weight_crosses_zero_in_1000_steps(kind: str, optimizer: str) -> None:
    layer = make(kind, signs=SIGNS)
    generator = torch.Generator().manual_seed(1)
    steps = OPTIMIZERS[optimizer](layer.parameters())
    at_zero = came_back = 0
    zero = layer.weight == 0
    for _ in range(1000):
        steps.zero_grad()
        x, target = torch.randn(2, 4, 2, SIZE, generator=generator)
        (output(layer, x) - target.flip(-1)).square().mean().backward()
        steps.step()
        weight = layer.weight.detach()
        assert bool((weight * SIGNS >= 0).all())
        came_back += int((zero & (weight != 0)).sum())
        zero = weight == 0
        at_zero += int(zero.sum())
    assert at_zero > SIZE, "the case tells nothing"
    assert came_back > SIZE


@each
def test_the_shares_of_excitatory_neurons(kind: str) -> None:
    weight = make(kind, signs=0.75).weight.detach()
    columns = weight.sum(0).sign()
    assert int((columns > 0).sum()) == 9
    assert bool((weight * columns >= 0).all())
    assert bool((make(kind, signs=1.0).weight >= 0).all())


@each
def test_initial_weights_keep_their_size(kind: str) -> None:
    free, signed = make(kind).weight, make(kind, signs=SIGNS).weight
    assert torch.equal(signed.abs(), free.abs())


@each
@pytest.mark.parametrize("density", [0.1, 0.5])
def test_gaps_stay(kind: str, density: float) -> None:
    places = SIZE * (SIZE - (kind == "recurrent"))
    with (
        pytest.warns(UserWarning, match="no input")
        if kind != "recurrent" and density == 0.1
        else nullcontext()
    ):
        layer = make(kind, density=density)
    absent = layer.weight == 0
    assert int((~absent).sum()) == round(density * places)
    steps = torch.optim.Adam(layer.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(5):
        output(layer, torch.ones(4, 2, SIZE)).square().sum().backward()
        steps.step()
        assert bool((layer.weight[absent] == 0).all())
    assert bool((layer.weight[~absent] != 0).any())


def test_absent_connections_are_no_parameters() -> None:
    net = nn.Sequential(Dense(20, 30), Dense(30, 10, density=0.5), Recurrent(LIF(), 10))
    assert count_parameters(net) == 20 * 30 + 30 + 150 + 10 + 90


def test_initial_weights_are_those_of_fewer_inputs() -> None:
    weight = Dense(1000, 50, density=0.1, gain=2.0).weight.detach()
    assert float(weight.abs().max()) == pytest.approx(2.0 / 10.0, rel=0.01)
    weight = Dense(1000, 50, density=0.1, weights="normal").weight.detach()
    assert float(weight.square().sum(1).mean()) == pytest.approx(1.0, rel=0.1)


@each
def test_saved_and_loaded_exactly(kind: str, tmp_path: Path) -> None:
    layer, other = make(kind, signs=SIGNS, density=0.5), KINDS[kind](signs=-SIGNS, density=0.5)
    steps = torch.optim.Adam(layer.parameters(), lr=0.3)
    output(layer, torch.ones(4, 2, SIZE)).square().sum().backward()
    steps.step()
    save_file({n: x.contiguous() for n, x in layer.state_dict().items()}, tmp_path / "layer")
    other.load_state_dict(load_file(tmp_path / "layer"))
    assert torch.equal(other.weight, layer.weight)
    x = torch.rand(4, 2, SIZE)
    assert torch.equal(output(other, x), output(layer, x))
    assert torch.equal(output(copy.deepcopy(layer), x), output(layer, x))


def test_without_constraints_the_weight_is_a_plain_parameter() -> None:
    assert list(dict(Dense(3, 2).named_parameters())) == ["weight", "bias"]


@each
def test_wrong_signs(kind: str) -> None:
    with pytest.raises(
        ValueError, match=r"signs: got shape \(3,\), wanted one sign per presynaptic neuron, \(12,\)"
    ):
        make(kind, signs=[1, -1, 1])
    with pytest.raises(ValueError, match=r"signs: got the values \[0, 1\], wanted \+1 and -1 only"):
        make(kind, signs=torch.tensor([0, 1] * 6))
    with pytest.raises(ValueError, match=r"signs: got a share of 1\.5 excitatory neurons, wanted 0 to 1"):
        make(kind, signs=1.5)


@each
def test_wrong_densities(kind: str) -> None:
    with pytest.raises(ValueError, match=r"density: got 0\.0, wanted a share of connections above 0"):
        make(kind, density=0.0)
    with pytest.raises(ValueError, match=r"density: got 0\.001, which leaves none of 1\d\d connections"):
        make(kind, density=0.001)


def test_neurons_without_any_input_are_counted() -> None:
    with pytest.warns(UserWarning, match=r"density 0\.1: \d of 10 neurons have no input connection") as found:
        layer = Dense(10, 10, density=0.1)
    assert f" {int((layer.weight == 0).all(1).sum())} of 10 " in str(found[0].message)


def test_a_recurrent_layer_has_other_inputs_and_does_not_warn() -> None:
    assert bool((Recurrent(LIF(), 10, density=0.1).weight == 0).all(1).any())
