from __future__ import annotations

from typing import Any

import pytest
import torch

from rheobase.tasks.dataset import Batch
from rheobase.training.experiment import Experiment
from rheobase.training.lessons import Lessons
from rheobase.training.seeding import Generators
from rheobase.training.setup import build_network, build_objective
from rheobase.training.sharing import Sharing
from rheobase.workers import Workers


def batch(samples: int = 3) -> Batch:
    counts = torch.arange(7).unsqueeze(1).expand(7, samples) >= 4
    return Batch(torch.rand(samples, 7, 2), torch.zeros(samples, dtype=torch.int64), counts)


class Three:
    """A data set of three samples, whose output counts from the fifth step on, or at all."""

    def __init__(self, counts: bool) -> None:
        self.counts = counts

    def batch(self, indices: Any) -> Batch:
        whole = batch(len(indices))
        return whole if self.counts else Batch(whole.inputs, whole.targets)


@pytest.mark.parametrize("counts", [True, False])
def test_a_lesson_says_at_which_steps_the_output_counts(counts: bool) -> None:
    tables = {"task": {"columns": 2, "cue": 2}, "network": {"hidden": [3]}}
    experiment = Experiment.from_recipe("sequential_mnist", overrides=tables)
    network = build_network(experiment)
    lessons = Lessons(
        experiment,
        Three(counts),  # type: ignore[arg-type]
        network,
        build_objective(experiment, network),
        Sharing(experiment.rule, Workers(0, 1)),
        Generators.from_seed(0),
    )
    lesson, taken = lessons.make(torch.tensor([0, 2]), watched=False)
    if counts:
        assert lesson.counts is taken.mask is not None
        assert lesson.counts.sum(0).tolist() == [3, 3]
    else:
        assert lesson.counts is None
