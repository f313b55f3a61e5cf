"""What a step of e-prop costs beside one of backpropagation through time: time and memory against T.

    python benchmarks/eprop_costs.py [--steps 100 1000 10000] [--threads 1]

A network 100-100-10 of recurrent adaptive LIF neurons and a leaky read-out, 10 samples, 5 % input spikes,
squared error at every step; a gradient is the forward pass, and all that the rule does for it. Time is
processor time of the calling thread, least of several, divided by T. Memory is the growth of peak resident
memory over that with network and input in place, each in a fresh process that has compiled its kernels
before.

"parts" are what e-prop is for: the sequence comes in batches of 100 steps, of which each goes on where the
one before ended, and none of them is kept. What backpropagation keeps of a sequence grows with its length.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.population import resident
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.layers.neurons import Neurons
from rheobase.layers.recurrent import Recurrent
from rheobase.neurons.adaptive_lif import AdaptiveLIF
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.rules.base import LearningRule, Lesson, Memory
from rheobase.rules.bptt import BPTT
from rheobase.rules.eprop import Eprop

INPUTS, NEURONS, OUTPUTS, SAMPLES, RATE = 100, 100, 10, 10, 0.05
PART = 100  # steps of a batch, where the sequence comes in batches

#: What is measured: the rule, and the steps of a batch (the whole sequence if None).
WAYS: dict[str, tuple[LearningRule, int | None]] = {
    "bptt": (BPTT(), None),
    "e-prop, whole sequence": (Eprop(feedback="random"), None),
    "e-prop, windows of 100": (Eprop(feedback="random", window=100), None),
    "e-prop, step by step": (Eprop(feedback="random", window=1), None),
    "e-prop, parts of 100": (Eprop(feedback="random", continuous=True), PART),
    "e-prop, parts of 100, step by step": (Eprop(feedback="random", continuous=True, window=1), PART),
}


class Sequence:
    """A sequence to learn from, and one way of doing it."""

    def __init__(self, way: str, steps: int) -> None:
        self.rule, part = WAYS[way]
        self.steps, self.part = steps, part or steps
        torch.manual_seed(0)
        self.network = Network(
            input=Dense(INPUTS, NEURONS),
            hidden=Recurrent(AdaptiveLIF(), NEURONS),
            output=Dense(NEURONS, OUTPUTS),
            readout=Neurons(LeakyIntegrator()),
        )
        self.start = self.rule.begin(self.network, torch.Generator().manual_seed(1))
        # A sequence that is there at once is made before anything is measured.
        self.whole = None if part else self.made(steps)

    def made(self, steps: int) -> Tensor:
        """Input spikes of so many steps, `[T, B, N]`."""
        return (torch.rand(steps, SAMPLES, INPUTS) < RATE).float()

    def batches(self) -> Iterator[Tensor]:
        """The sequence, in the batches in which it comes."""
        if self.whole is not None:
            yield self.whole
            return
        for _ in range(self.steps // self.part):
            yield self.made(self.part)

    def learn(self) -> None:
        """The gradient, once."""
        memory: Memory = self.start
        for x in self.batches():
            self.network.zero_grad()
            lesson = Lesson(x, lambda record: (record.output - 1.0).square().mean())
            memory = self.rule.accumulate(self.network, lesson, memory).memory


def seconds(learn: Callable[[], None]) -> float:
    """The least processor time of a call: three calls, and more where they are short."""
    times: list[float] = []
    while len(times) < 3 or (sum(times) < 0.5 and len(times) < 50):
        began = time.thread_time()
        learn()
        times.append(time.thread_time() - began)
    return min(times)


def measure(way: str, steps: int, threads: int) -> tuple[float, float]:
    """Microseconds per step, and MiB. For a fresh process."""
    torch.set_num_threads(threads)
    Sequence(way, PART).learn()  # compiles
    sequence = Sequence(way, steps)
    ctypes.CDLL(None).malloc_trim(0)  # what is free now goes back, lest learning use it unseen
    Path("/proc/self/clear_refs").write_text("5")  # the peak is that of this moment
    before = resident("VmRSS")
    sequence.learn()
    grown = resident("VmHWM") - before
    return 1e6 * seconds(sequence.learn) / steps, grown


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 1000, 10000], help="lengths T")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    heads = " | ".join(f"T = {steps:,}" for steps in options.steps)
    print(f"| microseconds a step, MiB | {heads} |\n|{' - |' * (1 + len(options.steps))}")
    context = multiprocessing.get_context("spawn")
    for way in WAYS:
        with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
            one = functools.partial(measure, way, threads=options.threads)
            cells = [f"{micro:.0f}, {mib:.0f}" for micro, mib in pool.map(one, options.steps)]
        print(f"| {way} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
