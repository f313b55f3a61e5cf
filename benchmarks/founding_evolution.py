"""Why the founding notebook on evolution stayed at chance: what losses vary with, how gradients agree.

    python -m benchmarks.founding_evolution             # measurements at the start of training
    python -m benchmarks.founding_evolution --steps     # one mistake after the other put right, each trained

See docs/evolution.md, whose tables these are. The recipe `founding` of the task `randman` has the
notebook's settings.
"""

from __future__ import annotations

import argparse
import functools
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rheobase.layers.network import Network, Record
from rheobase.rules.base import Lesson
from rheobase.rules.candidates import Candidates, Perturbed
from rheobase.rules.evolution import Evolution
from rheobase.rules.members import losses
from rheobase.training.experiment import Experiment, merge
from rheobase.training.fit import fit
from rheobase.training.setup import build_objective, initial_network

MEMBERS, REDRAWS, PAIRS = 200, 10, 10
FIXED: dict[str, Any] = {"redraw": False}
RANKED: dict[str, Any] = {"mirrored": True, "shaping": "ranks"}

#: What is put right, and how, each on top of those before.
STEPS: list[tuple[str, dict[str, Any]]] = [
    ("the notebook", {}),
    ("the rest of the network is the same for all members", {"rule": FIXED}),
    ("mirrored pairs, centred ranks", {"rule": RANKED}),
    ("sigma .05 instead of 1", {"rule": {"sigma": 0.05}}),
    ("all weights trained, no biases", {"rule": {"layers": None}, "network": {"bias": False}}),
    (
        "membranes of 20 ms, a read-out that does not fire, read at its maximum",
        {
            "neuron": {"tau_m": 19.4957},
            "readout": {"name": "leaky_integrator", "tau_m": 19.4957},
            "loss": {"name": "cross_entropy_max"},
            "decoder": {"name": "membrane_max"},
        },
    ),
    ("weights large enough that neurons fire, 100 of them", {"network": {"hidden": [100], "gain": 5.0}}),
    (
        "ten times the samples, in batches of 256",
        {
            "task": {"samples": 1000},
            "training": {"batch_size": 256, "epochs": 35, "log_every": 10},
        },
    ),
]


class Start:
    """The experiment before its first step."""

    def __init__(self, overrides: dict[str, Any]) -> None:
        self.experiment = Experiment.from_recipe("randman", "founding", overrides)
        train = self.experiment.task.splits().train
        self.network: Network = initial_network(self.experiment, train)
        objective = build_objective(self.experiment, self.network)
        batch = train.batch(torch.arange(len(train)))
        inputs = self.experiment.encoder.encode(batch.inputs)
        error = functools.partial(objective.loss, targets=batch.targets)
        self.lesson = Lesson(inputs, error, objective.training, batch.targets)
        self.predictions = objective.predictions
        assert isinstance(self.experiment.rule, Evolution)
        self.rule = self.experiment.rule

    def candidates(self, seed: int) -> Perturbed:
        """The members of the first generation of a seed."""
        memory = self.rule.begin(self.network, torch.Generator().manual_seed(seed))
        mean = {name: p.detach() for name, p in self.network.named_parameters() if f"sigma/{name}" in memory}
        candidates = self.rule._members(self.rule.ask(mean, memory), self.network)
        assert isinstance(candidates, Perturbed)
        return candidates

    def losses(self, candidates: Candidates) -> Tensor:
        """Of each member, on the training data."""
        return losses(self.network, self.lesson, candidates)

    def gradient(self, seed: int) -> Tensor:
        """The estimate of the first generation of a seed."""
        self.network.zero_grad(set_to_none=True)
        memory = self.rule.begin(self.network, torch.Generator().manual_seed(seed))
        self.rule.accumulate(self.network, self.lesson, memory)
        return torch.cat([p.grad.flatten() for p in self.network.parameters() if p.grad is not None])

    def agreement(self) -> float:
        """The mean cosine of pairs of independent estimates."""
        pairs = [(self.gradient(2 * i), self.gradient(2 * i + 1)) for i in range(PAIRS)]
        return float(torch.stack([torch.cosine_similarity(a, b, 0) for a, b in pairs]).mean())

    def one_class(self, candidates: Candidates) -> float:
        """The share of members that name one class for at least nine tenths of the samples."""

        def share(record: Record) -> Tensor:
            counts = torch.bincount(self.predictions(record))
            return counts.max() / counts.sum()

        watching = Lesson(self.lesson.inputs, share, ("readout.spikes",), self.lesson.targets)
        return float((losses(self.network, watching, candidates) >= 0.9).float().mean())


def rule(**options: Any) -> dict[str, Any]:
    """Overrides of the founding recipe's rule."""
    return {"rule": options}


def measure() -> None:
    """What the losses vary with, and how far gradients agree."""
    founding = Start(rule(population=MEMBERS))
    members = founding.candidates(0)
    all_of_it = founding.losses(members)
    within = []
    for seed in range(REDRAWS):
        fixed = Start(rule(population=MEMBERS // 4, **FIXED) | {"training": {"seed": seed}})
        within.append(fixed.losses(fixed.candidates(seed)).var())
    share = 1 - float(torch.stack(within).mean() / all_of_it.var())
    print(f"losses of {MEMBERS} members: {all_of_it.mean():.1f}, standard deviation {all_of_it.std():.1f}")
    print(f"variance that comes from redrawing what is not trained: {share:.1%}")
    print(f"members that name one class for 90 % of the samples: {founding.one_class(members):.0%}")
    for title, options in (
        ("the notebook", {}),
        ("the rest fixed", FIXED),
        ("the rest fixed, mirrored, ranks", FIXED | RANKED),
        ("the same, sigma .05", FIXED | RANKED | {"sigma": 0.05}),
    ):
        agreement = Start(rule(**options)).agreement()
        print(f"cosine of independent gradients, {title}: {agreement:.2f}", flush=True)


def train() -> None:
    """Put one mistake after the other right."""
    overrides: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (title, changes) in enumerate(STEPS):
            overrides = merge(overrides, changes)
            experiment = Experiment.from_recipe("randman", "founding", overrides)
            run = fit(experiment, Path(folder, str(number)), progress=False)
            print(f"{title:72} {run.value:.3f}   {run.seconds:6.1f} s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", action="store_true", help="train, one mistake after the other put right")
    torch.set_num_threads(1)
    if parser.parse_args().steps:
        train()
    else:
        measure()
