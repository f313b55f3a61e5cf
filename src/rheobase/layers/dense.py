"""The all-to-all connection."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rheobase.kernels.constant import Constant
from rheobase.kernels.products import linear
from rheobase.layers.connection import Rewiring, Signs, Weights, make_weight
from rheobase.layers.over_time import over_time


class Dense(nn.Module):
    """y = x W^T + b at each time step; what follows the batch dimension is flattened.

    All time steps are multiplied at once; an input that does not change in time is multiplied once.
    Initial weights are uniform in +-gain/sqrt(inputs), torch's for a gain of 1, or normal with a standard
    deviation of gain/sqrt(inputs); initial biases are uniform in +-1/sqrt(inputs).

    Args:
        inputs: Number of presynaptic units.
        outputs: Number of postsynaptic units.
        bias: Whether to add a constant current per postsynaptic unit.
        gain: Factor on the initial weights.
        weights: Distribution of the initial weights.
        signs: +1 or -1 per presynaptic unit, or the share of excitatory units, drawn at random.
        density: Share of the possible connections that exist, drawn at random; initial weights are then
            those of the remaining number of inputs.
        rewiring: Whether and how connections are rewired in training: see `rheobase.layers.rewire`.
        balanced: Whether initial weights of the rarer sign are larger, so that both signs cancel on average.

    Shape: `[T, B, inputs] -> [T, B, outputs]` (or `[T, B, ...]` with `inputs` values per sample).

    Raises:
        ValueError: If a sample does not have `inputs` values.

    >>> Dense(3, 2)(torch.zeros(5, 4, 3)).shape
    torch.Size([5, 4, 2])
    """

    weight: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        bias: bool = True,
        gain: float = 1.0,
        weights: Weights = "uniform",
        signs: Signs | None = None,
        density: float = 1.0,
        rewiring: Rewiring | None = None,
        balanced: bool = False,
    ) -> None:
        super().__init__()
        if inputs < 1 or outputs < 1:
            raise ValueError(f"Dense: got {inputs} inputs and {outputs} outputs, wanted at least 1 each")
        self.inputs, self.outputs = inputs, outputs
        make_weight(
            self,
            outputs,
            inputs,
            gain=gain,
            weights=weights,
            signs=signs,
            density=density,
            rewiring=rewiring,
            balanced=balanced,
        )
        bound = 1.0 / math.sqrt(inputs)
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound)) if bias else None

    def forward(self, x: Tensor | Constant) -> Tensor | Constant:
        """The weighted sums at each time step."""
        return over_time(self._step, x)

    def _step(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        if x.shape[1] != self.inputs:
            raise ValueError(
                f"Dense: got samples of {x.shape[1]} values, wanted {self.inputs}; inputs are time-major, "
                "[T, B, ...]"
            )
        y: Tensor = linear(x, self.weight, self.bias)
        return y

    def extra_repr(self) -> str:
        return f"{self.inputs}, {self.outputs}, bias={self.bias is not None}"
