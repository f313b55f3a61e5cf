"""What a learning rule is: for a batch, it puts an update direction into each parameter's `.grad`.

It never steps an optimizer, so any rule goes with any optimizer, and with any substrate that turns
`.grad` into a change of its weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from rheobase.config import Config
from rheobase.kernels.constant import Constant
from rheobase.layers.network import Network, Record

#: How a rule's direction relates to the gradient of the loss.
Kind = Literal["exact", "truncated", "local", "black-box"]


@dataclass(frozen=True)
class Outcome:
    """What a rule saw while it worked: the batch's loss, and the network's record (detached)."""

    loss: Tensor
    record: Record


class LearningRule(Config, ABC):
    """A way to find an update direction for a network's parameters from one batch."""

    room: ClassVar[str] = "rheobase.rules"

    @property
    @abstractmethod
    def kind(self) -> Kind:
        """How the direction relates to the gradient of the loss."""

    @abstractmethod
    def accumulate(
        self,
        network: Network,
        inputs: Tensor | Constant,
        objective: Callable[[Record], Tensor],
        record: Sequence[str],
    ) -> Outcome:
        """Add the update direction for this batch to each trainable parameter's `.grad`.

        Args:
            network: The network; its parameters' `.grad` are changed, nothing else.
            inputs: `[T, B, ...]`, or a `Constant` input.
            objective: The loss (a scalar) from a record.
            record: Names of the signals that `objective` reads.
        """
