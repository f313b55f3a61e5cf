"""The population kernel for networks of a few neurons: what that for any number makes, to the last bit."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from rheobase.kernels.constant import Constant
from rheobase.kernels.lane_body import emits_spikes
from rheobase.kernels.population import lanes_for, run_population
from rheobase.kernels.population_parts import Batch, Cells, Stage, Weights
from rheobase.kernels.population_unrolled import LANES, unrolls
from rheobase.kernels.reduction import Reduction
from rheobase.kernels.trace import trace
from rheobase.kernels.vectors import WIDE
from rheobase.neurons.base import Neuron
from rheobase.neurons.conductance_lif import ConductanceLIF
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.neurons.synaptic_lif import SynapticLIF

pytestmark = pytest.mark.skipif(not WIDE, reason="it takes AVX-512")

MEMBERS, STEPS, SAMPLES = 3, 40, 45
DELAYED = LIF(tau_m=6.0, timing="delayed", threshold=0.8)
LATE = SynapticLIF(tau_m=5.0, tau_s=2.0, timing="late", reset="value", refractory=2.0)
SPIKES = [Reduction("spikes", "sum"), Reduction("spikes", "sum", window=9), Reduction("spikes", "first")]
MEMBRANE = [Reduction("v", how) for how in ("sum", "max", "last")] + [Reduction("v", "sum", window=7)]


def stages(sizes: Sequence[int], neurons: Sequence[Neuron], *, shared: bool = False) -> list[Stage]:
    """A network whose weights are the members' own, but for the first, if they are shared."""
    g = torch.Generator().manual_seed(3)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g)

    return [
        Stage(
            (Cells(neuron, size),),
            Weights(2.0 * drawn(1 if shared and at == 0 else MEMBERS, size, before)),
            0.3 * drawn(MEMBERS, size) if at != 1 else None,
        )
        for at, (before, size, neuron) in enumerate(zip(sizes, sizes[1:], neurons, strict=False))
    ]


def some_input(feed: str, width: int) -> Tensor | Constant:
    g = torch.Generator().manual_seed(4)
    if feed == "spikes":
        return (torch.rand(STEPS, SAMPLES, width, generator=g) < 0.2).float()
    if feed == "values":
        return torch.rand(STEPS, SAMPLES, width, generator=g)
    return Constant(torch.rand(SAMPLES, width, generator=g), STEPS)


@pytest.mark.parametrize(
    ("feed", "sizes", "neurons", "reductions"),
    [
        # Sums of up to four inputs are looked up where the processor can.
        ("spikes", (3, 4, 2), (DELAYED, DELAYED), SPIKES),
        ("spikes", (4, 1, 2), (LATE, LeakyIntegrator(tau_m=9.0)), MEMBRANE),
        ("values", (2, 2), (DELAYED,), []),
        ("shared", (3, 2), (DELAYED,), []),
    ],
)
def test_the_same_bits_as_the_kernel_for_any_size(
    feed: str,
    sizes: tuple[int, ...],
    neurons: tuple[Neuron, ...],
    reductions: list[Reduction],
) -> None:
    net = stages(sizes, neurons, shared=feed == "shared")
    assert lanes_for(net, SAMPLES, 4) == LANES
    spiking = emits_spikes(trace(neurons[-1]))
    signals = ["spikes"] if spiking else ["v"]
    x = some_input(feed, sizes[0])
    small = run_population(net, Batch.of(x, LANES), reductions, signals)
    loops = run_population(net, Batch.of(x, 64), reductions, signals)
    for got, expected in zip((*small[0], *small[1]), (*loops[0], *loops[1]), strict=True):
        assert torch.equal(got, expected)
        assert len(got.unique()) > 1
    if spiking:
        assert 0.02 < float(small[1][0].mean()) < 0.9


def test_factors_of_a_few_weights_are_multiplied() -> None:
    g = torch.Generator().manual_seed(5)
    left, right = torch.randn(MEMBERS, 4, 1, generator=g), torch.randn(MEMBERS, 1, 3, generator=g)
    shared, x = torch.randn(1, 4, 3, generator=g), some_input("spikes", 3)
    by_factors, by_matrices = (
        run_population([Stage((Cells(DELAYED, 4),), w)], Batch.of(x, LANES), SPIKES[:1])[0][0]
        for w in (Weights(shared, left, right), Weights(shared + left @ right))
    )
    assert torch.equal(by_factors, by_matrices)
    assert float(by_matrices.mean()) > 0.4


def test_who_is_served() -> None:
    lif, integrator = [trace(DELAYED)], [trace(LeakyIntegrator())]
    assert unrolls([lif, lif], (3, 4, 10), 4)
    assert unrolls([lif, integrator], (3, 4, 10), 4)
    assert not unrolls([lif, lif], (3, 4, 10), 8), "half as many numbers to a register"
    assert not unrolls([integrator, lif], (3, 4, 10), 4), "the second stage's inputs are not spikes"
    assert not unrolls([lif, lif], (3, 4, 17), 4), "too many neurons"
    assert not unrolls([lif, lif], (5, 4, 10), 4), "too many inputs"
    assert not unrolls([[trace(ConductanceLIF())], lif], (3, 4, 10), 4), "two inputs a neuron"
    assert not unrolls([[*lif, *lif], lif], (3, 4, 10), 4), "two groups"
