"""What a person sees while training: a live bar in a terminal, one plain line per epoch elsewhere.

It goes to stderr, so that stdout is free for results.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console as RichConsole
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from typing_extensions import Self

#: Least time between two updates of the bar, in s.
REFRESH = 0.1


def rates_text(rates: Mapping[str, float]) -> str:
    """Firing rates for a person.

    >>> rates_text({"hidden1": 41.23, "readout": 7.0})
    'hidden1 41.2 Hz, readout 7.0 Hz'
    """
    return ", ".join(f"{layer} {rate:.1f} Hz" for layer, rate in rates.items())


class Console:
    """The bar over `steps` steps of `epochs` epochs, of which `done` steps are done; mute if not `on`."""

    def __init__(self, on: bool, epochs: int, steps: int, done: int) -> None:
        self._on, self._epochs, self._steps = on, epochs, steps
        self._console = RichConsole(stderr=True, highlight=False, soft_wrap=True)
        self._status = ""
        self._drawn = 0.0
        self._bar: Progress | None = None
        if on and self._console.is_terminal:
            self._bar = Progress(
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[status]}", markup=False),
                console=self._console,
                auto_refresh=False,  # a thread would compete with training
            )
            self._task = self._bar.add_task("", total=steps, completed=done, epoch="", status="")

    def step(self, step: int) -> None:
        """A step was done."""
        if self._bar is None or (now := time.monotonic()) - self._drawn < REFRESH:
            return
        self._drawn = now
        epoch = f"{min(self._epochs, 1 + step * self._epochs // self._steps)}/{self._epochs}"
        self._bar.update(self._task, completed=step, epoch=epoch, status=self._status, refresh=True)

    def status(self, scores: Mapping[str, float], rates: Mapping[str, float]) -> None:
        """The numbers beside the bar."""
        told = "  ".join(f"{name} {value:.4g}" for name, value in scores.items())
        self._status = f"{told}  {rates_text(rates)}"

    def epoch(self, epoch: int, text: str) -> None:
        """An epoch is over."""
        self.say(f"epoch {epoch}/{self._epochs}  {text}")

    def warn(self, message: str) -> None:
        """Something is wrong, but training goes on."""
        self.say(f"[yellow]warning:[/] {escape(message)}")

    def say(self, text: str) -> None:
        """A line."""
        if self._on:
            self._console.print(text)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
