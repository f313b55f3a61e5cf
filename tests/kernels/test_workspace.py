"""Buffers are used again once their tensors are dead, and not a moment earlier."""

from __future__ import annotations

import gc
import itertools
import threading
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rheobase.kernels import workspace
from rheobase.kernels.workspace import ALIGN, SMALL, clear, empty, zeros

SHAPE = (131, 1001)
BYTES = 4 * 131 * 1001
CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def _no_tensors_of_other_tests() -> None:
    gc.collect()


@pytest.fixture(autouse=True)
def _no_idle_buffers() -> Iterator[None]:
    assert BYTES >= SMALL
    clear()
    yield
    clear()


def span(x: Tensor) -> tuple[int, int]:
    return x.data_ptr(), x.data_ptr() + x.numel() * x.element_size()


def idle() -> int:
    """Bytes of idle buffers; the book-keeping must agree."""
    total = sum(size * len(buffers) for size, buffers in workspace._free.items())
    assert total == workspace._idle
    return total


def test_a_dead_tensors_buffer_is_used_again() -> None:
    x = empty(SHAPE, torch.float32)
    place = x.data_ptr()
    assert idle() == 0
    del x
    assert idle() == BYTES
    y = empty(SHAPE, torch.float32)
    assert y.data_ptr() == place
    assert idle() == 0


def test_any_shape_and_dtype_of_the_same_size_takes_it() -> None:
    x = empty((256, 1024), torch.float32)
    place = x.data_ptr()
    del x
    y = empty((512, 256), torch.float64)
    assert (y.data_ptr(), y.shape, y.dtype) == (place, (512, 256), torch.float64)
    del y
    z = empty((1 << 20,), torch.bool)
    assert (z.data_ptr(), z.dtype) == (place, torch.bool)


def test_another_size_does_not() -> None:
    x = empty(SHAPE, torch.float32)
    del x
    y = empty((132, 1001), torch.float32)
    assert idle() == BYTES
    assert y.shape == (132, 1001)


def test_a_living_tensors_buffer_is_its_own() -> None:
    x = empty(SHAPE, torch.float32).fill_(1.0)
    y = empty(SHAPE, torch.float32).fill_(2.0)
    assert span(x)[1] <= span(y)[0] or span(y)[1] <= span(x)[0]
    assert bool((x == 1.0).all())


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), max_size=24))
def test_living_tensors_never_share_memory(actions: list[tuple[int, int]]) -> None:
    shapes = [(SMALL // 4,), (SMALL // 4 + 3,), (3, SMALL // 4)]
    living: dict[int, tuple[float, Tensor]] = {}
    for number, (kind, slot) in enumerate(actions):
        if slot in living:
            del living[slot]
            continue
        x = empty(shapes[kind], torch.float32).fill_(float(number))
        living[slot] = (float(number), x)
        spans = sorted(span(y) for _, y in living.values())
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))
    for value, x in living.values():
        assert bool((x == value).all())


@pytest.mark.parametrize(
    "keep",
    [
        lambda x: x[3:5, ::7],
        lambda x: x.t(),
        lambda x: x.detach(),
        lambda x: x.numpy(),
        lambda x: x.untyped_storage(),
        lambda x: (x.requires_grad_() * x).sum(),  # the graph holds it
    ],
    ids=["slice", "transpose", "detached", "numpy", "storage", "graph"],
)
def test_what_looks_at_the_memory_keeps_it_alive(keep: object) -> None:
    x = empty(SHAPE, torch.float32).fill_(1.0)
    place = x.data_ptr()
    held = keep(x)  # type: ignore[operator]
    del x
    assert idle() == 0
    y = empty(SHAPE, torch.float32).fill_(2.0)
    assert y.data_ptr() != place
    del held
    assert idle() == BYTES


def test_a_saved_tensor_still_has_its_values_in_the_backward_pass() -> None:
    leaf = torch.ones(SHAPE, requires_grad=True)
    total = (leaf * empty(SHAPE, torch.float32).fill_(3.0)).sum()
    other = empty(SHAPE, torch.float32).fill_(5.0)
    (gradient,) = torch.autograd.grad(total, leaf)
    assert bool((gradient == 3.0).all())
    assert bool((other == 5.0).all())


@pytest.mark.parametrize("extra", [0, 1, 3, 17, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bool])
def test_alignment(extra: int, dtype: torch.dtype) -> None:
    tensors = [empty((SMALL + extra,), dtype) for _ in range(3)]
    assert all(x.data_ptr() % ALIGN == 0 for x in tensors)
    assert all(x.is_contiguous() and x.shape == (SMALL + extra,) for x in tensors)
    for x in tensors:
        x.fill_(1)  # to the last element


def test_idle_buffers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "KEPT", 2 * BYTES + 10)
    tensors = [empty(SHAPE, torch.float32) for _ in range(5)]
    while tensors:
        tensors.pop()
        assert idle() == min(5 - len(tensors), 2) * BYTES


def test_the_size_that_was_not_wanted_for_longest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def touch(rows: int) -> None:
        empty((rows, 1001), torch.float32)

    monkeypatch.setattr(workspace, "KEPT", 4 * 1001 * (131 + 132 + 133))
    for rows in (131, 132, 133, 131, 134):  # 131 is taken again, so 132 is the oldest
        touch(rows)
    # 134 takes the place of 132, and what is left is still too much: 133 goes as well.
    assert [size // 4004 for size in workspace._free] == [131, 134]
    assert idle() == 4004 * (131 + 134)


def test_a_tensor_larger_than_the_bound_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "KEPT", BYTES - 1)
    x = empty(SHAPE, torch.float32)
    del x
    assert idle() == 0
    assert not workspace._free


def test_clear() -> None:
    x, y = empty(SHAPE, torch.float32), empty(SHAPE, torch.float32).fill_(7.0)
    del x
    clear()
    assert idle() == 0
    assert bool((y == 7.0).all())
    del y
    assert idle() == BYTES


def test_what_is_small_or_of_another_dtype_is_torchs() -> None:
    for shape, dtype in (((SMALL // 4 - 1,), torch.float32), (SHAPE, torch.int64), ((0, 5), torch.float32)):
        x = empty(shape, dtype)
        assert (tuple(x.shape), x.dtype) == (shape, dtype)
        del x
        assert idle() == 0


def test_zeros_are_zeros_in_a_used_buffer() -> None:
    x = empty(SHAPE, torch.float32).fill_(float("nan"))
    place = x.data_ptr()
    del x
    y = zeros(SHAPE, torch.float32, CPU)
    assert y.data_ptr() == place
    assert torch.equal(y, torch.zeros(SHAPE))
    assert torch.equal(zeros((2, 3), torch.float64, CPU), torch.zeros(2, 3, dtype=torch.float64))


def test_zeros_on_another_device_are_torchs() -> None:
    assert zeros(SHAPE, torch.float32, torch.device("meta")).device.type == "meta"
    assert idle() == 0


def test_threads_do_not_get_each_others_buffers() -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        for turn in range(60):
            x = empty(SHAPE, torch.float32)
            mine = x.numpy()
            mine.fill(number * 1000 + turn)
            if not (mine == number * 1000 + turn).all():
                wrong.append(number)
            del x, mine

    workers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []
    assert BYTES <= idle() <= 4 * BYTES


def test_a_tensor_may_die_in_another_thread() -> None:
    box = [empty(SHAPE, torch.float32)]
    worker = threading.Thread(target=box.clear)
    worker.start()
    worker.join()
    assert idle() == BYTES
