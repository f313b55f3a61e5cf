from __future__ import annotations

import json
import warnings

import pytest
import torch
from torch import nn

from rheobase.training.experiment import Training
from rheobase.training.optimizers import (
    learning_rate,
    make_optimizer,
    optimizer_tensors,
    optimizer_values,
    restore_optimizer,
    set_learning_rate,
)

STEPS = 20


@pytest.mark.parametrize("name", ["adam", "adamw", "adamax", "sgd", "rmsprop"])
def test_restored_optimizers_step_to_the_same_bits(name: str) -> None:
    training = Training(optimizer=name, momentum=0.9, weight_decay=0.01)

    def step(parameter: nn.Parameter, optimizer: torch.optim.Optimizer, k: int) -> None:
        parameter.grad = torch.sin(torch.arange(37.0) + k)
        set_learning_rate(optimizer, 0.1 / (k + 1))
        optimizer.step()

    whole = nn.Parameter(torch.ones(37))
    first = make_optimizer(training, [whole])
    for k in range(3):
        step(whole, first, k)
    tensors = {key: value.clone() for key, value in optimizer_tensors(first).items()}
    values = json.loads(json.dumps(optimizer_values(first)))
    again = nn.Parameter(whole.detach().clone())
    second = make_optimizer(training, [again])
    restore_optimizer(second, tensors, values)
    for k in range(3, 6):
        step(whole, first, k)
        step(again, second, k)
    assert torch.equal(whole, again)
    assert not torch.equal(whole, torch.ones(37))


def torch_rates(kind: str) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    schedule: torch.optim.lr_scheduler.LRScheduler
    if kind == "cosine":
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=STEPS)
    else:
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=0.5, total_steps=STEPS, cycle_momentum=False
        )
    rates = []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            optimizer.step()
            schedule.step() if len(rates) < STEPS else None
    return rates


@pytest.mark.parametrize("kind", ["cosine", "onecycle"])
def test_schedules_are_torchs(kind: str) -> None:
    training = Training(schedule=kind, learning_rate=0.5)
    rates = [learning_rate(training, step, STEPS) for step in range(STEPS)]
    assert rates == pytest.approx(torch_rates(kind), rel=1e-9)


def test_constant_rate() -> None:
    assert {learning_rate(Training(learning_rate=0.3), step, 7) for step in range(7)} == {0.3}


def test_nothing_to_train() -> None:
    with pytest.raises(ValueError, match="no trainable parameters"):
        make_optimizer(Training(), [nn.Parameter(torch.ones(1), requires_grad=False)])
