"""A model that is not part of the library gets its kernels, or a refusal that names the reason."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from rheobase.config import option, parameter
from rheobase.kernels.sequence import kernel_source, sequence
from rheobase.kernels.trace import TraceError
from rheobase.neurons.base import Neuron, State
from rheobase.operators import Value, exp, maximum, minimum, spike, sqrt, stop_gradient, tanh, where
from rheobase.surrogate import Surrogate, Triangular


class AdaptiveThreshold(Neuron):
    """A leaky neuron whose threshold rises with each spike."""

    tau_m: Any = parameter(default=15.0, unit="ms", above=0, help="membrane time constant")
    tau_b: Any = parameter(default=80.0, unit="ms", above=0, help="adaptation time constant")
    beta: Any = parameter(default=0.7, help="rise of the threshold per spike")
    surrogate: Surrogate = option(default=Triangular(), help="stand-in for the spike's derivative")

    def initial(self) -> State:
        return State(v=0.0, b=0.1)

    def step(self, state: State, current: Value) -> tuple[State, Value]:
        v = exp(-self.dt / self.tau_m) * state.v + current
        threshold = 1.0 + self.beta * state.b
        z = spike((v - threshold) / threshold, self.surrogate)
        b = exp(-self.dt / self.tau_b) * state.b + z
        return State(v=v - stop_gradient(z) * threshold, b=b), z


class Everything(Neuron):
    """Each operator once, the state inside of exp and tanh."""

    gain: Any = parameter(default=0.5, help="gain")

    def initial(self) -> State:
        return State(v=0.2, w=self.gain)

    def step(self, state: State, current: Value) -> tuple[State, Value]:
        v = tanh(state.v + current) * exp(-abs(state.w)) + self.gain
        w = where((v > 0.1) & ~(current < -0.5), sqrt(1.0 + v**2), minimum(state.w, 0.5 * v**3))
        w = maximum(w, -3.0) / (1.0 + w * w)
        return State(v=v, w=w), v - w


@pytest.mark.parametrize("shape", ["number", "scalar", "per neuron"])
def test_adaptive_threshold(shape: str) -> None:
    options: dict[str, Any] = {}
    if shape != "number":
        for name, value in {"tau_m": 15.0, "tau_b": 80.0, "beta": 0.7}.items():
            size = () if shape == "scalar" else (6,)
            options[name] = torch.full(size, value, dtype=torch.float64).requires_grad_()
    neuron = AdaptiveThreshold(**options)
    generator = torch.Generator().manual_seed(0)
    current = torch.rand(30, 2, 6, generator=generator, dtype=torch.float64).requires_grad_()
    leaves = [current, *options.values()]
    results = []
    for backend in ("torch", "numba"):
        run = sequence(neuron, current, record=["v", "b"], backend=backend)  # type: ignore[arg-type]
        loss = (run.output * run.traces["v"]).sum() + (run.traces["b"] ** 2).sum()
        results.append((run, torch.autograd.grad(loss, leaves)))
    (reference, expected), (kernel, found) = results
    assert 0 < reference.output.detach().mean() < 1
    assert torch.equal(kernel.output, reference.output)
    assert torch.equal(kernel.traces["v"], reference.traces["v"])
    assert torch.equal(kernel.traces["b"], reference.traces["b"])
    for want, got in zip(expected, found, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


def test_every_operator() -> None:
    gain = torch.linspace(0.2, 0.9, 4, dtype=torch.float64).requires_grad_()
    current = torch.linspace(-2, 2, 40, dtype=torch.float64).reshape(10, 1, 4).requires_grad_()
    results = []
    for backend in ("torch", "numba"):
        run = sequence(Everything(gain=gain), current, record=["w"], backend=backend)  # type: ignore[arg-type]
        loss = (run.output**2).sum() + run.traces["w"].sum()
        results.append([run.output, run.traces["w"], *torch.autograd.grad(loss, [current, gain])])
    for want, got in zip(*results, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


def with_step(body: Callable[[Value], Value]) -> Neuron:
    """A neuron whose update is `body` of its membrane."""

    class Odd(Neuron):
        def initial(self) -> State:
            return State(v=0.0)

        def step(self, state: State, current: Value) -> tuple[State, Value]:
            v = body(state.v) + current
            return State(v=v), v

    return Odd()


def branching(v: Value) -> Value:
    if v > 0:
        return v
    return -v


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda v: torch.sin(v), r"'torch\.sin'"),
        (lambda v: math.sin(v), r"math"),
        (lambda v: np.sin(v), r"'numpy\.sin'"),
        (lambda v: v.clamp(0), r"'\.clamp'"),
        (branching, r"'if'.*rheobase\.operators\.where"),
        (lambda v: v**v, r"'\*\*' takes a Python number"),
        (lambda v: v + torch.ones(3), r"torch|Tensor"),
        (lambda v: v + "one", r"got a str"),
        (lambda v: v and 1.0, r"'and'"),
    ],
)
def test_what_cannot_be_traced_is_refused_by_name(body: Callable[[Value], Value], message: str) -> None:
    with pytest.raises(TraceError, match=message) as caught:
        sequence(with_step(body), torch.ones(2, 1, 3), backend="numba")
    assert "Odd" in str(caught.value)


@pytest.mark.parametrize("body", [lambda v: torch.sin(v), branching])
def test_a_refusal_points_to_the_line(body: Callable[[Value], Value]) -> None:
    with pytest.raises(TraceError, match=r"in line \d+ of .*test_user_neuron\.py"):
        sequence(with_step(body), torch.ones(2, 1, 3), backend="numba")


def test_a_refusal_of_equations_without_a_source_has_no_text_of_the_line() -> None:
    scope: dict[str, Any] = {}
    exec("def body(v):\n    return v.clamp(0)", scope)
    with pytest.raises(TraceError, match=r"into a kernel, in line 2 of <string>; use \+"):
        sequence(with_step(scope["body"]), torch.ones(2, 1, 3), backend="numba")


def test_an_unknown_parameter_is_named() -> None:
    class Typo(Neuron):
        def initial(self) -> State:
            return State(v=0.0)

        def step(self, state: State, current: Value) -> tuple[State, Value]:
            return State(v=state.v + current / self.tua), state.v

    with pytest.raises(TraceError, match=r"Typo could not be traced.*'tua'"):
        sequence(Typo(), torch.ones(2, 1, 3), backend="numba")


def test_a_step_must_return_the_same_variables() -> None:
    class Forgetful(Neuron):
        def initial(self) -> State:
            return State(v=0.0, w=0.0)

        def step(self, state: State, current: Value) -> tuple[State, Value]:
            return State(v=state.v + current), state.w

    with pytest.raises(TraceError, match=r"Forgetful\.step: got the state variables \['v'\].*\['v', 'w'\]"):
        sequence(Forgetful(), torch.ones(2, 1, 3))


def test_source_is_readable() -> None:
    source = kernel_source(AdaptiveThreshold(beta=torch.ones(3)), record=["v"])
    assert "\t" not in source
    assert "def forward(" in source
    assert "def backward(" in source
    assert "adaptive_threshold" in source
    compile(source, "kernel", "exec")
    assert max(map(len, source.splitlines())) < 400
