"""Gradients against central differences, with each surrogate's primitive in place of the step."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from neuron_cases import perturbed, spiking_neurons
from torch import Tensor

from rheobase.kernels.sequence import Backend, sequence
from rheobase.neurons.spiking import SpikingNeuron
from rheobase.registry import catalogue
from rheobase.surrogate import Surrogate, smoothed

SPIKING = spiking_neurons()
SURROGATES = list(catalogue(Surrogate).values())
STEP = 1e-6

#: One neuron for each surrogate and one surrogate for each neuron: what the kernels compile for.
DIAGONAL = list(zip(itertools.cycle(SPIKING), SURROGATES, strict=False))


def check(cls: type[SpikingNeuron], surrogate: type[Surrogate], backend: Backend, **options: Any) -> None:
    names = cls.parameter_names()
    generator = torch.Generator().manual_seed(1)
    steps, size = 5, 2
    width = size * len(cls.inputs)
    current = 2.0 * torch.rand(steps, 1, width, generator=generator, dtype=torch.float64)
    probe = cls(surrogate=smoothed(surrogate()), detach=False, **options)
    start = {n: torch.rand(1, size, generator=generator, dtype=torch.float64) for n in probe.initial()}
    values = {
        n: torch.full((size,), perturbed(cls, n, getattr(cls(), n)), dtype=torch.float64) for n in names
    }
    leaves = [current, *start.values(), *values.values()]
    weigh = torch.randn(steps, 1, size, generator=generator, dtype=torch.float64)

    scale = max(1.0, abs(probe.threshold))  # membranes in mV would drown the differences in rounding

    def loss(*given: Tensor) -> Tensor:
        current, rest = given[0], given[1:]
        state = dict(zip(start, rest, strict=False))
        bound = probe.bind(dict(zip(values, rest[len(start) :], strict=True)))
        run = sequence(bound, current, state, record=["v"], backend=backend)
        trace, last = run.traces["v"] / scale, run.state["v"] / scale
        return (weigh * run.output).sum() + (trace**2 * weigh).sum() + last.sum()

    asked = [x.clone().requires_grad_() for x in leaves]
    found = torch.autograd.grad(loss(*asked), asked, allow_unused=True)
    for i, (leaf, gradient) in enumerate(zip(leaves, found, strict=True)):
        for j in range(leaf.numel()):
            ends = []
            for sign in (1.0, -1.0):
                moved = [x.clone() for x in leaves]
                moved[i].view(-1)[j] += sign * STEP
                with torch.no_grad():
                    ends.append(loss(*moved))
            slope = float(ends[0] - ends[1]) / (2 * STEP)
            got = 0.0 if gradient is None else float(gradient.view(-1)[j])
            assert got == pytest.approx(slope, rel=1e-6, abs=1e-6), f"leaf {i}, entry {j}"


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("cls", SPIKING)
def test_reference(cls: type[SpikingNeuron], surrogate: type[Surrogate]) -> None:
    check(cls, surrogate, "torch", reset="subtract")
    check(cls, surrogate, "torch", reset="value", timing="delayed", relative=True)


@pytest.mark.parametrize("timing", ["immediate", "delayed", "old", "late"])
@pytest.mark.parametrize("reset", ["subtract", "value", "none"])
@pytest.mark.parametrize("cls", SPIKING)
def test_reference_in_every_order(cls: type[SpikingNeuron], reset: str, timing: str) -> None:
    check(cls, SURROGATES[0], "torch", reset=reset, timing=timing)


@pytest.mark.parametrize(("cls", "surrogate"), DIAGONAL)
def test_kernel(cls: type[SpikingNeuron], surrogate: type[Surrogate]) -> None:
    check(cls, surrogate, "numba", reset="subtract")


@pytest.mark.slow
@pytest.mark.parametrize("reset", ["subtract", "value"])
@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("cls", SPIKING)
def test_kernel_everywhere(cls: type[SpikingNeuron], surrogate: type[Surrogate], reset: str) -> None:
    check(cls, surrogate, "numba", reset=reset)
