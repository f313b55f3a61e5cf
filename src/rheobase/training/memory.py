"""Working memory: how much more than before its first step a training holds at its peak.

What is resident when training starts (libraries, data, weights) is the same under every learning rule.
What comes on top is the rule's: sequences kept for a pass backwards, traces, the optimizer's state, the
rule's own memory. Before training, idle buffers go back to the operating system, so that what an earlier
run left behind is not used again unseen; then

    working memory = peak resident memory while training - resident memory at its start

The peak is the kernel's own (`VmHWM` of Linux, which can be set back); elsewhere nothing is measured. Not
in it: what is done while the meter is `paused` (evaluation, comparing gradients). Resolution: pages, and
what the allocator keeps back, some hundred kB.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rheobase.kernels import workspace

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class MemoryMeter:
    """The peak of this process while it runs, over what was resident at first.

    Args:
        peak: Peak so far in MB, for a run that goes on; None if it was not measured.

    >>> MemoryMeter(peak=3.5).peak_mb  # not running
    3.5
    """

    def __init__(self, peak: float | None = None) -> None:
        self._peak = peak
        self._start: float | None = None

    @property
    def peak_mb(self) -> float | None:
        """Working memory in MB (10^6 bytes); None where it cannot be measured."""
        if self._start is not None:
            self._take()
        return self._peak

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure what is within."""
        self._start = _start()
        try:
            yield
        finally:
            if self._start is not None:
                self._take()
            self._start = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count what is within."""
        if self._start is None:
            yield
            return
        self._take()
        yield
        _reset()

    def _take(self) -> None:
        assert self._start is not None
        grown = max(0.0, _field("VmHWM") - self._start)
        self._peak = max(self._peak or 0.0, grown)


def _start() -> float | None:
    """Give idle memory back, set the peak back; what is resident now. None where this cannot be done."""
    workspace.clear()
    gc.collect()
    try:
        _reset()
        return _field("VmRSS")
    except (OSError, KeyError):  # no Linux, or /proc is not as there
        return None


def _reset() -> None:
    _trim()
    _RESET.write_text("5", encoding="ascii")


def _field(name: str) -> float:
    """A field of the process's status, in MB (10^6 bytes)."""
    lines = dict(line.split(":", 1) for line in _STATUS.read_text("ascii", "replace").splitlines())
    return float(lines[name].split()[0]) * 1024 / 1e6


def _trim() -> None:
    """Let the C library give back what it keeps of freed memory, where it can (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
