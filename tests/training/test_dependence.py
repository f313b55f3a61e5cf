from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rheobase.tasks.dataset import Batch
from rheobase.training.dependence import dependence
from rheobase.training.experiment import Experiment
from rheobase.training.fit import fit


def some(targets: Tensor, samples: int = 50) -> Batch:
    return Batch(torch.arange(samples, dtype=torch.float32)[:, None], targets)


def test_of_classes() -> None:
    generator = torch.Generator().manual_seed(0)
    batch = some(torch.zeros(50, dtype=torch.int64))
    alike = torch.randn(1, 10, generator=generator).expand(50, 10)
    own = torch.randn(50, 10, generator=generator)
    assert dependence(alike, batch, classes=True) == pytest.approx(0, abs=1e-6)
    assert dependence(own, batch, classes=True) == pytest.approx(1, abs=0.05)
    # What all classes have in common decides nothing; nor does the unit of the scores.
    common = alike + 100 * torch.randn(50, 1, generator=generator)
    assert dependence(common, batch, classes=True) == pytest.approx(0, abs=1e-4)
    mixed = 30 * alike + own
    whole = dependence(mixed, batch, classes=True)
    assert whole is not None
    assert 0.02 < whole < 0.05
    assert dependence(1000 * mixed, batch, classes=True) == pytest.approx(float(whole), rel=1e-4)


def test_of_an_answer_at_each_step() -> None:
    batch = some(torch.zeros(3, 50, dtype=torch.int64))
    clock = torch.randn(3, 1, 4, generator=torch.Generator().manual_seed(0)).expand(3, 50, 4)
    assert dependence(clock, batch, classes=True) == pytest.approx(0, abs=1e-6)  # time alone is no input


def test_of_values_by_the_deviation_of_the_targets() -> None:
    targets = torch.linspace(-1, 1, 50)[:, None]
    assert dependence(1000 + targets / 2, some(targets), classes=False) == pytest.approx(0.5, rel=1e-3)
    assert dependence(targets, some(torch.ones(50, 1)), classes=False) is None


def test_where_nothing_should_differ() -> None:
    scores = torch.ones(2, 3)
    assert dependence(scores[:1], Batch(torch.ones(1, 4), torch.tensor([0])), classes=True) is None
    assert dependence(scores, Batch(torch.ones(2, 4), torch.tensor([0, 1])), classes=True) is None


@pytest.mark.parametrize(("recipe", "blind"), [("founding", True), ("default", False)])
def test_the_founding_network_answers_from_its_biases(recipe: str, blind: bool, tmp_path: Path) -> None:
    training = {"epochs": 1, "threads": 1, "log_every": 1}
    overrides = {"task": {"samples": 75}, "training": training}
    fit(Experiment.from_recipe("randman", recipe, overrides=overrides), tmp_path / "run", progress=False)
    told = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    kinds = {line["health"] for line in told if line["kind"] == "warning"}
    assert ("blind" in kinds) == blind
    assert not {"blind", "one_class"} <= kinds
