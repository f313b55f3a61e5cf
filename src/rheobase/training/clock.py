"""Training time: what is spent in training steps and checkpoints, without compiling kernels.

Evaluation, histograms and inspection are not timed: the clock is paused for them. Compilation happens
once per machine (kernels are cached on disk), so it is reported beside it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rheobase.kernels.cache import Kernel


class Clock:
    """Seconds of training and of compiling, on top of those of a run that goes on.

    >>> clock = Clock(seconds=2.0)
    >>> clock.seconds  # not running
    2.0
    """

    def __init__(self, seconds: float = 0.0, compile_seconds: float = 0.0) -> None:
        self._seconds = seconds
        self._compiled = compile_seconds - Kernel.seconds
        self._start: float | None = None

    @staticmethod
    def _now() -> float:
        return time.perf_counter() - Kernel.seconds

    @property
    def seconds(self) -> float:
        """Training time so far."""
        return self._seconds + (self._now() - self._start if self._start is not None else 0.0)

    @property
    def compile_seconds(self) -> float:
        """Compilation time so far."""
        return self._compiled + Kernel.seconds

    @contextmanager
    def running(self) -> Iterator[None]:
        """Time what is within."""
        self._start = self._now()
        try:
            yield
        finally:
            self._seconds, self._start = self.seconds, None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not time what is within."""
        self._seconds, self._start = self.seconds, None
        try:
            yield
        finally:
            self._start = self._now()
