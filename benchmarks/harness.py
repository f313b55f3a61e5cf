"""The arena's referee: discovers workloads and contestants, times them in turns, and checks that they agree.

A workload is one module in `benchmarks/workloads/`, named as it is asked for (`w7`), importing NumPy only:

    TITLE: str                                        may contain {parameter} fields of its cases
    CASES: dict[str, dict[str, int]]                  case name ("w7" or "w7-512") -> keywords of make
    make(seed: int, **parameters) -> Data             weights and inputs
    reference(data: Data) -> Outputs                  the truth in float64
    follow(data: Data, spikes) -> Outputs             only if sequences part: what each neuron should have
                                                      done at each step after `spikes`, and the gradient there

A contestant is one module in `benchmarks/contestants/`. "Memory after imports" is that after importing it,
so a library is imported at its top, not inside functions:

    NAME: str; VERSION: str
    KIND: str                                         "peer", "ours" or "floor"
    WORKLOADS: dict[str, dict[str, Data -> Runner]]   workload or case -> form -> factory

A "form" is one way of writing the same thing (a product hoisted out of the loop or not). All forms run; the
one with the smallest median stands for the contestant. A form whose warm calls take more than SLOW_FORM
times those of the contestant's best is not taken into the rounds. `Runner` and `Outputs`:
`benchmarks.interface`.

How a case is run. The same .npz goes to every contestant. Each form lives in a fresh process with the
thread counts pinned (OpenMP, MKL, OpenBLAS, Numba, torch; JAX sizes its pool by the processors that a
process may run on, so the affinity is set too). They take turns, A B C A B C ..., so that drift of the
machine meets all alike, and ratios are of medians within one run. The first call (compilation) is timed on
its own. Memory is the growth of peak resident memory over that after imports: `peak_mb` in the timed
rounds, `first_call_peak_mb` up to them. What other processes took of the processors during the rounds is
printed too: on a machine shared with other work, threads that wait for one another (OpenMP) can be ten
times slower while others are not, so that even the ratios do not hold.

Before a time is reported, the contestant's spikes and gradients are compared with the reference.
Contestants sum products in different orders, so a membrane within rounding of the threshold can fall on
either side of it, and one such spike moves a few later ones: up to SPIKE_TOLERANCE of the reference's
spikes may differ (the share is printed). Gradients need a cosine above COSINE and a length within LENGTH.
Who fails is refused. Where recurrence makes a network chaotic, one such spike parts two sequences for good;
there the reference follows the contestant's own spikes (`follow`), so that each decision and the gradient
are still judged, and how far the free sequences parted is only reported.
"""

from __future__ import annotations

import importlib
import pkgutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks import contestants, workloads
from benchmarks.agreement import compare, digest
from benchmarks.interface import ContestantError, Outputs
from benchmarks.processes import Usage, Worker

TURN_SECONDS = 0.3
SLOW_FORM = 3.0
# Threads of the previous turn may still spin for a moment while they wait for work.
PAUSE_SECONDS = 0.05

Report = dict[str, Any]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Case:
    """One workload at one size."""

    name: str
    title: str
    parameters: Mapping[str, int]
    module: ModuleType


@dataclass(frozen=True)
class Contestant:
    """What a contestant's module says of itself."""

    module: str
    name: str
    kind: str
    version: str
    forms: Mapping[str, Sequence[str]]

    def forms_for(self, case: str) -> list[str]:
        """Names of the forms that this contestant offers for a case."""
        return [
            *self.forms.get(case.partition("-")[0], ()),
            *(self.forms.get(case, ()) if "-" in case else ()),
        ]


def discover_cases() -> dict[str, Case]:
    """All cases of all workload modules, by name."""
    cases: dict[str, Case] = {}
    for info in pkgutil.iter_modules(workloads.__path__):
        module = importlib.import_module(f"benchmarks.workloads.{info.name}")
        for name, parameters in module.CASES.items():
            cases[name] = Case(name, module.TITLE.format(**parameters), parameters, module)
    return cases


def select_cases(wanted: Iterable[str]) -> list[Case]:
    """Cases by name; the name of a workload stands for all its cases, no name at all for everything."""
    cases = discover_cases()
    names = list(wanted)
    unknown = [w for w in names if not any(w in (name, name.partition("-")[0]) for name in cases)]
    if unknown:
        raise ValueError(f"unknown workload {', '.join(unknown)}; known: {', '.join(cases)}")
    return [c for c in cases.values() if not names or c.name in names or c.name.partition("-")[0] in names]


def contestant_modules() -> list[str]:
    """Names of all modules in `benchmarks/contestants/`."""
    return [info.name for info in pkgutil.iter_modules(contestants.__path__)]


def describe(module: str) -> Contestant:
    """Import a contestant in a process of its own and ask what it offers."""
    worker = Worker(1, module)
    try:
        return Contestant(module=module, **worker.read())
    finally:
        worker.close()


@dataclass
class Entry:
    """One form of one contestant in one case."""

    contestant: Contestant
    form: str
    worker: Worker
    loaded: Report = field(default_factory=dict)
    steps_s: list[float] = field(default_factory=list)
    memory: Report = field(default_factory=dict)
    agreement: Report = field(default_factory=dict)

    @property
    def label(self) -> str:
        return f"{self.contestant.name} ({self.form})"

    def report(self) -> Report:
        """Everything measured, times in ms and memory in MiB."""
        steps = np.array(self.steps_s) * 1e3
        q1, median, q3 = (float(q) for q in np.percentile(steps, (25, 50, 75)))
        return {
            "module": self.contestant.module,
            "name": self.contestant.name,
            "kind": self.contestant.kind,
            "version": self.contestant.version,
            "form": self.form,
            "median_ms": median,
            "q1_ms": q1,
            "q3_ms": q3,
            "steps_ms": [round(float(step), 4) for step in steps],
            "compile_s": max(0.0, self.loaded["first_call_s"] - median / 1e3),
            **self.memory,
            **self.agreement,
            "notes": self.loaded["notes"],
        }


def _load(entries: list[Entry], failures: dict[str, str], say: Say) -> list[Entry]:
    """First calls, one after another; who fails or is a slow form of its contestant leaves."""
    ready = []
    for entry in entries:
        try:
            entry.loaded = entry.worker.ask("load")
        except ContestantError as error:
            failures[entry.label] = str(error)
            entry.worker.close()
            continue
        say(f"  {entry.label}: first call {entry.loaded['first_call_s']:.2f} s")
        ready.append(entry)
    kept = []
    for entry in ready:
        rivals = [e.loaded["warm_s"] for e in ready if e.contestant is entry.contestant]
        if entry.loaded["warm_s"] > SLOW_FORM * min(rivals):
            against = f"{entry.loaded['warm_s']:.3f} s against {min(rivals):.3f} s"
            say(f"  {entry.label}: left out of the rounds, {against}")
            entry.worker.close()
        else:
            kept.append(entry)
    return kept


def _check(entry: Entry, case: Case, truth: Outputs, folder: Path) -> None:
    path = folder / "outputs.npz"
    if entry.worker.ask("check", path=str(path))["checked"]:
        follow = None
        if hasattr(case.module, "follow"):
            with np.load(folder / "data.npz") as data:
                follow = partial(case.module.follow, dict(data))
        entry.agreement = compare(path, truth, follow)
    elif entry.contestant.kind != "floor":
        raise ContestantError("it computes nothing that can be checked, and only a floor may do so")


def run_case(
    case: Case, entrants: Sequence[Contestant], threads: int, repeats: int, seed: int, say: Say
) -> Report:
    """Time and check all forms of all contestants on one case."""
    failures: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = case.module.make(seed, **case.parameters)
        np.savez(folder / "data.npz", **data)
        truth: Outputs = case.module.reference(data)
        del data
        entries: list[Entry] = []
        try:
            for contestant in entrants:
                for form in contestant.forms_for(case.name):
                    worker = Worker(threads, contestant.module, case.name, form, str(folder / "data.npz"))
                    entries.append(Entry(contestant, form, worker))
            running = _load(entries, failures, say)
            before = Usage.now(entry.worker.pid for entry in running)
            for _ in range(repeats):
                for entry in list(running):
                    time.sleep(PAUSE_SECONDS)
                    try:
                        entry.steps_s += entry.worker.ask("time", seconds=TURN_SECONDS)["steps_s"]
                    except ContestantError as error:
                        failures[entry.label] = str(error)
                        running.remove(entry)
            foreign = Usage.now(entry.worker.pid for entry in running).foreign_since(before)
            finished = []
            for entry in running:
                try:
                    entry.memory = entry.worker.ask("memory")
                    _check(entry, case, truth, folder)
                    finished.append(entry)
                except ContestantError as error:
                    failures[entry.label] = str(error)
        finally:
            for entry in entries:
                entry.worker.close()
    return {
        "title": case.title,
        "seed": seed,
        "rounds": repeats,
        "foreign_load": foreign,
        "reference_spikes": int(truth.spikes.sum()),
        "reference_sha256": digest(truth.spikes),
        "firing_share": float(truth.spikes.mean()),
        "contestants": _fastest_forms(finished, entries),
        "refused": failures,
    }


def _fastest_forms(finished: Sequence[Entry], entries: Sequence[Entry]) -> list[Report]:
    best: dict[str, Report] = {}
    for entry in finished:
        report = entry.report()
        known = best.get(report["module"])
        if known is None or report["median_ms"] < known["median_ms"]:
            best[report["module"]] = report
    for report in best.values():
        report["other_forms_ms"] = {
            e.form: float(np.median(e.steps_s or [e.loaded["warm_s"]])) * 1e3
            for e in entries
            if e.contestant.module == report["module"] and e.form != report["form"] and e.loaded
        }
    return sorted(best.values(), key=lambda report: float(report["median_ms"]))
