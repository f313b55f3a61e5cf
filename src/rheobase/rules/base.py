"""What a learning rule is: for a batch, it puts an update direction into each parameter's `.grad`.

It never steps an optimizer, so any rule goes with any optimizer, and with any substrate that turns
`.grad` into a change of its weights.

    memory = rule.begin(network, generator)                  # once
    outcome = rule.accumulate(network, lesson, memory)       # for each batch
    memory = outcome.memory

What a rule keeps from one batch to the next (feedback weights, eligibility traces, a model of the network)
is a value that the caller holds, like a network's state; so a checkpoint has it, and nothing is hidden.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import Tensor

from rheobase.config import Config
from rheobase.kernels.constant import Constant
from rheobase.kernels.reduction import Reduction
from rheobase.layers.network import Network, Record

#: How a rule's direction relates to the gradient of the loss.
Kind = Literal["exact", "truncated", "local", "black-box"]
#: What a rule keeps between batches, by name. Never changed in place: an outcome has the next one.
Memory: TypeAlias = Mapping[str, Tensor]


@dataclass(frozen=True)
class Reduced:
    """How to judge a network by what is left of its read-out over time, for rules that judge many.

    Attributes:
        reduction: What is left of the read-out's signal.
        value: The loss, or the score, from that `[B, K]`: the same number as from the record.
        values: The same of many networks at once, `[P]` from `[P, B, K]`, where that is worth something.
    """

    reduction: Reduction
    value: Callable[[Tensor], Tensor]
    values: Callable[[Tensor], Tensor] | None = None

    def each(self, left: Tensor) -> Tensor:
        """`[P]` from what is left of P read-outs, `[P, B, K]`."""
        if self.values is not None:
            return self.values(left)
        return torch.stack([self.value(one) for one in left.contiguous()])


@dataclass(frozen=True)
class Lesson:
    """One batch, as a rule gets it.

    Attributes:
        inputs: `[T, B, ...]`, or a `Constant` input.
        objective: The loss (a scalar) from a record.
        record: Names of the signals that `objective` and `score` read.
        targets: What the task wants, as in its `Batch`; None where there is nothing.
        score: The task's metric on this batch (a scalar; it need not have a derivative) from a record.
        higher_is_better: Of the score.
        judged: Those of `record` that `objective` and `score` do read; all if empty.
        reduced: Where the read-out's course need not be known, how to judge by what is left of it: the
            "loss" or the "score".
        judge: The objective as a function of a record and what else it takes, the same for each batch; and
        judged_with: that, `objective(record) == judge(record, *judged_with)`. With them, steps can be
            replayed (`rheobase.layers.replay`).
        counts: The steps at which the output counts, bool `[T, B]`; all if None. `objective` and `score`
            know it.
    """

    inputs: Tensor | Constant
    objective: Callable[[Record], Tensor]
    record: tuple[str, ...] = ()
    targets: Tensor | None = None
    score: Callable[[Record], Tensor] | None = None
    higher_is_better: bool = True
    judged: tuple[str, ...] = ()
    reduced: Mapping[Literal["loss", "score"], Reduced] = field(default_factory=dict)
    counts: Tensor | None = None
    judge: Callable[..., Tensor] | None = None
    judged_with: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What a rule saw while it worked: the batch's loss, the network's record (detached), and its memory."""

    loss: Tensor
    record: Record
    memory: Memory = field(default_factory=dict)


class LearningRule(Config, ABC):
    """A way to find an update direction for a network's parameters from one batch."""

    room: ClassVar[str] = "rheobase.rules"

    trains: ClassVar[str]
    """What it can train, in words: which parameters of which networks."""
    cost: ClassVar[str]
    """What it costs per time step, in words: operations and memory, and what memory grows with."""
    descends: ClassVar[bool] = True
    """Whether its direction estimates the loss's gradient, so that the angle between them says how well."""

    @property
    @abstractmethod
    def kind(self) -> Kind:
        """How the direction relates to the gradient of the loss."""

    def begin(self, network: Network, generator: torch.Generator) -> Memory:
        """What it keeps, before the first batch.

        Args:
            network: The network that it will train.
            generator: Where random numbers come from, also those for later (as a seed in the memory).

        Raises:
            ValueError: If it cannot train such a network, with what it can.
        """
        return {}

    @property
    def divides(self) -> Literal["samples", "members", "nothing"]:
        """What several processes divide among them (see `rheobase.training.sharing`).

        The samples of a batch: then directions, and what it keeps where that changed, are averaged. Its own
        candidates, which it divides itself (see `rheobase.workers`). Or nothing, as where it keeps something
        of each sample.
        """
        return "samples"

    def trained(self, network: Network) -> tuple[str, ...]:
        """The names of the parameters to whose `.grad` it adds: of those that require one, all."""
        return tuple(name for name, parameter in network.named_parameters() if parameter.requires_grad)

    @abstractmethod
    def accumulate(self, network: Network, lesson: Lesson, memory: Memory) -> Outcome:
        """Add the update direction for this batch to each trainable parameter's `.grad`.

        Args:
            network: The network; its parameters' `.grad` are changed, nothing else.
            lesson: The batch.
            memory: What `begin`, or the outcome of the batch before, says.
        """
