"""Every recipe of every task is an experiment whose network has the signals that loss and decoder read."""

from __future__ import annotations

import pytest
import torch

from rheobase.registry import catalogue, name_of
from rheobase.tasks.base import Task
from rheobase.tasks.images import ImageClassification
from rheobase.tasks.unsupervised_digits import UnsupervisedDigits
from rheobase.training.experiment import Experiment
from rheobase.training.objective import Objective
from rheobase.training.setup import build_network

RECIPES = [(task, recipe) for task, cls in catalogue(Task).items() for recipe in cls.recipes]


@pytest.mark.parametrize(("task", "recipe"), RECIPES)
def test_a_recipe_goes_together(task: str, recipe: str) -> None:
    experiment = Experiment.from_recipe(task, recipe)
    network = build_network(experiment)
    objective = Objective(experiment.loss, experiment.decoder, experiment.regularisers, network)
    assert set(objective.readout) <= set(network.signals())
    assert Experiment.from_tables(experiment.tables()) == experiment


SETTINGS = [(task, rule) for task, cls in catalogue(Task).items() for rule in cls.settings]


@pytest.mark.parametrize(("task", "rule"), SETTINGS)
def test_settings_for_a_rule_go_together(task: str, rule: str) -> None:
    """What a task lays over its recipe for another rule is there when that rule is chosen, and trains it."""
    experiment = Experiment.from_recipe(task, overrides={"rule": rule})
    assert name_of(type(experiment.rule)) == rule
    network = build_network(experiment)
    Objective(experiment.loss, experiment.decoder, experiment.regularisers, network)
    experiment.rule.begin(network, torch.Generator())


def test_image_tasks_have_the_same_recipes() -> None:
    for cls in catalogue(Task).values():
        if issubclass(cls, ImageClassification) and cls is not UnsupervisedDigits:
            assert {"default", "rate", "latency", "best"} <= set(cls.recipes)
            assert set(ImageClassification.settings) <= set(cls.settings)


def test_the_default_decides_by_the_membrane_and_rate_by_the_spikes() -> None:
    for recipe, signal in (("default", "v"), ("rate", "spikes"), ("latency", "spikes"), ("best", "v")):
        experiment = Experiment.from_recipe("mnist", recipe)
        assert (experiment.loss.signal, experiment.decoder.signal) == (signal, signal)
