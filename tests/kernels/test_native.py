"""Compiled kernels: their entries, the threads that run them, and loading one without Numba."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from rheobase.kernels import cache, threads
from rheobase.kernels.cache import Kernel
from rheobase.kernels.native import APART, pack

SOURCE = """
import numba
import numpy as np


@numba.njit(nogil=True, error_model="numpy")
def visit(x, factor, count, done, thread, low, high):
    for i in range(low, high):
        x[i] += factor * count
        done[i] = thread


@numba.njit(nogil=True, error_model="numpy")
def with_arrays(x, low, high):
    found = np.empty(high - low, np.float32)
    for i in range(low, high):
        found[i - low] = i
    for i in range(low, high):
        x[i] = found[i - low]
"""


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def visit(size: int, work: int) -> np.ndarray:
    x, done = np.zeros(size, np.float32), np.full(size, -1)
    Kernel(SOURCE, "visit", "test visit").run([x, np.float32(0.5), 3, done], size, work)
    assert (x == 1.5).all()
    return done


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_every_index_is_visited_once(size: int, count: int) -> None:
    torch.set_num_threads(count)
    assert set(visit(size, threads.SMALL)) <= set(range(count))
    assert set(visit(size, 0)) == {0}


@pytest.mark.parametrize("openmp", [False, True])
def test_both_kinds_of_threads(openmp: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if openmp and threads._openmp() is None:
        pytest.skip("torch has no GNU OpenMP here")
    if not openmp:
        monkeypatch.setattr(threads, "_openmp", lambda: None)
    torch.set_num_threads(2)
    for _ in range(50):
        visit(1000, threads.SMALL)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_has_threads_of_its_own() -> None:
    torch.set_num_threads(2)
    visit(1000, threads.SMALL)
    child = os.fork()
    if child == 0:
        try:
            visit(1000, threads.SMALL)
        finally:
            os._exit(0 if sys.exc_info()[0] is None else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_kernel_may_make_arrays() -> None:
    x = np.zeros(10, np.float32)
    Kernel(SOURCE, "with_arrays", "test arrays").prepare(x, 0, 10)(x, 3, 7)
    assert x.tolist() == [0, 0, 0, 3, 4, 5, 6, 0, 0, 0]


def test_slots() -> None:
    x, y = np.ones((2, 3)), torch.ones(4, dtype=torch.bool)
    call = pack([x, y, np.float32(0.5), True, 4])
    assert call.types == ("f8 2", "b1 1", "f4 0", "i", "i")
    slots = list(call.slots(1, 2, 9))
    assert slots[:8] == [0, 1, 1, 2, 9, 8, 8 + 8 + APART, 0]
    half = int(np.float64(0.5).view(np.int64))
    assert slots[8:16] == [x.ctypes.data, y.data_ptr(), half, 1, 4, 2, 3, 4]
    assert not any(slots[16:])
    for across, kind in ((x.T, "an array"), (torch.from_numpy(x).t(), "a tensor")):
        with pytest.raises(ValueError, match=rf"{kind} with strides .*, wanted a contiguous one"):
            pack([across])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int32, torch.int64, torch.uint8])
def test_a_tensor_and_its_array_are_the_same_argument(dtype: torch.dtype) -> None:
    x = torch.arange(6).to(dtype).reshape(2, 3)
    assert pack([x]) == pack([x.numpy()])


def test_loading_needs_no_numba() -> None:
    script = (
        "import sys, torch; from rheobase.kernels.sequence import sequence; "
        "from rheobase.neurons.lif import LIF; "
        "x = torch.ones(3, 1, 2, requires_grad=True); "
        "sequence(LIF(tau_m=7.0), x, backend='numba').output.sum().backward(); "
        "import rheobase as rb; from rheobase.kernels.constant import Constant; "
        "from rheobase.coding.losses import CrossEntropySum; "
        "net = rb.Network(a=rb.Dense(60, 70), b=rb.Neurons(LIF()), c=rb.Dense(70, 3), d=rb.Neurons(LIF())); "
        "v = net(Constant(torch.rand(128, 60) * (torch.rand(128, 60) < 0.2), 30), record=['d.v'])['d.v']; "
        "CrossEntropySum()(v, torch.zeros(128, dtype=torch.int64)).backward(); "
        "print('numba' in sys.modules)"
    )
    environment = {**os.environ, "RHEOBASE_CACHE": str(cache.kernel_folder().parent)}
    answers = [
        subprocess.run(
            [sys.executable, "-c", script],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        ).stdout
        for _ in range(2)
    ]
    assert answers[1] == "False\n"


def test_damaged_machine_code_is_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "kernel_folder", lambda: tmp_path)
    visit(7, 0)
    (code,) = tmp_path.glob("*.o")
    whole = code.read_bytes()
    code.write_bytes(whole[: len(whole) // 2])
    visit(7, 0)
    assert cache._read(code) is not None
