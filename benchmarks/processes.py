"""Contestants' processes, with pinned threads and a line of JSON each way; and who else used the machine."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.interface import ContestantError

ROOT = Path(__file__).resolve().parents[1]
Report = dict[str, Any]


def environment(threads: int) -> dict[str, str]:
    """Variables that pin every library's number of threads."""
    count = str(threads)
    pinned = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "NUMBA")
    return {
        **os.environ,
        **{f"{library}_NUM_THREADS": count for library in pinned},
        "ARENA_THREADS": count,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}",
    }


class Worker:
    """A contestant's process; one line of JSON each way."""

    def __init__(self, threads: int, *arguments: str) -> None:
        self.label = arguments[0]
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115, closed by close()
        available = sorted(os.sched_getaffinity(0))
        if threads > len(available):
            raise ValueError(
                f"{threads} threads asked for, but only {len(available)} processors are available"
            )
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            env=environment(threads),
        )
        os.sched_setaffinity(self._process.pid, available[:threads])

    @property
    def pid(self) -> int:
        return self._process.pid

    def read(self) -> Report:
        """The next answer."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            raise ContestantError(f"{self.label} stopped:\n{self._errors.read()[-2000:].strip()}")
        answer: Report = json.loads(line)
        return answer

    def ask(self, do: str, **arguments: object) -> Report:
        """Send a request and wait for its answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the process is gone; read() says why
        return self.read()

    def close(self) -> None:
        """Let the process end, and wait for it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # gone already, with a request unread
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()


@dataclass(frozen=True)
class Usage:
    """Processor time in seconds since some moment: of the machine and of the arena's processes."""

    wall: float
    machine: float
    arena: Mapping[int, float]

    @classmethod
    def now(cls, pids: Iterable[int]) -> Usage:
        ticks = os.sysconf("SC_CLK_TCK")
        # /proc/stat, in ticks: user nice system idle iowait irq softirq steal
        total = [
            int(t) for t in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
        ]
        arena = {}
        for pid in (os.getpid(), *pids):
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            arena[pid] = (int(fields[11]) + int(fields[12])) / ticks
        return cls(time.monotonic(), (sum(total) - total[3] - total[4]) / ticks, arena)

    def foreign_since(self, before: Usage) -> float:
        """Processors' worth of work by other processes: 0 on a quiet machine, 1 for one busy processor."""
        own = sum(used - before.arena[pid] for pid, used in self.arena.items())
        return max(0.0, (self.machine - before.machine - own) / (self.wall - before.wall))


def machine(threads: int) -> Report:
    """The machine and how busy it was, for the results file."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": names[0] if names else platform.processor(),
        "processors": os.cpu_count(),
        "threads": threads,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "load_average": os.getloadavg(),
    }
