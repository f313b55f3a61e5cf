"""Kernels bound to shapes, and the memory and the moves of a call."""

from __future__ import annotations

import itertools

import pytest
import torch

from rheobase.kernels import threads
from rheobase.kernels.bound import Bound, Form, Room, bits
from rheobase.kernels.cache import Kernel
from rheobase.kernels.moves import Move, Moves
from rheobase.kernels.workspace import APART
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.layers.neurons import Neurons
from rheobase.layers.recurrent import Recurrent
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF

SOURCE = """
import numba


@numba.njit(nogil=True, error_model="numpy")
def scale(x, factor, shift, low, high):
    for i in range(low, high):
        for j in range(x.shape[1]):
            x[i, j] = factor * x[i, j] + shift
"""


@pytest.mark.parametrize("count", [1, 2])
def test_a_bound_kernel_takes_addresses(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "SMALL", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        kernel = Kernel(SOURCE, "scale", "test scale")
        bound = Bound(kernel, [Form(torch.float32, (37, 3)), Form(torch.float32), None], 37, 1)
        for factor, shift in ((2.0, 1), (-0.1, 0)):
            x = torch.rand(37, 3)
            expected = torch.tensor(factor) * x + shift
            bound.run([x.data_ptr(), bits(factor), shift])
            assert torch.equal(x, expected)
    finally:
        torch.set_num_threads(before)


def test_arrays_of_a_room_share_no_cache_line() -> None:
    forms = [Form(torch.float32, (3,)), Form(torch.bool, (5, 7)), Form(torch.int64, (40,))]
    room = Room(forms, torch.float32)
    memory = room.zeros()
    starts = room.addresses(memory)
    assert not memory.any()
    assert all(start % APART == 0 for start in starts)
    ends = [start + form.bytes for start, form in zip(starts, forms, strict=True)]
    assert all(end <= start for end, start in itertools.pairwise([ends[0], *starts[1:], ends[1]][:2]))
    assert ends[1] <= starts[2]
    assert memory.data_ptr() <= starts[0]
    assert ends[2] <= memory.data_ptr() + 4 * memory.numel()
    room.view(memory, 0, (3,), (1,)).fill_(1.0)
    assert int(memory.count_nonzero()) == 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("rows", "columns"), [(1, 5), (33, 17), (100, 100)])
def test_moves(rows: int, columns: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(rows)
    plain, parts = (
        torch.rand(*shape, dtype=dtype, generator=generator)
        for shape in ((rows, columns), (3, rows + 1, columns + 2))
    )
    mask = torch.rand(rows, columns, generator=generator) < 0.5
    across = mask.t().contiguous()
    kept = plain.clone()
    moved = [
        torch.zeros(*shape, dtype=dtype)
        for shape in ((rows, columns + 3), (columns, rows + 3), (rows, columns), (columns, rows))
    ]
    moves = Moves(
        [
            Move(rows, columns, columns, columns + 3),
            Move(rows, columns, columns, rows + 3, transposed=True, masked=1),
            Move(rows, columns, columns, columns, masked=1),
        ],
        dtype,
    )
    moves.run([plain.data_ptr()] * 3, [x.data_ptr() for x in moved[:3]], mask.data_ptr())
    total = parts[0] + parts[1] + parts[2]
    shared = (rows, columns, columns + 2, rows, True, 3, (rows + 1) * (columns + 2), 2)
    Moves([Move(*shared)], dtype).run([parts.data_ptr()], [moved[3].data_ptr()], across.data_ptr())
    assert torch.equal(plain, kept)
    assert torch.equal(moved[0][:, :columns], plain)
    assert not moved[0][:, columns:].any()
    assert torch.equal(moved[1][:, :rows], (plain * mask).t())
    assert torch.equal(moved[2], plain * mask)
    assert torch.equal(moved[3], total[:rows, :columns].t() * across)


def test_two_graphs_of_the_same_shapes_live_side_by_side() -> None:
    """What is settled once for a shape is nothing that a call writes to."""
    torch.manual_seed(0)
    network = Network(
        front=Dense(3, 40), hidden=Recurrent(LIF(tau_m=5.0), 40, gain=2.0), out=Dense(40, 2),
        readout=Neurons(LeakyIntegrator()),
    )  # fmt: skip
    inputs = [3.0 * torch.rand(60, 32, 3), 2.0 * torch.rand(60, 32, 3)]

    def gradients(output: torch.Tensor) -> list[torch.Tensor]:
        found = torch.autograd.grad(output.square().sum(), list(network.parameters()))
        return list(found)

    alone = [gradients(network(x).output) for x in inputs]
    both = [network(x).output for x in inputs]
    together = [gradients(output) for output in both]
    again = [gradients(output) for output in reversed([network(x).output for x in inputs])][::-1]
    assert not torch.equal(alone[0][0], alone[1][0])
    for one, two, three in zip(alone, together, again, strict=True):
        for a, b, c in zip(one, two, three, strict=True):
            assert a.abs().sum() > 0
            assert torch.equal(a, b)
            assert torch.equal(a, c)
