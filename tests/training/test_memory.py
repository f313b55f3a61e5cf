"""Working memory: growth beyond the start, without what happens in a pause."""

from __future__ import annotations

import sys

import pytest
import torch

from rheobase.training.memory import MemoryMeter

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")


def touch(megabytes: int) -> None:
    torch.ones(megabytes * 250_000).sum()


def test_the_peak_counts_what_is_freed_again_but_not_what_was_there_or_paused() -> None:
    held = torch.ones(5_000_000)  # 20 MB that are there before
    touch(200)  # an earlier peak
    meter = MemoryMeter()
    with meter.running():
        touch(40)
        with meter.paused():
            touch(120)
        touch(8)
        assert meter.peak_mb == pytest.approx(40, abs=6)
    assert meter.peak_mb == pytest.approx(40, abs=6)
    assert held.numel() == 5_000_000


def test_a_run_that_goes_on_keeps_its_peak() -> None:
    meter = MemoryMeter(peak=50.0)
    with meter.running():
        touch(10)
    assert meter.peak_mb == 50.0
    assert MemoryMeter().peak_mb is None
