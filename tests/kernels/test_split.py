"""`split`: every column once, whatever the number of threads; no error is lost."""

from __future__ import annotations

import itertools
import multiprocessing
import sys
import threading
import time
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rheobase.kernels import threads
from rheobase.kernels.threads import SMALL, split


def with_threads(number: int) -> AbstractContextManager[Any]:
    return mock.patch.object(torch, "get_num_threads", return_value=number)


def parts(number: int, size: int, work: int = SMALL) -> list[tuple[int, int]]:
    """The calls that are made, in order."""
    calls: list[tuple[int, int]] = []
    with with_threads(number):
        split(lambda low, high: calls.append((low, high)), size, work)
    return sorted(calls)


@settings(deadline=None, max_examples=200)
@given(
    number=st.integers(1, 9),
    size=st.one_of(st.integers(1, 200), st.integers(201, 100_000)),
    work=st.sampled_from([0, SMALL - 1, SMALL, 10 * SMALL]),
)
def test_everything_once(number: int, size: int, work: int) -> None:
    calls = parts(number, size, work)
    assert calls[0][0] == 0
    assert calls[-1][1] == size
    assert all(low < high for low, high in calls)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(calls))
    if work < SMALL or number == 1:
        assert calls == [(0, size)]
    else:
        assert len(calls) <= min(number, size) * threads.PARTS


@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.parametrize("work", [0, SMALL])
def test_nothing_to_do(number: int, work: int) -> None:
    calls = parts(number, 0, work)
    assert all(low == high == 0 for low, high in calls)


def test_parts_begin_at_cache_lines() -> None:
    calls = parts(2, 1001)
    assert len(calls) > 2
    assert all(low % 16 == 0 for low, _ in calls)


def test_two_threads_work_at_once() -> None:
    meeting = threading.Barrier(2, timeout=10)
    seen: set[int] = set()

    def meet(low: int, high: int) -> None:
        if threading.get_ident() not in seen:
            seen.add(threading.get_ident())
            meeting.wait()

    with with_threads(2):
        split(meet, 100, SMALL)
    assert len(seen) == 2


@pytest.mark.parametrize("culprit", ["caller", "helper"])
def test_an_error_in_either_thread_is_raised(culprit: str) -> None:
    caller = threading.get_ident()
    meeting = threading.Barrier(2, timeout=10)
    met: set[int] = set()

    def fail(low: int, high: int) -> None:
        if threading.get_ident() not in met:
            met.add(threading.get_ident())
            meeting.wait()
        if (threading.get_ident() == caller) == (culprit == "caller"):
            raise RuntimeError(culprit)

    with with_threads(2), pytest.raises(RuntimeError, match=culprit):
        split(fail, 100, SMALL)
    assert parts(2, 100)[-1][1] == 100  # and the threads are there for the next call


def test_nothing_runs_on_after_an_error() -> None:
    caller = threading.get_ident()
    meeting = threading.Barrier(2, timeout=10)
    met: set[int] = set()
    ends: list[float] = []

    def work(low: int, high: int) -> None:
        if threading.get_ident() not in met:
            met.add(threading.get_ident())
            meeting.wait()
        if threading.get_ident() == caller:
            raise RuntimeError("first")
        time.sleep(0.02)
        ends.append(time.monotonic())

    with with_threads(2), pytest.raises(RuntimeError, match="first"):
        split(work, 100, SMALL)
    returned = time.monotonic()
    time.sleep(0.3)
    assert all(end <= returned for end in ends)


def test_a_part_may_be_split_again() -> None:
    seen = [0] * 64

    def inner(low: int, high: int) -> None:
        for i in range(low, high):
            seen[i] += 1

    def outer(low: int, high: int) -> None:
        for i in range(low, high):
            split(lambda a, b, first=16 * i: inner(first + a, first + b), 16, SMALL)

    with with_threads(2):
        split(outer, 4, SMALL)
    assert seen == [1] * 64


def test_a_pool_belongs_to_one_process() -> None:
    assert threads._pool(-1, 1) is threads._pool(-1, 1)
    assert threads._pool(-1, 1) is not threads._pool(-2, 1)


def _split_in_child() -> None:
    sys.exit(0 if parts(2, 100)[-1][1] == 100 else 1)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_a_fork() -> None:
    parts(2, 100)  # threads exist, which the child does not inherit
    child = multiprocessing.get_context("fork").Process(target=_split_in_child)
    child.start()
    child.join(20)
    if child.is_alive():
        child.kill()
    assert child.exitcode == 0
