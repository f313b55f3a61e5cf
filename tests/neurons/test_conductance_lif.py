"""The cell with a synaptic trace and an adaptive threshold: by hand, and as its source has it."""

from __future__ import annotations

import math

import pytest
import torch

from rheobase.kernels.groups import Group
from rheobase.kernels.recurrent import recurrent
from rheobase.kernels.sequence import Backend, sequence
from rheobase.neurons.conductance_lif import ConductanceLIF

backends = pytest.mark.parametrize("backend", ["torch", "numba"])


def run(neuron: ConductanceLIF, current: list[float], synaptic: list[float], backend: Backend):  # type: ignore[no-untyped-def]
    x = torch.tensor([current, synaptic], dtype=torch.float64).T.reshape(-1, 1, 2)
    result = sequence(neuron, x, record=tuple(neuron.initial()), backend=backend)
    return result.output.flatten().tolist(), {n: t.flatten().tolist() for n, t in result.traces.items()}


@backends
def test_by_hand(backend: Backend) -> None:
    """tau_m = tau_s = tau_a = 2 dt: all leaks halve at each step; b0 = 1, beta / tau_a = 1/2.

    step  current  synaptic  s     v = v/2 + (current + s)/2   B before   z   v after   B after
    1     1        0         0     .5                          1          0   .5        1
    2     1        .5        .5    .25 + .75 = 1               1          1   0         1.5
    3     2        0         .25   0 + 1.125 = 1.125           1.5        0   1.125     1.25
    4     1.375    0         .125  .5625 + .75 = 1.3125        1.25       1   0         1.625
    """
    neuron = ConductanceLIF(tau_m=2.0, tau_s=2.0, tau_a=2.0, beta=1.0)
    spikes, traces = run(neuron, [1.0, 1.0, 2.0, 1.375], [0.0, 0.5, 0.0, 0.0], backend)
    assert spikes == [0, 1, 0, 1]
    assert traces["v"] == [0.5, 0.0, 1.125, 0.0]
    assert traces["s"] == [0.0, 0.5, 0.25, 0.125]
    assert traces["b"] == [1.0, 1.5, 1.25, 1.625]


@backends
def test_only_the_membrane_rests_while_refractory(backend: Backend) -> None:
    neuron = ConductanceLIF(tau_m=2.0, tau_s=2.0, tau_a=2.0, beta=0.0, refractory=2.0)
    spikes, traces = run(neuron, [2.0, 2.0, 2.0, 1.0], [0.0, 1.0, 0.0, 0.0], backend)
    assert spikes == [1, 0, 0, 0]
    assert traces["v"] == [0.0, 0.0, 0.0, 0.625]  # (1 + .25) / 2
    assert traces["s"] == [0.0, 1.0, 0.5, 0.25]


@backends
def test_exponential_steps(backend: Backend) -> None:
    neuron = ConductanceLIF(tau_m=10.0, tau_s=5.0, tau_a=50.0, beta=20.0, scheme="exponential")
    a, d, rho = math.exp(-0.1), math.exp(-0.2), math.exp(-0.02)
    v = s = 0.0
    b = 1.0
    expected: dict[str, list[float]] = {"v": [], "s": [], "b": []}
    current, synaptic = [3.0, 3.0, 3.0, 3.0, 3.0, 3.0], [0.0, 4.0, 0.0, 2.0, 0.0, 0.0]
    for i, h in zip(current, synaptic, strict=True):
        s = d * s + h
        v = a * v + (1.0 - a) * (i + s)
        fired = float(v >= b)
        b = 1.0 + rho * (b - 1.0) + 0.4 * fired
        v = 0.0 if fired else v
        for name, value in (("v", v), ("s", s), ("b", b)):
            expected[name].append(value)
    _, traces = run(neuron, current, synaptic, backend)
    for name, values in expected.items():
        assert traces[name] == pytest.approx(values, rel=1e-12), name
    assert max(expected["b"]) > 1.3, "the trace tells nothing"


@backends
def test_trace_in_the_sender_or_in_the_receiver(backend: Backend) -> None:
    """The source keeps a trace S of each sender's spikes, I = W_in x + W_rec S; here, s of each receiver.

    S <- S - dt/tau_s S + z after the spikes of a step; the next step's current has W_rec S. The preset's
    threshold, with tau_a of one step: B = b0 + beta / tau_a z of the step before.
    """
    generator = torch.Generator().manual_seed(1)
    n, steps = 6, 80
    x = 2.5 * torch.rand(steps, 1, n, generator=generator, dtype=torch.float64)
    weight = 0.4 * torch.randn(n, n, generator=generator, dtype=torch.float64)
    v = trace = b = torch.zeros(1, n, dtype=torch.float64)
    spikes, membranes = [], []
    for value in x:
        current = value + trace @ weight.T
        v = v + (1.0 / 20.0) * (2.0 * current - v)
        threshold = 1.0 + 0.1 * b
        z = ((v - threshold) / threshold >= 0).to(v.dtype)
        v = v - v * z
        b = z
        trace = trace - trace / 5.0 + z
        spikes.append(z)
        membranes.append(v)
    neuron = ConductanceLIF.preset("adding")
    padded = torch.cat([x, torch.zeros_like(x)], -1)  # nothing but the recurrence reaches the traces
    result = recurrent([Group("", neuron, n)], padded, weight, record=["v"], backend=backend)
    assert 0.02 < float(torch.stack(spikes).mean()) < 0.9
    assert torch.equal(result.output, torch.stack(spikes))
    torch.testing.assert_close(result.traces["v"], torch.stack(membranes), rtol=0, atol=1e-12)


@backends
def test_the_gradient_is_multiplied_by_what_comes_in(backend: Backend) -> None:
    """Two losses, one twice the other: the source's spike gave both the same gradient."""
    gradients = []
    for factor in (1.0, 2.0):
        x = torch.full((30, 1, 2), 1.2, dtype=torch.float64).requires_grad_()
        (factor * sequence(ConductanceLIF.preset("adding"), x, backend=backend).output.sum()).backward()
        assert x.grad is not None
        gradients.append(x.grad)
    assert float(gradients[0].abs().max()) > 0
    torch.testing.assert_close(gradients[1], 2.0 * gradients[0])


def test_settings_of_the_adding_preset() -> None:
    neuron = ConductanceLIF.preset("adding")
    assert (neuron.tau_m, neuron.tau_s, neuron.tau_a, neuron.dt) == (20.0, 5.0, 1.0, 1.0)
    assert (neuron.beta, neuron.resistance, neuron.threshold, neuron.v_reset) == (0.1, 2.0, 1.0, 0.0)
    assert (neuron.scheme, neuron.strict, neuron.reset, neuron.refractory) == ("euler", False, "value", 0.0)
