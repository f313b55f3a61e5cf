"""Trained parameters stay within the model's bounds, however far the optimizer steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rheobase.config import parameter
from rheobase.kernels.sequence import sequence
from rheobase.layers.neurons import Neurons
from rheobase.neurons.base import Neuron, State
from rheobase.neurons.lif import LIF
from rheobase.operators import Value

X = 2 * torch.rand(10, 2, 3, generator=torch.Generator().manual_seed(0))


def scaled(**bounds: float) -> Neuron:
    """A model that multiplies its input by a bounded gain."""

    class Scaled(Neuron):
        gain: Any = parameter(default=0.5, help="factor on the input", **bounds)

        def initial(self) -> State:
            return State(v=0.0)

        def step(self, state: State, current: Value) -> tuple[State, Value]:
            v = 0.5 * state.v + self.gain * current
            return State(v=v), v

    return Scaled()


def set_to(layer: Neurons, name: str, value: float) -> None:
    with torch.no_grad():
        layer.get_parameter(name).fill_(value)


@pytest.mark.parametrize("size", [None, 3])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("scheme", ["exponential", "euler"])
def test_a_time_constant_survives_a_huge_learning_rate(size: int | None, sign: float, scheme: str) -> None:
    layer = Neurons(LIF(tau_m=2.0, scheme=scheme), trainable=["tau_m"], size=size, backend="torch")
    optimizer = torch.optim.SGD(layer.parameters(), lr=1e6)
    left = False
    for _ in range(4):
        optimizer.zero_grad()
        run = layer(X, record=["v"])
        assert bool((layer.tau_m >= 0.002 * (1 - 1e-6)).all())
        assert bool(torch.isfinite(layer.tau_m).all())
        assert bool(torch.isfinite(run.traces["v"]).all())
        (sign * run.traces["v"][:3].sum()).backward()
        optimizer.step()
        left = left or bool((layer.tau_m <= 0).any())
    if sign > 0:
        assert left, "the case tells nothing"


@pytest.mark.parametrize(
    ("bounds", "value", "kept"),
    [
        ({"at_least": 0.0}, -3.0, 0.0),
        ({"at_least": 0.0}, 3.0, 3.0),
        ({"at_least": 0.0, "at_most": 1.0}, 3.0, 1.0),
        ({"at_most": 1.0}, -3.0, -3.0),
        ({"above": 0.25}, 0.25, 0.25 + 1e-3 * 0.25),  # a thousandth of the initial distance
        ({"above": -1.0}, -2.0, -1.0 + 1e-3 * 1.5),
        ({}, -1e30, -1e30),
    ],
)
def test_put_back_to_the_bound(bounds: dict[str, float], value: float, kept: float) -> None:
    layer = Neurons(scaled(**bounds), trainable=["gain"], size=3, backend="torch")
    set_to(layer, "gain", value)
    output = layer(X).output
    assert layer.gain.tolist() == pytest.approx([kept] * 3, rel=1e-6)
    assert torch.equal(output, sequence(scaled().bind({"gain": layer.gain}), X, backend="torch").output)


def test_values_within_the_bounds_are_left_alone() -> None:
    layer = Neurons(LIF(), trainable=["tau_m", "threshold"], size=3, backend="torch")
    with torch.no_grad():
        layer.tau_m.copy_(torch.tensor([0.05, 7.0, 1e6]))
        layer.threshold.copy_(torch.tensor([-2.0, 0.0, 5.0]))
    layer(X)
    assert torch.equal(layer.tau_m, torch.tensor([0.05, 7.0, 1e6]))
    assert torch.equal(layer.threshold, torch.tensor([-2.0, 0.0, 5.0]))


def test_per_neuron_values_keep_their_own_places() -> None:
    layer = Neurons(LIF(tau_m=[4.0, 8.0, 16.0]), trainable=["tau_m"], backend="torch")
    with torch.no_grad():
        layer.tau_m.copy_(torch.tensor([-1.0, 5.0, 0.0]))
    layer(X)
    assert layer.tau_m.tolist() == pytest.approx([0.004, 5.0, 0.004], rel=1e-6)


def test_the_gradient_at_the_bound_points_back() -> None:
    layer = Neurons(scaled(at_least=0.0), trainable=["gain"], backend="torch")
    set_to(layer, "gain", -3.0)
    (-layer(X).output.sum()).backward()
    assert layer.gain.grad is not None
    assert float(layer.gain.grad) < 0  # a step of descent raises it


def test_bound_neuron_is_within_the_bounds() -> None:
    layer = Neurons(LIF(), trainable=["tau_m"])
    set_to(layer, "tau_m", -5.0)
    assert float(layer.bound().tau_m.detach()) == pytest.approx(0.02)


def test_compiled_layers_stay_within_them_too() -> None:
    layer = Neurons(scaled(at_least=0.0, at_most=1.0), trainable=["gain"], size=3, backend="torch")
    with torch.no_grad():
        layer.gain.copy_(torch.tensor([-3.0, 0.5, 7.0]))
    compiled = torch.compile(lambda x: layer(x).output, backend="eager", fullgraph=True)
    output = compiled(X)
    assert torch.equal(layer.gain, torch.tensor([-3.0, 0.5, 7.0]))  # its graph has no change of a parameter
    clamped = scaled().bind({"gain": torch.tensor([0.0, 0.5, 1.0])})
    assert torch.equal(output, sequence(clamped, X, backend="torch").output)


def test_two_uses_before_one_backward_pass() -> None:
    layer = Neurons(scaled(at_least=0.25), trainable=["gain"], size=3, backend="torch")
    set_to(layer, "gain", -3.0)
    first = layer(X[:5])
    second = layer(X[5:], first.state)
    whole = sequence(
        scaled().bind({"gain": (gain := torch.full((3,), 0.25, requires_grad=True))}), X, backend="torch"
    )
    (first.output.sum() + second.output.sum()).backward()
    whole.output.sum().backward()
    torch.testing.assert_close(layer.gain.grad, gain.grad)
