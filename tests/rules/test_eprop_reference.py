"""E-prop against the losses of NEST 3's own test, to all the digits that are printed there.

Five updates each of its two tasks, from its weights and inputs (NumPy's generator, seed 1). The numbers are
those of `testsuite/pytests/test_eprop_bsshslm_2020_plasticity.py` (NEST's `loss_nest_reference`, which agrees
with the original TensorFlow code to 1e-7 and 1e-6). A refractory time of 5 ms there is one of 4 steps here.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rheobase.layers.dense import Dense
from rheobase.layers.network import Network, Record
from rheobase.layers.neurons import Neurons
from rheobase.layers.recurrent import Recurrent
from rheobase.neurons.adaptive_lif import AdaptiveLIF
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.rules.base import Lesson
from rheobase.rules.eprop import Eprop
from rheobase.surrogate import Triangular

RATE = 0.010  # 10 Hz, in spikes per step
SINES = [101.964356999041, 103.466731126205, 103.340607074771, 103.680244037686, 104.412775748752]
EVIDENCE = [0.741152550006, 0.740388187700, 0.665785233177, 0.663644193322, 0.729428962844]


def normal(random: np.random.RandomState, inputs: int, outputs: int) -> Tensor:
    """Weights `[to, from]`, rounded to float32 as there."""
    return torch.from_numpy((random.randn(inputs, outputs).T / np.sqrt(inputs)).astype(np.float32))


def network(neurons: Any, size: int | None, tau: float, *weights: Tensor) -> Network:
    first, between, last = weights
    net = Network(
        input=Dense(first.shape[1], first.shape[0], bias=False),
        hidden=Recurrent(neurons, size),
        output=Dense(last.shape[1], last.shape[0], bias=False),
        readout=Neurons(LeakyIntegrator(tau_m=tau, scaling="leak")),
    ).double()
    with torch.no_grad():
        for parameter, weight in zip(net.parameters(), (first, between, last), strict=True):
            parameter.copy_(weight)
            if weight is between:
                parameter.fill_diagonal_(0.0)
    return net


def price(record: Record) -> Tensor:
    """What neurons pay for other rates than 10 Hz."""
    return 150.0 * (record["hidden.spikes"].mean((0, 1)) - RATE).square().sum()


def test_sines() -> None:
    random, size, steps = np.random.RandomState(1), 100, 1000
    weights = [normal(random, size, n) for n in (size, size, 1)]
    feedback = torch.from_numpy((random.randn(size, 1) / np.sqrt(size)).astype(np.float32)).double()
    spikes = random.rand(steps, size) < 0.05
    spikes[0] = False
    heights, phases = random.uniform(0.5, 2.0, 4), random.uniform(0.0, 2.0 * np.pi, 4)
    target = sum(
        h * np.sin(np.linspace(p, p + 2.0 * np.pi * (steps // period), steps))
        for h, p, period in zip(heights, phases, (1000, 500, 333, 200), strict=True)
    )
    target -= target[0]
    wanted = torch.from_numpy(target / np.abs(target).max())[:, None, None]
    neuron = LIF.preset("eprop", tau_m=30.0, threshold=0.03, scaling="leak", detach=True)
    net = network(neuron, size, 30.0, *weights)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4)
    losses = []

    def objective(record: Record) -> Tensor:
        loss = 0.5 * (record.output - wanted).square().sum()
        losses.append(loss.item())
        return loss + price(record)

    lesson = Lesson(torch.from_numpy(spikes).double()[:, None], objective, ("hidden.spikes",))
    for _ in SINES:
        optimizer.zero_grad()
        Eprop(feedback="random").accumulate(net, lesson, {"feedback.hidden": feedback.t()})
        optimizer.step()
    np.testing.assert_allclose(losses, SINES, rtol=1e-11)


def evidence(random: np.random.RandomState, recall: int, steps: int) -> tuple[Tensor, int]:
    """Spikes `[T, 1, 40]` of a trial, and the side with more cues."""
    chances = np.array([0.3, 0.7], dtype=np.float32)
    likelier = random.choice([0, 1], 1)[0]
    cues = random.choice([0, 1], 7, p=[chances[likelier], chances[1 - likelier]])
    share = np.zeros((steps, 40))
    for k, cue in enumerate(cues):
        share[150 * k + 50 : 150 * k + 150, 10 * cue : 10 * cue + 10] = 0.04
    share[-recall:, 20:30] = 0.04
    share[:, 30:] = 0.01
    spikes = share > random.rand(share.size).reshape(share.shape)
    spikes[0] = False
    return torch.from_numpy(spikes).double()[:, None], int(cues.sum() > 3)


def test_evidence() -> None:
    random, inputs, size, recall, steps = np.random.RandomState(1), 40, 100, 150, 2250
    first, between = normal(random, inputs, size), normal(random, size, size)
    limit = math.sqrt(3.0 / ((size + 2) / 2.0))
    last = torch.from_numpy(random.uniform(-limit, limit, (size, 2)).T.astype(np.float32))
    feedback = torch.from_numpy(random.randn(size, 2).astype(np.float32)).double()
    trials = [evidence(random, recall, steps) for _ in EVIDENCE]
    options: dict[str, Any] = {"threshold": 0.6, "refractory": 4.0, "detach": True, "surrogate": Triangular()}
    beta = 1.7 * math.expm1(-1.0 / 2000.0) / math.expm1(-1.0 / 20.0)
    regular = LIF.preset("eprop", tau_m=20.0, **options)
    adaptive = AdaptiveLIF.preset("eprop", tau_m=20.0, tau_a=2000.0, beta=beta, **options)
    groups = {"regular": (regular, 50), "adaptive": (adaptive, 50)}
    net = network(groups, None, 20.0, first, between, last)
    means = [(torch.zeros_like(p), torch.zeros_like(p)) for p in net.parameters()]
    losses: list[float] = []
    for i, (spikes, side) in enumerate(trials, start=1):

        def objective(record: Record, side: int = side) -> Tensor:
            loss = torch.nn.functional.cross_entropy(
                record.output[-recall:, 0], torch.tensor([side] * recall)
            )
            losses.append(loss.item())
            return loss + price(record) / recall

        net.zero_grad()
        lesson = Lesson(spikes, objective, ("hidden.spikes",))
        Eprop(feedback="random").accumulate(net, lesson, {"feedback.hidden": feedback.t()})
        # Adam with epsilon beside the uncorrected root, as there and in TensorFlow.
        rate = 5e-3 * math.sqrt(1.0 - 0.999**i) / (1.0 - 0.9**i)
        for parameter, (m, v) in zip(net.parameters(), means, strict=True):
            assert parameter.grad is not None
            m.lerp_(parameter.grad, 0.1)
            v.lerp_(parameter.grad.square(), 0.001)
            parameter.data -= rate * m / (v.sqrt() + 1e-8)
    np.testing.assert_allclose(losses, EVIDENCE, rtol=1e-10)
