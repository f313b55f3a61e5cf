"""A training step shared by several processes (see `rheobase.workers`).

What is divided is the rule's choice (`LearningRule.divides`):

    samples    each process takes a block of the batch; directions (and the loss) are averaged, weighted by
               the number of samples, or of time steps that count, in a block
    members    each sees the whole batch; the rule divides its own candidates, and all come to one direction
    nothing    the rule cannot be divided, and is refused

All have the same weights, optimizer and random states before and after a step, so the first one's checkpoint
is everyone's. Random encoders and shifts of images are drawn for the whole batch by each, and injected noise
belongs to a sample's place in the batch: what is trained on does not depend on the number of processes. What
does, by rounding alone, is the order in which the average is summed; and regularisers see a block, not the
batch. A batch of fewer samples than processes is not divided.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rheobase.kernels.constant import Constant
from rheobase.layers.network import Network
from rheobase.registry import name_of
from rheobase.rules.base import LearningRule, Memory, Outcome
from rheobase.tasks.dataset import Batch
from rheobase.workers import Workers


@dataclass(frozen=True)
class Sharing:
    """How a rule's steps are shared by the processes of a job."""

    rule: LearningRule
    workers: Workers

    def check(self) -> None:
        """Raise `ValueError` where the rule cannot be shared."""
        if self.workers.size > 1 and self.rule.divides == "nothing":
            raise ValueError(
                f"rule '{name_of(type(self.rule))}': got {self.workers.size} processes, wanted 1: what it "
                "keeps from batch to batch cannot be divided as it is set; start it without torchrun"
            )

    def block(self, number: int) -> slice:
        """Which of the `number` samples of a batch are this process's."""
        return self.workers.share(number) if self._divided(number) else slice(0, number)

    def pool(self, network: Network, outcome: Outcome, before: Memory, batch: Batch, number: int) -> Outcome:
        """Average directions, loss and what the rule keeps over the blocks of a batch of `number` samples.

        Args:
            network: It has the direction from this process's block, and gets the average.
            outcome: From this process's block.
            before: What the rule kept before this batch: what it did not touch is the same everywhere.
            batch: This process's block.
            number: Samples in the whole batch.
        """
        if not self._divided(number):
            return outcome
        loss = outcome.loss.clone()
        weight = torch.tensor(float(len(batch.inputs) if batch.mask is None else batch.mask.sum()))
        parts = [loss, *(p.grad for p in network.parameters() if p.grad is not None)]
        memory = dict(outcome.memory)
        for name, value in memory.items():
            if value.is_floating_point() and value is not before.get(name):
                memory[name] = value.clone()
                parts.append(memory[name])
        torch._foreach_mul_(parts, float(weight))
        self.workers.add([weight, *parts])
        torch._foreach_div_(parts, float(weight))
        return replace(outcome, loss=loss, memory=memory)

    def gather(self, own: Tensor, number: int) -> Tensor:
        """Of the whole batch, what `own` `[B, ...]` is of this process's block."""
        return self.workers.gather(own, number) if self._divided(number) else own

    def add(self, counts: dict[str, Tensor], number: int) -> dict[str, Tensor]:
        """Sums over the blocks of a batch."""
        if not self._divided(number):
            return counts
        total = {name: value.clone() for name, value in counts.items()}
        self.workers.add(list(total.values()))
        return total

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Of each flag, whether any process has it set."""
        if self.workers.size == 1:
            return flags
        raised = torch.tensor(flags, dtype=torch.int64)
        self.workers.add([raised])
        return tuple(bool(flag) for flag in raised)

    def _divided(self, number: int) -> bool:
        return 1 < self.workers.size <= number and self.rule.divides == "samples"


def cut(sequence: Tensor | Constant, block: slice) -> Tensor | Constant:
    """Some samples of an encoded batch `[T, B, ...]`."""
    if isinstance(sequence, Constant):
        return Constant(sequence.value[block], sequence.steps)
    return sequence[:, block]
