"""Rules that go on from part to part of a long sequence: what they hold does not grow with its length."""

from __future__ import annotations

import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch

from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.layers.neurons import Neurons
from rheobase.layers.recurrent import Recurrent
from rheobase.neurons.adaptive_lif import AdaptiveLIF
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.rules.base import Lesson, Memory
from rheobase.rules.eprop import Eprop

INPUTS, NEURONS, SAMPLES = 20, 50, 4


def _growth(rule: Eprop, part: int) -> int:
    """By how much the largest resident memory of this process grows over 100,000 steps, in kB."""
    torch.manual_seed(0)
    net = Network(
        input=Dense(INPUTS, NEURONS),
        hidden=Recurrent(AdaptiveLIF(), NEURONS),
        output=Dense(NEURONS, 1),
        readout=Neurons(LeakyIntegrator()),
    )
    generator = torch.Generator().manual_seed(1)
    memory: Memory = rule.begin(net, generator)

    def learn(parts: int) -> int:
        """Largest resident memory of this process so far, in kB, after so many parts more."""
        nonlocal memory
        for _ in range(parts):
            x = (torch.rand(part, SAMPLES, INPUTS, generator=generator) < 0.05).float()
            lesson = Lesson(x, lambda record: (record.output - 1.0).square().mean())
            memory = rule.accumulate(net, lesson, memory).memory
            assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in net.parameters())
            net.zero_grad()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before, held = learn(3), {name: value.shape for name, value in memory.items()}
    growth = learn(100_000 // part - 3) - before
    assert {name: value.shape for name, value in memory.items()} == held
    return growth


@pytest.mark.parametrize(
    ("rule", "part"),
    [
        (Eprop(continuous=True), 1000),
        pytest.param(Eprop(continuous=True, window=1, feedback="random"), 1000, marks=pytest.mark.slow),
    ],
    ids=["adjoints", "step by step"],
)
def test_a_sequence_of_100_000_steps_takes_the_memory_of_a_part(rule: Eprop, part: int) -> None:
    # In a process of its own: what other tests left in this one's memory decides what has to be added to it.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        growth = process.submit(_growth, rule, part).result()
    # One number per neuron, sample and step would be 80,000 kB, and each rule needs several.
    assert growth < 20_000
