"""The losses of a whole population on one batch: the one place where members are evaluated.

Every member sees the same batch, the same injected noise and the same draws of random modules such as
dropout, so that members differ in nothing but their parameters, and the same parameters have the same loss.
Members leave no trace: what a module counts while it trains (batch norm) it counts on copies.

Two ways to the same losses:

    together     all members in one kernel (`rheobase.layers.members`), of whose read-out only what the loss
                 needs is left, the whole where it needs every step. For dense connections and neurons
    singly       the ordinary network, member after member. For everything

`evaluation` says which is taken, and why. The losses are the same: to the last bit, but where sums are made
in another order (`rheobase.kernels.population`) or directions of low rank are applied as factors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call

from rheobase.kernels.reduction import Reduction
from rheobase.layers.members import Factored, Values, batch_for, run_members, stages_of, unsuited
from rheobase.layers.network import Network, Record
from rheobase.rules.base import Lesson
from rheobase.rules.candidates import Candidates

#: What members are judged by: the loss that the task has, or its metric itself (which needs no derivative).
Fitness = Literal["loss", "score"]
#: How they are evaluated; "auto" is together wherever that can be.
Way = Literal["auto", "together", "singly"]

#: Bytes that parameters and read-outs of the members that are evaluated at once may take.
MEMORY = 1 << 28


class Evaluation(NamedTuple):
    """How members are evaluated.

    Attributes:
        way: "together" or "singly".
        why: In words.
        reduction: What is left of the read-out; None if all of its steps are.
    """

    way: Literal["together", "singly"]
    why: str
    reduction: Reduction | None = None


def evaluation(
    network: Network, lesson: Lesson, *, fitness: Fitness = "loss", way: Way = "auto"
) -> Evaluation:
    """How the members of a population of this network would be evaluated on this batch.

    Raises:
        ValueError: If they were to be evaluated together and cannot be.
    """
    if way == "singly":
        return Evaluation("singly", "asked for")
    reason, reduced = unsuited(network, lesson.inputs), lesson.reduced.get(fitness)
    if reason is None and reduced is None:
        read = lesson.judged or lesson.record
        other = [name for name in read if not name.startswith(f"{network.last}.")]
        if other or not read:
            reason = f"the {fitness} reads more than the read-out: {', '.join(other) or 'the output'}"
        elif any(name not in _signals(network) for name in read):
            reason = "the read-out has several groups of neurons"
    if reason is not None:
        if way == "together":
            raise ValueError(
                f"evaluation: got 'together', which cannot serve: {reason}; use 'singly' or 'auto'"
            )
        return Evaluation("singly", reason)
    if reduced is None:
        return Evaluation("together", f"the {fitness} needs every step of the read-out")
    return Evaluation(
        "together", f"the {fitness} needs the {reduced.reduction.how} over time", reduced.reduction
    )


@torch.no_grad()
def losses(
    network: Network,
    lesson: Lesson,
    candidates: Candidates,
    *,
    fitness: Fitness = "loss",
    members: Sequence[int] | None = None,
    way: Way = "auto",
    memory: int = MEMORY,
) -> Tensor:
    """What is to be minimised, for each member: `[P]` (or one for each of `members`).

    Args:
        network: The network; what candidates do not name is its own, and the same for all.
        lesson: The batch.
        candidates: The population.
        fitness: "loss" for `lesson.objective`, "score" for `lesson.score` (minus it, if higher is better).
        members: Those that are wanted; all if None.
        way: How they are evaluated: see `evaluation`.
        memory: Bytes that may be taken by the parameters and read-outs of members that are evaluated
            together; a population that needs more is split, which changes nothing.

    Raises:
        ValueError: If the score is asked for and the lesson has none, or if the members cannot be evaluated
            in the way that was asked for.
    """
    judge = judgement(lesson, fitness)
    chosen = range(len(candidates)) if members is None else members
    if not chosen:
        return torch.zeros(0)
    how = evaluation(network, lesson, fitness=fitness, way=way)
    if how.way == "together":
        return _together(network, lesson, candidates, chosen, fitness, memory)
    return _singly(network, lesson, candidates, chosen, judge)


def judgement(lesson: Lesson, fitness: Fitness) -> Callable[[Record], Tensor]:
    """What makes one number, to be minimised, of a member's record."""
    if fitness == "loss":
        return lesson.objective
    score = lesson.score
    if score is None:
        raise ValueError("fitness: got 'score' for a lesson without a score, wanted one; use 'loss'")
    sign = _sign(lesson, fitness)
    return lambda record: sign * score(record)


def _sign(lesson: Lesson, fitness: Fitness) -> float:
    return -1.0 if fitness == "score" and lesson.higher_is_better else 1.0


def _singly(
    network: Network,
    lesson: Lesson,
    candidates: Candidates,
    members: Sequence[int],
    judge: Callable[[Record], Tensor],
) -> Tensor:
    buffers = dict(network.named_buffers())
    random = torch.get_rng_state()
    values = []
    for member in members:
        torch.set_rng_state(random)
        own = {name: value.clone() for name, value in buffers.items()} | candidates.parameters(member)
        record = functional_call(network, own, (lesson.inputs,), {"record": lesson.judged or lesson.record})
        values.append(judge(record))
    torch.set_rng_state(random)
    return torch.stack(values)


def _together(
    network: Network,
    lesson: Lesson,
    candidates: Candidates,
    members: Sequence[int],
    fitness: Fitness,
    memory: int,
) -> Tensor:
    judge, reduced = judgement(lesson, fitness), lesson.reduced.get(fitness)
    names = () if reduced is not None else lesson.judged or lesson.record
    signals, sign = [_signals(network)[name] for name in names], _sign(lesson, fitness)
    batch = batch_for(network, lesson.inputs)
    outputs = stages_of(network, {})[-1].size * batch.samples * (1 if reduced else batch.steps * len(signals))
    each = lesson.inputs.dtype.itemsize * (outputs + _entries(candidates.together(members[:1])))
    number = max(1, memory // each)
    found: list[Tensor] = []
    for low in range(0, len(members), number):
        values = candidates.together(members[low : low + number])
        if reduced is not None:
            (left,), _ = run_members(network, values, batch, [reduced.reduction])
            found.append(sign * reduced.each(left))
            continue
        _, whole = run_members(network, values, batch, (), signals)
        for one in zip(*whole, strict=True):
            read = dict(zip(names, (x.contiguous() for x in one), strict=True))
            found.append(judge(Record(next(iter(read.values())), read))[None])
    return torch.cat(found)


def _entries(values: Values) -> int:
    """The numbers that members have of their own."""
    return sum(
        v.left.numel() + v.right.numel() if isinstance(v, Factored) else v.numel() for v in values.values()
    )


def _signals(network: Network) -> dict[str, str]:
    """The read-out's signals that can be had together: their names, and what the kernel calls them."""
    layer = network.neurons()[network.last]
    known = [*(["spikes"] if layer.spiking else []), *layer.states]
    return {f"{network.last}.{name}": name for name in known if "." not in name}
