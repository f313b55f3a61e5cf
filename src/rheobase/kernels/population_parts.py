"""What a population is evaluated of: connections and neurons with all members' parameters, and a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rheobase.kernels.constant import Constant
from rheobase.kernels.population_form import Feed
from rheobase.kernels.spike_bits import pack
from rheobase.neurons.base import Neuron

Array = np.ndarray[Any, Any]


class Weights(NamedTuple):
    """A connection's matrix: weight + left @ right.

    Attributes:
        weight: `[1, M, K]`, the same for all members, or `[P, M, K]`.
        left, right: Factors `[P, M, r]` and `[P, r, K]`, or None.
    """

    weight: Tensor
    left: Tensor | None = None
    right: Tensor | None = None

    @property
    def rank(self) -> int:
        """r; 0 without factors."""
        return 0 if self.left is None else self.left.shape[-1]

    def dense(self) -> Weights:
        """The same without factors."""
        if self.left is None or self.right is None:
            return self
        return Weights(self.weight + self.left @ self.right)

    @property
    def members(self) -> int:
        """P, or 1 if all members have the same."""
        return self.weight.shape[0] if self.left is None else self.left.shape[0]


class Cells(NamedTuple):
    """A group of neurons of one model.

    Attributes:
        neuron: The model.
        size: The number of neurons.
        parameters: Those that are tensors, `[1 or P, 1 or size]`.
    """

    neuron: Neuron
    size: int
    parameters: Mapping[str, Tensor] = {}


@dataclass(frozen=True)
class Stage:
    """A connection and the neurons behind it.

    Attributes:
        cells: The groups of neurons, side by side.
        weights: From what the stage before emits to the neurons' inputs.
        bias: `[1 or P, M]` or None.
        recurrent: Connections among the neurons, or None.
        delay: That of the recurrent connections, in steps.
    """

    cells: tuple[Cells, ...]
    weights: Weights
    bias: Tensor | None = None
    recurrent: Weights | None = None
    delay: int = 1

    @property
    def size(self) -> int:
        """The number of neurons."""
        return sum(c.size for c in self.cells)

    @property
    def columns(self) -> int:
        """The number of the neurons' inputs."""
        return sum(c.size * len(c.neuron.inputs) for c in self.cells)

    @property
    def members(self) -> int:
        """P, or 1 if all members are the same here."""
        counts = [self.weights.members]
        counts += [] if self.bias is None else [self.bias.shape[0]]
        counts += [] if self.recurrent is None else [self.recurrent.members]
        counts += [v.shape[0] for c in self.cells for v in c.parameters.values()]
        return max(counts)


@dataclass(frozen=True)
class Batch:
    """An input laid out in blocks of samples, to be used for any number of members.

    Attributes:
        feed: See `population_source.Feed`; "constant" becomes "shared" if weights are.
        array: The numbers or bits.
        steps, samples, lanes: T, B, and samples per block.
        value: A constant input as it came, `[B, K]`.
    """

    feed: Feed
    array: Array
    steps: int
    samples: int
    lanes: int
    dtype: torch.dtype
    value: Tensor | None = field(default=None, compare=False)

    @property
    def width(self) -> int:
        """The number of inputs K."""
        return int(self.array.shape[2 if self.feed == "spikes" else -2])

    @property
    def blocks(self) -> int:
        """The number of blocks of samples."""
        return int(-(-self.samples // self.lanes))

    @classmethod
    def of(cls, inputs: Tensor | Constant, lanes: int) -> Batch:
        """From `[T, B, ...]`. Sequences of nothing but 0 and 1 are kept as bits."""
        steps, samples, dtype = inputs.shape[0], inputs.shape[1], inputs.dtype
        if isinstance(inputs, Constant):
            value = inputs.value.detach().flatten(1)
            return cls("constant", in_blocks(value, lanes), steps, samples, lanes, dtype, value)
        x = inputs.detach().flatten(2)
        bits = pack(x, lanes)
        if bits is not None:
            return cls("spikes", bits, steps, samples, lanes, dtype)
        return cls("values", in_blocks(x, lanes), steps, samples, lanes, dtype)


def in_blocks(x: Tensor, lanes: int) -> Array:
    """`[..., B, K]` as `[blocks, ..., K, lanes]`, filled up with zeros."""
    *steps, samples, inputs = x.shape
    blocks = -(-samples // lanes)
    full = x.new_zeros(*steps, blocks * lanes, inputs)
    full[..., :samples, :] = x
    split = full.reshape(*steps, blocks, lanes, inputs).transpose(-1, -2).movedim(-3, 0)
    array: Array = split.contiguous().numpy()
    return array
