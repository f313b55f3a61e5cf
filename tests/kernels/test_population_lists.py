"""The population kernel on lists of spikes: what that on blocks of samples makes, to the last bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from rheobase.kernels.population import lay_out, run_population
from rheobase.kernels.population_lists import RATE, suits_lists
from rheobase.kernels.population_parts import Batch, Cells, Stage, Weights
from rheobase.kernels.reduction import Reduction
from rheobase.neurons.adaptive_lif import AdaptiveLIF
from rheobase.neurons.base import Neuron
from rheobase.neurons.conductance_lif import ConductanceLIF
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF

MEMBERS, STEPS, SAMPLES, INPUTS = 3, 37, 21, 18
COUNT = [Reduction("spikes", "sum"), Reduction("spikes", "sum", window=9), Reduction("spikes", "first")]
MEMBRANE = [Reduction("v", how) for how in ("sum", "max", "last")] + [Reduction("v", "sum", window=7)]
LEAKY, ADAPTIVE = LIF(tau_m=6.0, timing="delayed", threshold=0.8), AdaptiveLIF(refractory=2.0)


def weights(g: torch.Generator, rows: int, columns: int, rank: int = 0, members: int = MEMBERS) -> Weights:
    drawn = torch.randn(1 if rank else members, rows, columns, generator=g) / columns**0.5
    if not rank:
        return Weights(drawn)
    left = 0.3 * torch.randn(members, rows, rank, generator=g)
    return Weights(drawn, left, 0.3 * torch.randn(members, rank, columns, generator=g))


def stage(
    cells: Sequence[tuple[Neuron, int]],
    before: int,
    *,
    seed: int = 0,
    rank: int = 0,
    delay: int = 0,
    own: bool = False,
) -> Stage:
    """A stage driven strongly enough to spike; its neurons' time constants are the members' own, or not."""
    g = torch.Generator().manual_seed(seed)
    size, columns = sum(n for _, n in cells), sum(n * len(c.inputs) for c, n in cells)
    groups = tuple(
        Cells(c, n, {"tau_m": 5.0 + torch.rand(MEMBERS, n, generator=g)} if own else {}) for c, n in cells
    )
    first = weights(g, columns, before, rank)
    return Stage(
        groups,
        first._replace(weight=4.0 * first.weight),
        0.1 * torch.rand(MEMBERS, columns, generator=g),
        weights(g, columns, size, rank) if delay else None,
        max(delay, 1),
    )


def some_spikes(rate: float = 0.2, inputs: int = INPUTS, dtype: torch.dtype = torch.float32) -> Tensor:
    drawn = torch.rand(STEPS, SAMPLES, inputs, generator=torch.Generator().manual_seed(2))
    return (drawn < rate).to(dtype)


FORMS = {
    "in the cache": [stage([(ADAPTIVE, 150)], INPUTS), stage([(LEAKY, 10)], 150, seed=1)],
    "a membrane": [stage([(LEAKY, 35)], INPUTS), stage([(LeakyIntegrator(tau_m=9.0), 17)], 35)],
    "factors": [stage([(LEAKY, 20)], INPUTS, rank=2, delay=1), stage([(LEAKY, 10)], 20, rank=17)],
    "groups": [
        stage([(LEAKY, 5), (ConductanceLIF(), 20)], INPUTS, delay=2),
        stage([(LEAKY, 3), (LEAKY, 4)], 25),
    ],
    "own parameters": [stage([(LEAKY, 19)], INPUTS, own=True), stage([(LEAKY, 10)], 19, own=True)],
}


@pytest.mark.parametrize("name", FORMS)
def test_the_same_bits_as_blocks_of_samples(name: str) -> None:
    net, spiking = FORMS[name], name != "a membrane"
    reductions, signals = (COUNT, ["spikes"]) if spiking else (MEMBRANE, ["v"])
    batch = Batch.of(some_spikes(dtype=torch.float32 if spiking else torch.float64), 32)
    blocks = run_population(net, batch, reductions, signals)
    lists = run_population(net, batch.listed(), reductions, signals)
    for got, expected in zip((*lists[0], *lists[1]), (*blocks[0], *blocks[1]), strict=True):
        assert got.shape == expected.shape
        assert torch.equal(got, expected)
        assert len(got.unique()) > 1
    if spiking:
        assert 0.01 < float(blocks[1][0].mean()) < 0.9


def test_results_depend_on_neither_splits_nor_threads() -> None:
    net, batch = FORMS["factors"], Batch.of(some_spikes(), 32).listed()
    whole = run_population(net, batch, COUNT, ["spikes"])[0][0]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        # Enough members for two threads; a thread comes back to weights that it has laid out before.
        many = [
            replace(
                s,
                bias=None if s.bias is None else s.bias.repeat(20, 1),
                weights=_repeated(s.weights),
                recurrent=None if s.recurrent is None else _repeated(s.recurrent),
            )
            for s in net
        ]
        both = run_population(many, batch, COUNT, ["spikes"])[0][0]
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(both, whole.repeat(20, 1, 1))


def _repeated(w: Weights) -> Weights:
    assert w.left is not None
    assert w.right is not None
    return Weights(w.weight, w.left.repeat(20, 1, 1), w.right.repeat(20, 1, 1))


@pytest.mark.parametrize("lanes", [16, 32, 64])
def test_lists_are_of_every_sample_and_step(lanes: int) -> None:
    x = some_spikes()
    batch = Batch.of(x, lanes)
    lists = batch.listed()
    assert batch.rate == pytest.approx(float(x.mean()))
    assert lists.spans is not None
    assert lists.width == INPUTS
    for b in range(SAMPLES):
        for t in range(STEPS):
            expected = np.flatnonzero(x[t, b].numpy()).tolist()
            assert lists.array[lists.spans[b, t] : lists.spans[b, t + 1]].tolist() == (expected or [INPUTS])


def test_who_is_served() -> None:
    rare, often = some_spikes(RATE / 2), some_spikes(3 * RATE)

    def served(net: Sequence[Stage], x: Tensor) -> bool:
        return lay_out(net, x).feed == "lists"

    many = [stage([(LEAKY, 20)], INPUTS), stage([(LEAKY, 10)], 20)]
    assert served(many, rare)
    assert not served(many, often), "blocks of samples are faster"
    assert not served(many, rare + 0.5), "not spikes"
    assert not served([stage([(LEAKY, 13)], INPUTS), stage([(LEAKY, 2)], 13)], rare), "too few neurons"
    membrane = [stage([(LeakyIntegrator(), 19)], INPUTS), stage([(LEAKY, 10)], 19)]
    assert not suits_lists(membrane, Batch.of(rare, 32)), "what the second stage gets is not spikes"
