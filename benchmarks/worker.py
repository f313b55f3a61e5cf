"""One contestant in its own process. Started by `benchmarks.harness`, spoken to in lines of JSON.

    describe: python -m benchmarks.worker NAME                       -> name, kind, version, forms
    run:      python -m benchmarks.worker NAME CASE FORM DATA.npz    then, on standard input:
        {"do": "load"}                      -> times of the first call (it compiles) and of a warm one; notes
        {"do": "time", "seconds": .3}       -> step times of one turn (at least one step)
        {"do": "memory"}                    -> peaks over the memory after imports
        {"do": "check", "path": "out.npz"}  -> one evaluation from the given weights, written to path

Whatever libraries print goes to standard error, so that it cannot garble the answers. Linux only: memory is
read from /proc/self/status; VmHWM is reset through /proc/self/clear_refs, so that import peaks do not count.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from benchmarks.interface import Data, Factory, Runner

WARM_CALLS = 2


def memory_mb(field: str) -> float:
    """A field of /proc/self/status in MiB: VmRSS (resident now) or VmHWM (its peak)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no field {field}; memory can only be measured on Linux")


def reset_peak() -> None:
    """Set VmHWM back to the resident memory of this moment."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def forms_of(module: Any, case: str) -> dict[str, Factory]:
    """The contestant's forms for a case: its workload's ("w7") and those of it alone ("w7-512")."""
    workload = case.partition("-")[0]
    return {**module.WORKLOADS.get(workload, {}), **module.WORKLOADS.get(case, {})}


class Session:
    """Answers the harness's requests for one contestant, case and form."""

    def __init__(self, factory: Factory, data_path: str) -> None:
        self._factory = factory
        self._data_path = data_path
        self._runner: Runner | None = None
        self._after_imports = memory_mb("VmRSS")
        self._first_peak = 0.0

    def load(self) -> dict[str, object]:
        reset_peak()
        with np.load(self._data_path) as archive:
            data: Data = {name: archive[name] for name in archive.files}
        self._runner = self._factory(data)
        del data
        first = self._timed()
        warm = min(self._timed() for _ in range(WARM_CALLS))
        self._first_peak = memory_mb("VmHWM")
        gc.collect()
        reset_peak()
        return {"first_call_s": first, "warm_s": warm, "notes": dict(self.runner.notes)}

    @property
    def runner(self) -> Runner:
        if self._runner is None:
            raise RuntimeError("asked to run before it was asked to load")
        return self._runner

    def _timed(self) -> float:
        step = self.runner.step
        start = time.perf_counter()
        step()
        return time.perf_counter() - start

    def time(self, seconds: float) -> dict[str, object]:
        times = [self._timed()]
        while sum(times) < seconds:
            times.append(self._timed())
        return {"steps_s": times}

    def memory(self) -> dict[str, object]:
        return {
            "after_imports_mb": self._after_imports,
            "peak_mb": memory_mb("VmHWM") - self._after_imports,
            "first_call_peak_mb": self._first_peak - self._after_imports,
        }

    def check(self, path: str) -> dict[str, object]:
        if self.runner.check is None:
            return {"checked": False}
        outputs = self.runner.check()
        arrays: dict[str, Any] = {f"gradient.{name}": value for name, value in outputs.gradients.items()}
        arrays |= {"shape": np.array(outputs.spikes.shape), "spikes": np.packbits(outputs.spikes)}
        np.savez(path, **arrays)
        return {"checked": True}


def _serve(session: Session, answers: TextIO) -> None:
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(session, request.pop("do"))(**request)
        print(json.dumps(answer), file=answers, flush=True)


def main(arguments: list[str]) -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    module = importlib.import_module(f"benchmarks.contestants.{arguments[0]}")
    if len(arguments) == 1:
        description = {
            "name": module.NAME,
            "kind": module.KIND,
            "version": module.VERSION,
            "forms": {workload: list(forms) for workload, forms in module.WORKLOADS.items()},
        }
        print(json.dumps(description), file=answers, flush=True)
        return
    _, case, form, data_path = arguments
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(int(os.environ["ARENA_THREADS"]))
        # torch's optimizers import it when the first one is made; it counts as an import here.
        importlib.import_module("torch._dynamo")
    _serve(Session(forms_of(module, case)[form], data_path), answers)


if __name__ == "__main__":
    main(sys.argv[1:])
