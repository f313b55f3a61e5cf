"""A population of networks evaluated together: evaluations per second, and memory, against its size and T.

    python benchmarks/population.py [--members 10 100 1000 10000] [--threads 1] [--out population.png]

Networks 3-4-10 of leaky neurons (those of `workloads.w5`), each with parameters of its own, on the same 64
samples; wanted are the output's spike counts. An evaluation is one member on all samples. Times are minima.
"One after another" are the library's ordinary layers, which keep the output's spikes `[T, B, 10]`.

Memory is the growth of peak resident memory from when parameters and the input's blocks exist until the
counts do, each in a fresh process; so the counts themselves, `[P, B, 10]`, are in it. Beside it what the
output's spikes of all members would take, which no tensor ever holds here.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import cast

import matplotlib
import torch
from torch import Tensor
from torch.func import functional_call

from rheobase.kernels.reduction import Reduction
from rheobase.layers.dense import Dense
from rheobase.layers.members import batch_for, run_members
from rheobase.layers.network import Network
from rheobase.layers.neurons import Neurons
from rheobase.neurons.base import time_constant
from rheobase.neurons.lif import LIF

matplotlib.use("Agg")
from matplotlib import pyplot as plt

SIZES, SAMPLES, STEPS, RATE, BETA = (3, 4, 10), 64, 100, 0.02, 0.85
LONG = (100, 300, 1000, 3000, 10000)
MIB = 1 << 20


def network() -> Network:
    """The form of all members."""
    neuron = LIF(tau_m=time_constant(BETA), timing="delayed")
    inputs, hidden, outputs = SIZES
    return Network(
        dense1=Dense(inputs, hidden),
        hidden=Neurons(neuron),
        dense2=Dense(hidden, outputs),
        readout=Neurons(neuron),
    )


def problem(members: int, steps: int) -> tuple[Network, dict[str, Tensor], Tensor]:
    """The network, the members' parameters, the input `[T, B, K]`."""
    torch.manual_seed(0)
    form = network()
    values = {n: p.detach() + torch.randn(members, *p.shape) for n, p in form.named_parameters()}
    return form, values, (torch.rand(steps, SAMPLES, SIZES[0]) < RATE).float()


def least(call: Callable[[], object], seconds: float) -> float:
    """The shortest time of a call, among those that so many seconds allow, but three at least."""
    call()
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


@torch.no_grad()
def speed(members: int, seconds: float) -> tuple[float, float]:
    """Evaluations per second: together, and one after another (of a hundred at most)."""
    form, values, x = problem(members, STEPS)
    batch, few = batch_for(form, x), min(members, 100)
    together = least(lambda: run_members(form, values, batch, [Reduction("spikes", "sum")]), seconds)

    def one_by_one() -> list[Tensor]:
        return [
            functional_call(form, {n: v[p] for n, v in values.items()}, (x,)).output.sum(0)
            for p in range(few)
        ]

    return members / together, few / least(one_by_one, seconds)


def resident(field: str) -> float:
    """VmRSS (resident now) or VmHWM (its peak), in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {field}; this benchmark needs Linux")


@torch.no_grad()
def growth(members: int, steps: int, threads: int) -> float:
    """MiB by which peak memory grows in an evaluation. For a fresh process."""
    torch.set_num_threads(threads)
    form, values, x = problem(members, steps)
    batch, counts = batch_for(form, x), [Reduction("spikes", "sum")]
    run_members(form, {n: v[:2] for n, v in values.items()}, batch, counts)  # loads the kernel
    ctypes.CDLL(None).malloc_trim(0)  # what is free now goes back, lest the evaluation use it unseen
    Path("/proc/self/clear_refs").write_text("5")  # the peak is that of this moment
    before = resident("VmRSS")
    run_members(form, values, batch, counts)
    return resident("VmHWM") - before


def apart(points: Sequence[tuple[int, int]], threads: int) -> list[float]:
    """`growth` of each (members, steps), in a process of its own."""
    members, steps = zip(*points, strict=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        return list(pool.map(functools.partial(growth, threads=threads), members, steps))


def spikes_of_all(members: int, steps: int) -> float:
    """MiB of the output's spikes, had anyone kept them."""
    return members * steps * SAMPLES * SIZES[-1] * 4 / MIB


def draw(
    speeds: dict[int, tuple[float, float]],
    memory: tuple[dict[int, float], dict[int, float]],
    fixed: int,
    path: Path,
) -> None:
    """Speed against members; memory against members, and against steps."""
    figure, (first, *others) = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for i, (label, colour) in enumerate((("together", "#c8452d"), ("one after another", "#5b7c99"))):
        first.loglog(list(speeds), [both[i] for both in speeds.values()], "o-", label=label, color=colour)
    first.set(xlabel="members", ylabel="evaluations per second", title=f"T = {STEPS}")
    of_all = (
        [spikes_of_all(m, STEPS) for m in memory[0]],
        [spikes_of_all(fixed, steps) for steps in memory[1]],
    )
    titles = (f"T = {STEPS}", f"{fixed} members")
    for axes, grown, kept, label, title in zip(others, memory, of_all, ("members", "T"), titles, strict=True):
        at = list(grown)
        axes.loglog(at, [max(mib, 0.01) for mib in grown.values()], "o-", color="#c8452d", label="measured")
        axes.loglog(at, kept, ":", color="#888888", label="spikes of all members")
        axes.set(xlabel=label, ylabel="growth of peak memory, MiB", title=title)
    for axes in (first, *others):
        axes.legend(fontsize=8, frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--members", type=int, nargs="+", default=[10, 30, 100, 300, 1000, 3000, 10000])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0, help="of timing per point")
    parser.add_argument("--out", type=Path, default=Path("population.png"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    counts = cast(list[int], options.members)
    fixed = min(1000, max(counts))
    grown = apart([*((m, STEPS) for m in counts), *((fixed, t) for t in LONG)], options.threads)
    by_members = dict(zip(counts, grown, strict=False))
    by_steps = dict(zip(LONG, grown[len(counts) :], strict=True))
    speeds = {}
    print("| members | evaluations/s | one after another | MiB | spikes of all, MiB |\n|-|-|-|-|-|")
    for m in counts:
        speeds[m] = speed(m, options.seconds)
        fast, slow = speeds[m]
        print(
            f"| {m} | {fast:.0f} | {slow:.0f} | {by_members[m]:.1f} | {spikes_of_all(m, STEPS):.1f} |",
            flush=True,
        )
    print(f"\n| T, {fixed} members | MiB | spikes of all, MiB |\n|-|-|-|")
    for steps, mib in by_steps.items():
        print(f"| {steps} | {mib:.1f} | {spikes_of_all(fixed, steps):.1f} |")
    draw(speeds, (by_members, by_steps), fixed, options.out)


if __name__ == "__main__":
    main()
