"""What holds evolution back on the founding data: its noise, or the spikes?

    python -m benchmarks.founding_counts

In the recipe `founding-fixed` of the task `randman` no membrane leaks to speak of, and a reset takes off one
threshold. So a neuron's count of spikes is known without going through the steps: with q(t) the sum of its
input up to t, which is piecewise linear,

    n = floor(max(0, max_t q(t))),

at most one at each step. Without the floor, that has a gradient: the network without spikes. Both are trained
from the recipe's first weights, by that gradient and by the recipe's evolution strategy. See
docs/evolution.md.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from rheobase.rules.evolution import Evolution
from rheobase.tasks.randman import SpikeTimes
from rheobase.training.experiment import Experiment
from rheobase.training.setup import initial_network


class Counts:
    """The recipe's network as a function of its parameters, and its data."""

    def __init__(self) -> None:
        self.experiment = Experiment.from_recipe("randman", "founding-fixed")
        splits = self.experiment.task.splits()
        network = initial_network(self.experiment, splits.train)
        self.start = {name: p.detach().clone() for name, p in network.named_parameters()}
        neuron: Any = self.experiment.neuron
        readout: Any = self.experiment.readout
        self.steps = splits.train.batch(torch.arange(1)).inputs.shape[1]
        self.resistances = float(neuron.resistance), float(readout.resistance)
        assert isinstance(splits.train, SpikeTimes)
        assert isinstance(splits.validation, SpikeTimes)
        self.train, self.validation = splits.train, splits.validation

    def scores(self, parameters: dict[str, Tensor], samples: Tensor, *, whole: bool) -> Tensor:
        """`[B, C]` for the steps `[B, units]` from which inputs last; `whole`: of whole spikes."""
        weight, bias, last, offset = parameters.values()
        turns = torch.cat([samples, torch.full_like(samples[:, :1], self.steps)], 1)  # where q(t) bends
        lasted = (turns[:, :, None] - samples[:, None, :]).clamp(min=0)
        hidden, readout = self.resistances
        total = hidden * (lasted @ weight.T + turns[:, :, None] * bias)
        count = total.amax(1).clamp(min=0, max=self.steps)
        count = count.floor() if whole else count
        return readout * (count @ last.T + self.steps * offset)


def trained(
    counts: Counts, direction: Callable[..., dict[str, Tensor]], generations: int, *, whole: bool
) -> tuple[float, float]:
    """The loss and the accuracy on the validation data, after so many steps of Adam."""
    training = counts.experiment.training
    mean = {name: value.clone() for name, value in counts.start.items()}
    optimizer = torch.optim.Adam(mean.values(), lr=training.learning_rate)
    order = torch.Generator().manual_seed(0)
    for step in range(generations):
        chosen = torch.randint(len(counts.train), (training.batch_size,), generator=order)
        samples, labels = counts.train.steps[chosen, 0].float(), counts.train.targets[chosen]

        def loss(parameters: dict[str, Tensor], samples: Tensor = samples, labels: Tensor = labels) -> Tensor:
            return cross_entropy(counts.scores(parameters, samples, whole=whole), labels)

        found = direction(mean, loss)
        for name, value in mean.items():
            value.grad = found.get(name)
        optimizer.param_groups[0]["lr"] = (
            training.learning_rate * (1 + math.cos(math.pi * step / generations)) / 2
        )
        optimizer.step()
    scores = counts.scores(mean, counts.validation.steps[:, 0].float(), whole=whole)
    labels = counts.validation.targets
    return float(cross_entropy(scores, labels)), float((scores.argmax(-1) == labels).float().mean())


def by_gradient(mean: dict[str, Tensor], loss: Callable[[dict[str, Tensor]], Tensor]) -> dict[str, Tensor]:
    """The gradient itself."""
    leaves = {name: value.clone().requires_grad_() for name, value in mean.items()}
    return dict(zip(leaves, torch.autograd.grad(loss(leaves), list(leaves.values())), strict=True))


class ByEvolution:
    """The recipe's strategy, with a population of another size."""

    def __init__(self, counts: Counts, population: int) -> None:
        rule = counts.experiment.rule
        assert isinstance(rule, Evolution)
        self.rule = rule.replace(population=population)
        self.names = [n for n in counts.start if n != "layers.dense2.bias"]
        self.memory = self.rule.start({name: counts.start[name] for name in self.names}, seed=0)

    def __call__(
        self, mean: dict[str, Tensor], loss: Callable[[dict[str, Tensor]], Tensor]
    ) -> dict[str, Tensor]:
        candidates = self.rule.ask({name: mean[name] for name in self.names}, self.memory)
        losses = [float(loss({**mean, **own})) for own in candidates]
        found, memory = self.rule.tell(candidates, losses, self.memory)
        self.memory = dict(memory)
        return found


def main(words: Sequence[str] | None = None) -> None:
    """Prints a row for each way of training."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--generations", type=int, default=750)
    generations = parser.parse_args(words).generations
    torch.set_num_threads(1)
    counts = Counts()
    rows: list[tuple[str, Callable[..., dict[str, Tensor]], bool]] = [
        ("gradient, without spikes", by_gradient, False),
        ("64 members, without spikes", ByEvolution(counts, 64), False),
        ("64 members, whole spikes", ByEvolution(counts, 64), True),
    ]
    for name, direction, whole in rows:
        loss, accuracy = trained(counts, direction, generations, whole=whole)
        print(f"{name:28} validation loss {loss:.3f}  accuracy {accuracy:.3f}", flush=True)


if __name__ == "__main__":
    main()
