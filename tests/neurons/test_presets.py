"""Presets against what they are named after: the libraries themselves, or their equations as loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rheobase.kernels.sequence import Backend, sequence
from rheobase.neurons.adaptive_lif import AdaptiveLIF
from rheobase.neurons.base import Neuron
from rheobase.neurons.integrate_and_fire import IntegrateAndFire
from rheobase.neurons.lif import LIF
from rheobase.neurons.synaptic_integrator import SynapticIntegrator
from rheobase.neurons.synaptic_lif import SynapticLIF
from rheobase.registry import catalogue
from rheobase.surrogate import SpikeItself, Surrogate

backends = pytest.mark.parametrize("backend", ["torch", "numba"])


class Step(torch.autograd.Function):
    """1 where x > 0, else 0; its derivative is handed in, written out in each test."""

    @staticmethod
    def forward(ctx, x, derivative, strict):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        ctx.derivative = derivative
        return (x > 0 if strict else x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return gradient * ctx.derivative(ctx.saved_tensors[0]), None, None


def step(x: Tensor, derivative, strict: bool = True) -> Tensor:  # type: ignore[no-untyped-def]
    return Step.apply(x, derivative, strict)  # type: ignore[no-untyped-call]


def drive(low: float, high: float, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    x = low + (high - low) * torch.rand(60, 2, 5, generator=generator, dtype=dtype)
    return x.requires_grad_()


def check(neuron: Neuron, x: Tensor, spikes: Tensor, v: Tensor, backend: Backend) -> None:
    """Forward bit for bit; gradient of a weighted sum of spikes and membranes to rounding."""
    run = sequence(neuron, x, record=["v"], backend=backend)
    assert 0.02 < float(spikes.detach().mean()) < 0.98, "the trace tells nothing"
    assert torch.equal(run.output, spikes)
    assert torch.equal(run.traces["v"], v)
    weigh = torch.linspace(-1, 2, spikes.numel(), dtype=x.dtype).view_as(spikes)
    (found,) = torch.autograd.grad((weigh * (run.output + run.traces["v"])).sum(), x)
    (expected,) = torch.autograd.grad((weigh * (spikes + v)).sum(), x)
    size = float(expected.abs().max())
    torch.testing.assert_close(
        found, expected, rtol=0, atol=(1e-12 if x.dtype.itemsize == 8 else 1e-5) * size
    )


# --- snnTorch ---------------------------------------------------------------------------------


def snntorch_run(mechanism: str, x: Tensor) -> tuple[Tensor, Tensor]:
    snntorch = pytest.importorskip("snntorch")
    leaky = snntorch.Leaky(
        beta=0.95, reset_mechanism=mechanism, spike_grad=snntorch.surrogate.atan(alpha=2.0)
    )
    membrane = leaky.reset_mem()
    spikes, membranes = [], []
    for value in x:
        fired, membrane = leaky(value, membrane)
        spikes.append(fired)
        membranes.append(membrane)
    return torch.stack(spikes), torch.stack(membranes)


@backends
@pytest.mark.parametrize(
    ("mechanism", "reset", "high"),
    [("subtract", "subtract", 0.4), ("zero", "value", 0.6), ("none", "none", 0.1)],
)
def test_snntorch_leaky(mechanism: str, reset: str, high: float, backend: Backend) -> None:
    x = drive(0.0, high)
    spikes, v = snntorch_run(mechanism, x)
    check(LIF.preset("snntorch", reset=reset), x, spikes, v, backend)


@backends
def test_snntorch_with_the_spike_as_its_own_derivative(backend: Backend) -> None:
    # snnTorch 1.0 order with the surrogate of its tutorial 5.
    x = drive(0.0, 0.4)
    v = torch.zeros(2, 5)
    spikes, membranes = [], []
    for value in x:
        reset = (v > 1.0).to(v.dtype)
        v = 0.95 * v + value - reset * 1.0
        spikes.append(step(v - 1.0, lambda u: (u > 0).to(u.dtype)))
        membranes.append(v)
    # exp(-dt/tau) need not give back the very decay it came from.
    neuron = LIF.preset("snntorch", surrogate=SpikeItself())
    assert math.exp(-1.0 / neuron.tau_m) == pytest.approx(0.95, rel=1e-15)
    check(neuron, x, torch.stack(spikes), torch.stack(membranes), backend)


@backends
def test_tutorial_cell_with_spikes_from_the_old_membrane(backend: Backend) -> None:
    """The class `LeakySurrogate` of snnTorch's tutorial 5 fires before it integrates: timing "old"."""
    x = drive(0.0, 0.4)
    v = torch.zeros(2, 5)
    spikes, membranes = [], []
    for value in x:
        spike = step(v - 1.0, lambda u: (u > 0).to(u.dtype))
        reset = (spike * 1.0).detach()
        v = 0.95 * v + value - reset
        spikes.append(spike)
        membranes.append(v)
    neuron = LIF.preset("snntorch-tutorial")
    check(neuron, x, torch.stack(spikes), torch.stack(membranes), backend)


# --- Norse --------------------------------------------------------------------------------------


@backends
def test_norse_lif_printed_trace(backend: Backend) -> None:
    """norse 1.1, LIF cell, constant input 1 from rest, dt 1 ms."""
    run = sequence(
        SynapticLIF.preset("norse"), torch.ones(9, 1, 1, dtype=torch.float64), record=["v"], backend=backend
    )
    printed = [0.1, 0.27, 0.487, 0.7335, 0.9963, 0.0, 0.3951, 0.7717, 0.0]
    assert [round(x, 4) for x in run.traces["v"].flatten().tolist()] == printed
    assert run.output.flatten().tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 1]


@backends
def test_norse_lif_equations(backend: Backend) -> None:
    x = drive(0.0, 2.0, torch.float64)
    i = v = torch.zeros(2, 5, dtype=torch.float64)
    spikes, membranes = [], []
    for value in x:
        i = i + (1.0 / 5.0) * (0.0 - i) + value
        v = v + (1.0 / 10.0) * ((0.0 - v) + i)
        z = step(v - 1.0, lambda u: 1.0 / (100.0 * u.abs() + 1.0) ** 2)
        v = (1.0 - z) * v + z * 0.0
        spikes.append(z)
        membranes.append(v)
    check(SynapticLIF.preset("norse"), x, torch.stack(spikes), torch.stack(membranes), backend)


# --- SpikingJelly -------------------------------------------------------------------------------


@backends
def test_spikingjelly_lif_node(backend: Backend) -> None:
    """LIFNode(tau=2, decay_input=True, v_reset=0, detach_reset=False): h = v + (x - (v - v_reset))/tau."""

    def sigmoid(u: Tensor) -> Tensor:
        s = torch.sigmoid(4.0 * u)
        return 4.0 * s * (1.0 - s)

    x = drive(0.0, 4.0, torch.float64)
    x.data[:, 0, 0] = 2.0  # reaches the threshold exactly at the first step, and fires there
    v = torch.zeros(2, 5, dtype=torch.float64)
    spikes, membranes = [], []
    for value in x:
        h = v + (value - (v - 0.0)) / 2.0
        z = step(h - 1.0, sigmoid, strict=False)
        v = h * (1.0 - z) + z * 0.0
        spikes.append(z)
        membranes.append(v)
    assert float(spikes[0].detach()[0, 0]) == 1.0
    check(LIF.preset("spikingjelly"), x, torch.stack(spikes), torch.stack(membranes), backend)


# --- Zenke's SpyTorch tutorials -------------------------------------------------------------------


@backends
def test_spytorch_hidden_layer(backend: Backend) -> None:
    """syn = alpha syn + h; mem = (beta mem + syn)(1 - rst); the old syn drives, the old mem fires."""
    alpha, beta = math.exp(-1.0 / 5.0), math.exp(-1.0 / 10.0)
    x = drive(-0.2, 0.4, torch.float64)
    syn = mem = torch.zeros(2, 5, dtype=torch.float64)
    spikes, membranes, synapses = [], [], []
    for h in x:
        out = step(mem - 1.0, lambda u: 1.0 / (100.0 * u.abs() + 1.0) ** 2)
        rst = out.detach()
        new_syn = alpha * syn + h
        new_mem = (beta * mem + syn) * (1.0 - rst)
        mem, syn = new_mem, new_syn
        spikes.append(out)
        membranes.append(mem)
        synapses.append(syn)
    neuron = SynapticLIF.preset("spytorch")
    check(neuron, x, torch.stack(spikes), torch.stack(membranes), backend)
    run = sequence(neuron, x, record=["i"], backend=backend)
    assert torch.equal(run.traces["i"], torch.stack(synapses))


@backends
def test_spytorch_readout(backend: Backend) -> None:
    """flt = alpha flt + h; out = beta out + flt with the old flt."""
    alpha, beta = math.exp(-1.0 / 5.0), math.exp(-1.0 / 10.0)
    x = drive(-1.0, 1.0, torch.float64).detach()
    flt = out = torch.zeros(2, 5, dtype=torch.float64)
    record = []
    for h in x:
        out, flt = beta * out + flt, alpha * flt + h
        record.append(out)
    run = sequence(SynapticIntegrator.preset("spytorch"), x, record=["v"], backend=backend)
    assert torch.equal(run.output, torch.stack(record))
    assert torch.equal(run.traces["v"], run.output)


# --- LSNN-style cells -----------------------------------------------------------------------------


def triangular(u: Tensor) -> Tensor:
    return 0.3 * torch.clamp(1.0 - u.abs(), min=0.0)


def silenced(z: Tensor, recent: list[Tensor], steps: int) -> Tensor:
    """No spike where there was one in the last `steps` steps (a buffer of past spikes, as LSNN's code)."""
    for past in recent[-steps:] if steps else []:
        z = torch.where(past > 0, 0.0, z)
    return z


@backends
@pytest.mark.parametrize("refractory", [0, 3])
@pytest.mark.parametrize("threshold", [1.0, 0.03])
def test_srnn_integrate_and_fire(threshold: float, refractory: int, backend: Backend) -> None:
    """v = v + i - z thr with the last step's z; the new z is from the old v, x = (v - thr)/thr."""
    x = drive(0.0, 0.5 * threshold, torch.float64)
    v = z = torch.zeros(2, 5, dtype=torch.float64)
    spikes, membranes = [], []
    for i in x:
        new_v = v + i - z * threshold
        z = silenced(step((v - threshold) / threshold, triangular), spikes, refractory)
        v = new_v
        spikes.append(z)
        membranes.append(v)
    neuron = IntegrateAndFire.preset("srnn", threshold=threshold, refractory=float(refractory))
    check(neuron, x, torch.stack(spikes), torch.stack(membranes), backend)


@backends
@pytest.mark.parametrize("refractory", [0, 3])
@pytest.mark.parametrize("threshold", [1.0, 0.03])
def test_srnn_lif(threshold: float, refractory: int, backend: Backend) -> None:
    """v = alpha v + (1 - alpha) i - z thr with the last step's z; the new z is from the old v."""
    decay = math.exp(-1.0 / 20.0)
    x = drive(0.0, 8.0 * threshold, torch.float64)
    v = z = torch.zeros(2, 5, dtype=torch.float64)
    spikes, membranes = [], []
    for i in x:
        new_v = decay * v + (1.0 - decay) * i - z * threshold
        z = silenced(step((v - threshold) / threshold, triangular), spikes, refractory)
        v = new_v
        spikes.append(z)
        membranes.append(v)
    neuron = LIF.preset("srnn", threshold=threshold, refractory=float(refractory))
    check(neuron, x, torch.stack(spikes), torch.stack(membranes), backend)


@backends
@pytest.mark.parametrize(
    ("preset", "tau_a", "beta", "refractory"), [("srnn", 200.0, 1.6, 0), ("lsnn", 700.0, 1.8, 5)]
)
def test_lsnn_adaptive_lif(preset: str, tau_a: float, beta: float, refractory: int, backend: Backend) -> None:
    """b = rho b + (1 - rho) z, thr = 0.01 + beta b; v and z as above, both with the adaptive thr."""
    decay, rho = math.exp(-1.0 / 20.0), math.exp(-1.0 / tau_a)
    betas = torch.tensor([0.0, 0.0, beta, beta, beta], dtype=torch.float64)
    x = drive(0.0, 0.1, torch.float64)
    v = z = b = torch.zeros(2, 5, dtype=torch.float64)
    spikes, membranes, adaptations = [], [], []
    for i in x:
        b = rho * b + (1.0 - rho) * z
        thr = 0.01 + betas * b
        new_v = decay * v + (1.0 - decay) * i - z * thr
        z = silenced(step((v - thr) / thr, triangular), spikes, refractory)
        v = new_v
        spikes.append(z)
        membranes.append(v)
        adaptations.append(b)
    neuron = AdaptiveLIF.preset(preset, beta=betas)
    assert AdaptiveLIF.preset(preset).beta == beta
    check(neuron, x, torch.stack(spikes), torch.stack(membranes), backend)
    run = sequence(neuron, x, record=["b"], backend=backend)
    assert torch.equal(run.traces["b"], torch.stack(adaptations))


@backends
@pytest.mark.parametrize("refractory", [0, 3])
def test_eprop_adaptive_lif(refractory: int, backend: Backend) -> None:
    """v = alpha v + i - z thr, b = rho b + z with the last step's z; x = (v - (thr + beta b))/thr."""
    decay, rho, threshold, beta = math.exp(-1.0 / 20.0), math.exp(-1.0 / 2000.0), 0.6, 0.17
    x = drive(0.0, 0.3, torch.float64)
    v = z = b = silent = torch.zeros(2, 5, dtype=torch.float64)
    spikes, membranes, adaptations = [], [], []
    for i in x:
        v = decay * v + i - z * threshold
        b = rho * b + z
        z = torch.where(silent > 0, 0.0, step((v - (threshold + beta * b)) / threshold, triangular))
        silent = torch.where(z > 0, float(refractory), (silent - 1.0).clamp(min=0.0))
        spikes.append(z)
        membranes.append(v)
        adaptations.append(b)
    neuron = AdaptiveLIF.preset(
        "eprop", threshold=threshold, tau_a=2000.0, beta=beta, refractory=float(refractory)
    )
    check(neuron, x, torch.stack(spikes), torch.stack(membranes), backend)
    run = sequence(neuron, x, record=["b"], backend=backend)
    assert torch.equal(run.traces["b"], torch.stack(adaptations))


@backends
def test_adding_problem_cell(backend: Backend) -> None:
    """v = alpha v + (1 - alpha) 2 I; b = rho b + (1 - rho) z of the last step, rho = 1/e; v <- v (1 - z)."""
    decay, rho = math.exp(-1.0 / 20.0), math.exp(-1.0)
    x = drive(-2.0, 8.0, torch.float64)
    v = z = b = torch.zeros(2, 5, dtype=torch.float64)
    spikes, membranes = [], []
    for i in x:
        v = decay * v + (1.0 - decay) * (2.0 * i)
        b = rho * b + (1.0 - rho) * z
        threshold = 1.0 + 0.1 * b
        z = step((v - threshold) / threshold, triangular, strict=False)
        v = (1.0 - z) * v
        spikes.append(z)
        membranes.append(v)
    check(AdaptiveLIF.preset("adding"), x, torch.stack(spikes), torch.stack(membranes), backend)


@backends
@pytest.mark.parametrize("refractory", [0, 3])
def test_eprop_lif(refractory: int, backend: Backend) -> None:
    """v = alpha v + i - z thr with the last step's z; psi = 0.3/thr max(0, 1 - |x|), 0 while refractory."""
    decay, threshold = math.exp(-1.0 / 20.0), 0.6
    x = drive(0.0, 0.3, torch.float64)
    v = z = torch.zeros(2, 5, dtype=torch.float64)
    silent = torch.zeros(2, 5)
    spikes, membranes = [], []
    for i in x:
        v = decay * v + i - z * threshold
        z = torch.where(silent > 0, 0.0, step((v - threshold) / threshold, triangular))
        silent = torch.where(z > 0, float(refractory), (silent - 1.0).clamp(min=0.0))
        spikes.append(z)
        membranes.append(v)
    neuron = LIF.preset("eprop", threshold=threshold, refractory=float(refractory))
    check(neuron, x, torch.stack(spikes), torch.stack(membranes), backend)


def test_every_preset_can_be_built_and_keeps_its_name_out_of_the_options() -> None:
    for cls in catalogue(Neuron).values():
        for name, options in cls.presets.items():
            neuron = cls.preset(name)
            assert all(getattr(neuron, key) == value for key, value in options.items()), name
            assert isinstance(getattr(neuron, "surrogate", None), Surrogate | None)


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'snntorch'"):
        LIF.preset("snntorhc")
