"""The losses of a whole population on one batch: the one place where members are evaluated.

Every member sees the same batch, the same injected noise and the same draws of random modules such as
dropout, so that members differ in nothing but their parameters, and the same parameters have the same loss.
Members leave no trace: what a module counts while it trains (batch norm) it counts on copies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.func import functional_call

from rheobase.layers.network import Network, Record
from rheobase.rules.base import Lesson
from rheobase.rules.candidates import Candidates

#: What members are judged by: the loss that the task has, or its metric itself (which needs no derivative).
Fitness = Literal["loss", "score"]


@torch.no_grad()
def losses(
    network: Network,
    lesson: Lesson,
    candidates: Candidates,
    *,
    fitness: Fitness = "loss",
    members: Sequence[int] | None = None,
) -> Tensor:
    """What is to be minimised, for each member: `[P]` (or one for each of `members`).

    Args:
        network: The network; what candidates do not name is its own, and the same for all.
        lesson: The batch.
        candidates: The population.
        fitness: "loss" for `lesson.objective`, "score" for `lesson.score` (minus it, if higher is better).
        members: Those that are wanted; all if None.

    Raises:
        ValueError: If the score is asked for and the lesson has none.
    """
    judge = judgement(lesson, fitness)
    chosen = range(len(candidates)) if members is None else members
    buffers = dict(network.named_buffers())
    random = torch.get_rng_state()
    values = []
    for member in chosen:
        torch.set_rng_state(random)
        own = {name: value.clone() for name, value in buffers.items()} | candidates.parameters(member)
        record = functional_call(network, own, (lesson.inputs,), {"record": lesson.record})
        values.append(judge(record))
    torch.set_rng_state(random)
    return torch.stack(values) if values else torch.zeros(0)


def judgement(lesson: Lesson, fitness: Fitness) -> Callable[[Record], Tensor]:
    """What makes one number, to be minimised, of a member's record."""
    if fitness == "loss":
        return lesson.objective
    score = lesson.score
    if score is None:
        raise ValueError("fitness: got 'score' for a lesson without a score, wanted one; use 'loss'")
    sign = -1.0 if lesson.higher_is_better else 1.0
    return lambda record: sign * score(record)
