"""The part of W1 and W7 that every torch contestant shares: parameters, loss, backward, Adam, and the check.

A contestant gives only its network over time, as a function. Time loops take sequences of tensors made by
`unbind(0)`: indexing `currents[t]` in a loop makes the backward pass quadratic in T.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.interface import Data, Outputs, Runner
from benchmarks.workloads import w1

Network = Callable[[nn.Linear, nn.Linear, Tensor, int], tuple[Tensor, Tensor]]
"""(linear1, linear2, x [B, 784], steps) -> hidden spikes [T, B, 1000], output membrane [T, B, 10]."""
Loss = Callable[[Tensor, Tensor], Tensor]
"""(output membrane [T, B, 10], labels [B]) -> sum over steps of the mean over B."""
Gradient = Callable[[nn.Linear, nn.Linear, Tensor, Tensor], Tensor]
"""(linear1, linear2, x [B, 784], labels [B]) -> hidden spikes; the gradient is in the parameters' `.grad`."""
Layer = Callable[[nn.Linear, Tensor], Tensor]
"""(linear, x [T, B, N]) -> spikes [T, B, N]."""


def linear(weight: np.ndarray, bias: np.ndarray) -> nn.Linear:
    """A Linear that holds copies of the given weights."""
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer


def _outputs(spikes: Tensor, parameters: Mapping[str, Tensor]) -> Outputs:
    gradients = {}
    for name, parameter in parameters.items():
        if parameter.grad is None:
            raise RuntimeError(f"no gradient reached {name}")
        gradients[name] = parameter.grad.numpy()
    return Outputs(spikes.detach().numpy().astype(np.bool_), gradients)


def summed_cross_entropy(membrane: Tensor, y: Tensor) -> Tensor:
    """The sum over steps of the means over B, in one call for all steps: the mean over T B rows times T."""
    labels = y.repeat(w1.STEPS)
    return nn.functional.cross_entropy(membrane.flatten(0, 1), labels) * w1.STEPS


def training_step(data: Data, network: Network, loss: Loss = summed_cross_entropy) -> Runner:
    """W1 for a torch network: cross-entropy on the membrane at all steps, Adam in its fused form."""

    def gradient(linear1: nn.Linear, linear2: nn.Linear, x: Tensor, y: Tensor) -> Tensor:
        spikes, membrane = network(linear1, linear2, x, w1.STEPS)
        loss(membrane, y).backward()  # type: ignore[no-untyped-call]
        return spikes

    return training_with(data, gradient)


def training_with(data: Data, gradient: Gradient) -> Runner:
    """W1 by what brings the gradient."""
    linear1, linear2 = linear(data["w1"], data["b1"]), linear(data["w2"], data["b2"])
    x, y = torch.from_numpy(data["x"]), torch.from_numpy(data["y"])
    parameters = {"w1": linear1.weight, "b1": linear1.bias, "w2": linear2.weight, "b2": linear2.bias}
    adam = torch.optim.Adam(
        parameters.values(), lr=w1.LEARNING_RATE, betas=w1.BETAS, eps=w1.EPSILON, fused=True
    )

    def begin() -> Tensor:
        adam.zero_grad()
        return gradient(linear1, linear2, x, y)

    def step() -> None:
        begin()
        adam.step()

    def check() -> Outputs:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(torch.from_numpy(data[name]))
        return _outputs(begin(), parameters)

    return Runner(step, check)


def layer_gradient(data: Data, layer: Layer) -> Runner:
    """W7 for a torch layer: the gradient of the number of spikes."""
    dense = linear(data["w"], data["b"])
    x = torch.from_numpy(data["x"])
    parameters = {"w": dense.weight, "b": dense.bias}

    def step() -> Tensor:
        dense.zero_grad()
        spikes = layer(dense, x)
        spikes.sum().backward()  # type: ignore[no-untyped-call]
        return spikes

    return Runner(step, lambda: _outputs(step(), parameters))
