"""Every task: its data are as it describes them, the same each time, and what its recipes name fits them."""

from __future__ import annotations

import math

import pytest
import torch

from rheobase.registry import build, catalogue, name_of
from rheobase.tasks.base import Task
from rheobase.tasks.dataset import Batch
from rheobase.training.experiment import Experiment
from rheobase.training.loop import Trainer
from rheobase.training.optimizers import optimizer_tensors, optimizer_values, restore_optimizer

TASKS = list(catalogue(Task).values())  # type: ignore[type-abstract]
each = pytest.mark.parametrize("cls", TASKS)


def batch_of(task: Task) -> Batch:
    """The first training samples, at most three."""
    try:
        train = task.splits().train
    except FileNotFoundError as error:
        pytest.skip(f"its data are not here: {error}")
    return train.batch(torch.arange(min(3, len(train))))


@each
def test_description(cls: type[Task]) -> None:
    task = cls()
    assert build(Task, task.to_dict()) == task  # type: ignore[type-abstract]
    assert next(iter(cls.recipes)) == "default"
    assert math.isfinite(task.chance)
    assert task.outputs > 0
    assert all(size > 0 for size in task.input_shape)


@each
def test_recipes_and_settings_are_experiments(cls: type[Task]) -> None:
    for recipe in cls.recipes:
        for rule in (None, *cls.settings):
            made = Experiment.from_recipe(name_of(cls), recipe, {"rule": rule} if rule else None)
            assert isinstance(made.task, cls)
            assert rule is None or name_of(type(made.rule)) == rule


@each
def test_data_are_as_described_and_the_same_each_time(cls: type[Task]) -> None:
    task = Experiment.from_recipe(name_of(cls)).task
    first, second = batch_of(task), batch_of(task)
    assert first.inputs.shape[1:] == task.input_shape
    assert first.inputs.isfinite().all()
    assert torch.equal(first.inputs, second.inputs)
    assert torch.equal(first.targets, second.targets)
    if task.classes is not None:
        assert len(task.classes) <= task.outputs
        assert 0 <= int(first.targets.min()) <= int(first.targets.max()) < len(task.classes)


@each
def test_loss_and_decoder_fit_the_targets(cls: type[Task]) -> None:
    made = Experiment.from_recipe(name_of(cls))
    batch, numbers = batch_of(made.task), torch.Generator().manual_seed(0)
    sequence = made.encoder.encode(batch.inputs, numbers)
    assert tuple(sequence.shape[2:]) == made.encoder.output_shape(made.task.input_shape)[1:]
    output = (
        torch.rand(sequence.shape[0], len(batch.inputs), made.task.outputs, generator=numbers) < 0.1
    ).float()
    assert made.loss(output, batch.targets, batch.mask).isfinite()
    predictions = made.decoder.predict(output) if made.task.classes else made.decoder.scores(output)
    assert math.isfinite(made.task.scoring.mean(predictions, batch.targets, batch.mask))


@each
def test_its_network_stands_on_crossbars(cls: type[Task]) -> None:
    made = Experiment.from_recipe(name_of(cls), overrides={"substrate": "memtransistor-5"})
    batch_of(made.task)  # or skip
    trainer = Trainer(made, made.task.splits(), folder=None, recipe="")  # type: ignore[arg-type]
    placed = {one.parameter for one in trainer.placed.values()}
    assert placed
    assert placed >= {p for p in trainer.network.parameters() if p.dim() == 2 and p.requires_grad}
    for one in trainer.placed.values():
        assert torch.equal(one.parameter, one.array.stored().view_as(one.parameter))
    restore_optimizer(
        trainer.optimizer, optimizer_tensors(trainer.optimizer), optimizer_values(trainer.optimizer)
    )
