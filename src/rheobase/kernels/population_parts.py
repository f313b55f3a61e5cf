"""What a population is evaluated of: connections and neurons with all members' parameters, and a batch."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rheobase.kernels.constant import Constant
from rheobase.kernels.plan import Plan, carry_out, make_plan
from rheobase.kernels.population_form import Feed
from rheobase.kernels.spike_bits import counts, lists, pack
from rheobase.kernels.trace import Trace, trace
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

    def factors(self, dtype: torch.dtype) -> list[Array]:
        """Left and right, if there are any."""
        return [array_of(factor, dtype) for factor in (self.left, self.right) if factor is not None]

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
        array: The numbers or bits, or the inputs that spiked.
        steps, samples, lanes: T, B, and samples per block.
        value: A constant input as it came, `[B, K]`.
        spans: Of lists, where those of each sample and step begin, `[B, T + 1]`.
        inputs: The number of inputs K, if the array does not say it.
    """

    feed: Feed
    array: Array
    steps: int
    samples: int
    lanes: int
    dtype: torch.dtype
    value: Tensor | None = field(default=None, compare=False)
    spans: Array | None = field(default=None, compare=False)
    inputs: int = 0

    @property
    def width(self) -> int:
        """The number of inputs K."""
        if self.feed == "lists":
            return self.inputs
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

    @property
    def rate(self) -> float:
        """The share of the spikes that there could be, of an input of bits."""
        if not self.array.size:
            return 0.0
        return int(counts(self.array, self.samples).sum()) / (self.steps * self.samples * self.width)

    def listed(self) -> Batch:
        """The same spikes as lists: the inputs of each sample and step, ascending, or K if none spiked."""
        spans, inputs = lists(self.array, self.samples)
        return replace(self, feed="lists", array=inputs, spans=spans, inputs=self.width)


def array_of(value: float | Tensor, dtype: torch.dtype) -> Array:
    """A number or tensor for a kernel."""
    if not isinstance(value, Tensor):
        return torch.full((1, 1), value, dtype=dtype).numpy()
    array: Array = value.detach().to(dtype).contiguous().numpy()
    return array


def carried_out(cells: Cells) -> tuple[Plan, dict[int, Any]]:
    """A group's program, and the values in it."""
    plan = _plan(_plain(cells), tuple(cells.parameters))
    return plan, carry_out(plan, cells.parameters)


def traced(cells: Cells) -> Trace:
    """The traced step of a group's model."""
    return _traced(_plain(cells))


def _plain(cells: Cells) -> Neuron:
    """The model without tensors: numbers that are not special stand for them."""
    return cells.neuron.bind(dict.fromkeys(cells.parameters, 2.0)) if cells.parameters else cells.neuron


@functools.lru_cache(maxsize=128)
def _plan(neuron: Neuron, tensors: tuple[str, ...]) -> Plan:
    return make_plan(neuron, tensors, constant=False, record=())


@functools.lru_cache(maxsize=128)
def _traced(neuron: Neuron) -> Trace:
    return trace(neuron)


def in_blocks(x: Tensor, lanes: int) -> Array:
    """`[..., B, K]` as `[blocks, ..., K, lanes]`, filled up with zeros."""
    *steps, samples, inputs = x.shape
    blocks = -(-samples // lanes)
    full = x.new_zeros(*steps, blocks * lanes, inputs)
    full[..., :samples, :] = x
    split = full.reshape(*steps, blocks, lanes, inputs).transpose(-1, -2).movedim(-3, 0)
    array: Array = split.contiguous().numpy()
    return array
