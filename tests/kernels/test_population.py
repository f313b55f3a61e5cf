"""The population kernel: splits, lanes, factors, reductions, and what the ordinary products make of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from rheobase.kernels.constant import Constant
from rheobase.kernels.population import lanes_for, run_population
from rheobase.kernels.population_parts import Batch, Cells, Stage, Weights
from rheobase.kernels.products import prefers_onednn
from rheobase.kernels.reduction import Reduction
from rheobase.kernels.vectors import WIDE
from rheobase.layers.dense import Dense
from rheobase.layers.members import batch_for, run_members
from rheobase.layers.network import Network
from rheobase.layers.neurons import Neurons
from rheobase.neurons.lif import LIF

NEURON = LIF(tau_m=6.0, timing="delayed")
COUNT = [Reduction("spikes", "sum")]


def stages(members: int, inputs: int = 3, hidden: int = 4, outputs: int = 10, rank: int = 0) -> list[Stage]:
    """A network whose weights, or factors beside one for all, are the members' own."""
    g = torch.Generator().manual_seed(1)

    def weights(rows: int, columns: int) -> Weights:
        if not rank:
            return Weights(torch.randn(members, rows, columns, generator=g))
        left = 0.2 * torch.randn(members, rows, rank, generator=g)
        return Weights(
            torch.randn(1, rows, columns, generator=g),
            left,
            torch.randn(members, rank, columns, generator=g),
        )

    return [
        Stage(
            (Cells(NEURON, hidden),), weights(hidden, inputs), 0.1 * torch.randn(members, hidden, generator=g)
        ),
        Stage((Cells(NEURON, outputs),), weights(outputs, hidden)),
    ]


def some_spikes(batch: int = 70, steps: int = 40, inputs: int = 3) -> Tensor:
    return (torch.rand(steps, batch, inputs, generator=torch.Generator().manual_seed(2)) < 0.2).float()


def slices(stage: Stage, part: slice) -> Stage:
    """The stage of some members."""
    w = stage.weights
    bias = None if stage.bias is None else stage.bias[part]
    return Stage(stage.cells, Weights(w.weight[part], w.left, w.right), bias)


def test_results_depend_on_neither_lanes_nor_splits_nor_threads() -> None:
    net, x = stages(5), some_spikes()
    (whole,), _ = run_population(net, Batch.of(x, 64), COUNT)
    assert whole.shape == (5, 70, 10)
    assert 0.01 < float(whole.mean()) / 40 < 0.5
    (narrow,), _ = run_population(net, Batch.of(x, 16), COUNT)
    assert torch.equal(narrow, whole)
    parts = [
        run_population([slices(s, part) for s in net], Batch.of(x, 64), COUNT)[0][0]
        for part in (slice(0, 2), slice(2, 5))
    ]
    assert torch.equal(torch.cat(parts), whole)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert torch.equal(run_population(net, Batch.of(x, 64), COUNT)[0][0], whole)
    finally:
        torch.set_num_threads(threads)


def test_the_same_bits_as_products_through_onednn() -> None:
    # Weights of any value: oneDNN adds in ascending order from zero, and the bias last, as the kernel does.
    torch.manual_seed(0)
    net = Network(
        fc=Dense(3, 4, gain=4.0), hidden=Neurons(NEURON), out=Dense(4, 10, gain=4.0), readout=Neurons(NEURON)
    )
    x = some_spikes()
    if not prefers_onednn(x[..., 0].numel(), 3, 4, torch.float32):
        pytest.skip("torch was built without oneDNN")
    values = {n: p.detach() * (1 + 0.2 * torch.randn(3, *p.shape)) for n, p in net.named_parameters()}
    (counts,), _ = run_members(net, values, batch_for(net, x), COUNT)
    for member in range(3):
        with torch.no_grad():
            own = {name: value[member] for name, value in values.items()}
            expected = functional_call(net, own, (x,), {"record": ["readout.spikes"]})["readout.spikes"].sum(
                0
            )
        assert float(expected.sum()) > 100
        assert torch.equal(counts[member], expected)


@pytest.mark.parametrize("constant", [False, True])
def test_factors_are_the_matrices_that_they_make(constant: bool) -> None:
    low = stages(4, rank=2)
    full = [
        Stage(s.cells, Weights(s.weights.weight + s.weights.left @ s.weights.right), s.bias)  # type: ignore[operator]
        for s in low
    ]
    x: Tensor | Constant = some_spikes()
    if constant:
        x = Constant(torch.rand(70, 3, generator=torch.Generator().manual_seed(3)), 40)
    (by_factors,), _ = run_population(low, Batch.of(x, 64), COUNT)
    (by_matrices,), _ = run_population(full, Batch.of(x, 64), COUNT)
    assert float(by_matrices.mean()) > 0.4
    # Rounding may move a spike over the threshold, of the 4 x 70 x 10 x 40 that there could be.
    assert float((by_factors - by_matrices).abs().sum()) <= 2


def test_sums_of_membranes_differ_by_rounding_at_most() -> None:
    reductions = [Reduction("v", "sum"), Reduction("v", "sum", window=7)]
    (total, end), (v,) = run_population(stages(2), Batch.of(some_spikes(), 64), reductions, ["v"])
    for member in range(2):
        for reduction, got in zip(reductions, (total, end), strict=True):
            exact = Reduction(reduction.signal, "sum", reduction.window).of(v[member].double())
            torch.testing.assert_close(got[member].double(), exact, rtol=1e-5, atol=1e-5)
            whole_vectors = reduction.of(v[member].contiguous()).flatten()[:640]  # of 700
            assert torch.equal(got[member].flatten()[:640], whole_vectors)


def test_blocks_are_no_wider_than_the_batch_and_the_cache() -> None:
    wide = stages(1, hidden=40)
    assert [lanes_for(wide, samples, 4) for samples in (1, 16, 17, 32, 33, 600)] == [16, 16, 32, 32, 64, 64]
    assert lanes_for(stages(1), 600, 4) == (16 if WIDE else 64)  # few neurons: in registers
    assert lanes_for(stages(1), 600, 8) == 64
    assert lanes_for(stages(1, hidden=100), 600, 4) == 32
    assert lanes_for(stages(1, hidden=1000), 600, 4) == 16


def test_a_window_is_of_sums_only() -> None:
    with pytest.raises(ValueError, match="got 3 for 'max', wanted at least 1, for 'sum'"):
        Reduction("v", "max", window=3)
