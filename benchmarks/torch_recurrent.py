"""The part of W2 and W3 that every torch contestant shares: parameters, losses, backward, and the check.

A contestant gives its hidden layer over time (`Hidden`), or the whole network if it has a read-out of its
own (`Network`). Time loops take sequences of tensors made by `unbind(0)` or `split`: indexing `currents[t]`
in a loop makes the backward pass quadratic in T.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear, mse_loss

from benchmarks import adaptive
from benchmarks.interface import Data, Outputs, Runner
from benchmarks.workloads import w3

Parameters = Mapping[str, nn.Parameter]
Network = Callable[[Parameters, Tensor], tuple[Tensor, Tensor]]
"""(parameters, x [T, B, K]) -> hidden spikes [T, B, N], read-out membranes [T or 1, B, K]."""
Gradient = Callable[[Parameters, Tensor, Tensor], Tensor]
"""(parameters, x [T, B, K], targets) -> hidden spikes; the gradient is in the parameters' `.grad`."""
Loss = Callable[[Tensor, Tensor], Tensor]
"""(read-out membranes [T, B, K], labels [B]) -> their loss."""
Hidden = Callable[[Tensor, Tensor], Tensor]
"""(currents [T, B, N], recurrent weights (to, from), the diagonal 0) -> spikes [T, B, N]."""


def without_self_connections(weight: Tensor) -> Tensor:
    """The weights with a diagonal of zeros, which also gets no gradient."""
    return weight * (1 - torch.eye(weight.shape[0]))


class _WeightGradientAfterwards(torch.autograd.Function):
    """The identity on currents; on the way back, the recurrent weights' gradient from the currents'."""

    @staticmethod
    def forward(ctx: Any, currents: Tensor, weight: Tensor, spikes: Sequence[Tensor]) -> Tensor:
        ctx.spikes = spikes
        return currents.view_as(currents)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        (grad,) = grads
        before = torch.cat(list(ctx.spikes)).view_as(grad)[:-1].flatten(0, 1)
        ctx.spikes = None  # they hold the graph that holds this: a cycle, which would outlive the step
        return grad, grad[1:].flatten(0, 1).t() @ before, None


def weight_gradient_afterwards(
    currents: Tensor, weight: Tensor, spikes: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Currents and weights for a loop in which no gradient reaches the weights.

    That gradient is taken afterwards, by one product over all steps in place of one a step. The loop appends
    what it emits to `spikes`, in pieces [B, N] or [steps, B, N].
    """
    deferred: Tensor = _WeightGradientAfterwards.apply(currents, weight, spikes)  # type: ignore[no-untyped-call]
    return deferred, weight.detach()


def last_membrane(hidden: Hidden) -> Network:
    """For W2: the leaky read-out's last value is a weighted sum over time, taken before its weights."""

    def network(p: Parameters, x: Tensor) -> tuple[Tensor, Tensor]:
        spikes = hidden(linear(x, p["w_in"], p["b_in"]), without_self_connections(p["w_rec"]))
        decay = adaptive.KAPPA ** torch.arange(len(x) - 1, -1, -1.0)
        filtered = torch.tensordot(decay, spikes, 1)
        return spikes, (linear(filtered, p["w_out"]) + decay.sum() * p["b_out"])[None]

    return network


def all_membranes(hidden: Hidden) -> Network:
    """Network for W3: the read-out's weights once for all steps, its leak in a loop."""

    def network(p: Parameters, x: Tensor) -> tuple[Tensor, Tensor]:
        spikes = hidden(linear(x, p["w_in"], p["b_in"]), without_self_connections(p["w_rec"]))
        membranes = []
        y = torch.zeros(x.shape[1], len(p["w_out"]))
        for current in linear(spikes, p["w_out"], p["b_out"]).unbind(0):
            y = torch.add(current, y, alpha=adaptive.KAPPA)
            membranes.append(y)
        return spikes, torch.stack(membranes)

    return network


def adding(data: Data, network: Network) -> Runner:
    """W2: squared error of the read-out at the last step."""
    return gradient_with(data, _of(network, last_error))


def last_error(membranes: Tensor, y: Tensor) -> Tensor:
    """Of the read-out's last membrane [B, 1]."""
    return mse_loss(membranes[-1], y)


def mean_cross_entropy(membranes: Tensor, y: Tensor) -> Tensor:
    """The mean over steps and B, in one call for all steps."""
    return cross_entropy(membranes.flatten(0, 1), y.repeat(len(membranes)))


def sequences(data: Data, network: Network, loss: Loss = mean_cross_entropy) -> Runner:
    """W3: cross-entropy of the read-out at all steps."""
    return gradient_with(data, _of(network, loss))


def _of(network: Network, loss: Loss) -> Gradient:
    def gradient(p: Parameters, x: Tensor, y: Tensor) -> Tensor:
        spikes, membranes = network(p, x)
        loss(membranes, y).backward()  # type: ignore[no-untyped-call]
        return spikes

    return gradient


def gradient_with(data: Data, gradient: Gradient) -> Runner:
    """W2 or W3 by what brings the gradient."""
    x, y = torch.from_numpy(data["x"]), torch.from_numpy(data["y"])
    parameters = {name: nn.Parameter(torch.from_numpy(data[name].copy())) for name in w3.PARAMETERS}

    def step() -> Tensor:
        for parameter in parameters.values():
            parameter.grad = None
        return gradient(parameters, x, y)

    def check() -> Outputs:
        spikes = step()
        gradients = {}
        for name, parameter in parameters.items():
            if parameter.grad is None:
                raise RuntimeError(f"no gradient reached {name}")
            gradients[name] = parameter.grad.numpy()
        return Outputs(spikes.detach().numpy().astype(np.bool_), gradients)

    return Runner(step, check)
