"""The number of threads changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from rheobase.kernels.sequence import sequence
from rheobase.kernels.threads import SMALL, split
from rheobase.neurons.lif import LIF


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("per_neuron", [False, True])
def test_results_do_not_depend_on_the_number_of_threads(per_neuron: bool) -> None:
    steps, batch, size = 10, 3, 1501
    assert steps * batch * size > SMALL
    x = 2 * torch.rand(steps, batch, size, generator=torch.Generator().manual_seed(0))
    tau = torch.linspace(3, 30, size) if per_neuron else torch.tensor(10.0)
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        current, leaf = x.clone().requires_grad_(), tau.clone().requires_grad_()
        run = sequence(LIF(tau_m=leaf), current, record=["v"], backend="numba")
        gradients = torch.autograd.grad((run.output * run.traces["v"]).sum(), [current, leaf])
        results.append([run.output, run.traces["v"], run.state["v"], *gradients])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("size", [1, 3, 31, 64, 1000])
@pytest.mark.parametrize("work", [0, SMALL])
def test_the_parts_are_the_whole(threads: int, size: int, work: int) -> None:
    torch.set_num_threads(threads)
    seen = [0] * size

    def visit(low: int, high: int) -> None:
        for i in range(low, high):
            seen[i] += 1

    split(visit, size, work)
    assert seen == [1] * size


def test_an_error_in_a_part_is_not_lost() -> None:
    torch.set_num_threads(2)

    def fail(low: int, high: int) -> None:
        if low:
            raise RuntimeError("second part")

    with pytest.raises(RuntimeError, match="second part"):
        split(fail, 100, SMALL)
