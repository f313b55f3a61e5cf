"""The cost of training in place: a step of 784-1000-10 on crossbars, beside one with ideal weights, in one
process.

    python benchmarks/in_place_speed.py [--rounds 120] [--hidden 128]

Steps of all contestants take turns, on one thread. Times are processor times of that thread (other jobs on
the machine count little), the least of blocks of four steps (schemes do not write at each), without the
encoding of inputs; a ratio is to ideal weights.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable

import torch

from in_place import experiment
from rheobase.crossbar.array import arrays
from rheobase.rules.base import Lesson
from rheobase.training.optimizers import make_optimizer
from rheobase.training.setup import build_objective, initial_network

CONTESTANTS = {
    "ideal": ("ideal", ""),
    "stochastic-pulses": ("memtransistor-5", "stochastic-pulses"),
    "accumulate": ("memtransistor-5", "accumulate"),
    "write-verify": ("memtransistor-5", "write-verify"),
}
BLOCK, WARM_UP = 4, 3


def contestant(device: str, scheme: str, hidden: int) -> Callable[[int], float]:
    """A function of the step's number that does one step, and says how long it took."""
    chosen = experiment(device, scheme, epochs=1, seed=0, hidden=hidden)
    train = chosen.task.splits().train
    network = initial_network(chosen, train)
    objective = build_objective(chosen, network)
    inner = make_optimizer(chosen.training, network.parameters())
    optimizer = chosen.substrate.writer(inner, arrays(network), 1)
    generator, order = torch.Generator().manual_seed(0), torch.randperm(len(train))
    memory = chosen.rule.begin(network, generator)

    def step(number: int) -> float:
        start = number * 128 % (len(train) - 128)
        batch = train.batch(order[start : start + 128])
        sequence = chosen.encoder.encode(batch.inputs, generator)
        loss = functools.partial(objective.loss, targets=batch.targets, mask=batch.mask)
        began = time.thread_time()
        optimizer.zero_grad(set_to_none=True)
        chosen.rule.accumulate(network, Lesson(sequence, loss, objective.training, batch.targets), memory)
        optimizer.step()
        return time.thread_time() - began

    return step


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=120)
    parser.add_argument("--hidden", type=int, default=1000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    steps = {name: contestant(*chosen, options.hidden) for name, chosen in CONTESTANTS.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(options.rounds):
        for name, step in steps.items():
            times[name].append(step(number))
    least = {}
    for name, taken in times.items():
        blocks = [sum(taken[i : i + BLOCK]) / BLOCK for i in range(0, len(taken) - BLOCK + 1, BLOCK)]
        least[name] = min(blocks[WARM_UP:])
        print(f"{name:18} {1e3 * least[name]:7.2f} ms  {least[name] / least['ideal']:5.2f} x")


if __name__ == "__main__":
    main()
