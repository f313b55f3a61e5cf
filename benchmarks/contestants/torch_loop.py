"""Plain torch: the neuron in a few tensor operations a step, no library; as a careful user would write it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import adaptive, lif, online
from benchmarks.interface import Data, Forms, Runner
from benchmarks.torch_recurrent import (
    Hidden,
    adding,
    all_membranes,
    last_membrane,
    sequences,
    weight_gradient_afterwards,
)
from benchmarks.torch_training import layer_gradient, training_step

NAME = "torch loop"
KIND = "peer"
VERSION = torch.__version__


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, distance: Tensor) -> Tensor:
        ctx.save_for_backward(distance)
        return (distance > 0).to(distance.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (distance,) = ctx.saved_tensors
        grad: Tensor = grads[0] / (distance.abs() * lif.SLOPE + 1).square_()
        return grad


def _step(current: Tensor, u: Tensor, spike: Tensor) -> tuple[Tensor, Tensor]:
    u = torch.add(current, u, alpha=lif.BETA) - spike.detach()  # the threshold is 1
    fired: Tensor = _Spike.apply(u - lif.THRESHOLD)  # type: ignore[no-untyped-call]
    return fired, u


def _over_time(currents: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    u = spike = torch.zeros_like(currents[0])
    spikes, membranes = [], []
    for current in currents:
        spike, u = _step(current, u, spike)
        spikes.append(spike)
        membranes.append(u)
    return spikes, membranes


def _w1(hoist_output: bool) -> Callable[[Data], Runner]:
    def forward(linear1: nn.Linear, linear2: nn.Linear, x: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        current = linear1(x)
        if hoist_output:
            hidden = torch.stack(_over_time([current] * steps)[0])
            return hidden, torch.stack(_over_time(linear2(hidden).unbind(0))[1])
        u1 = spike1 = torch.zeros_like(current)
        u2 = spike2 = torch.zeros(x.shape[0], linear2.out_features)
        recorded, membranes = [], []
        for _ in range(steps):
            spike1, u1 = _step(current, u1, spike1)
            spike2, u2 = _step(linear2(spike1), u2, spike2)
            recorded.append(spike1)
            membranes.append(u2)
        return torch.stack(recorded), torch.stack(membranes)

    return lambda data: training_step(data, forward)


def _w7(data: Data) -> Runner:
    return layer_gradient(data, lambda layer, x: torch.stack(_over_time(layer(x).unbind(0))[0]))


class AdaptiveSpike(torch.autograd.Function):
    """Spikes of adaptive neurons with membrane v and adaptation b."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, b: Tensor) -> Tensor:
        x = torch.sub(v, b, alpha=adaptive.BETA).sub_(adaptive.THRESHOLD)  # the threshold is 1
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        grad_x = _triangle(ctx.saved_tensors[0]).mul_(grads[0])
        return grad_x, grad_x * -adaptive.BETA


def _triangle(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp_(min=0).mul_(adaptive.GAMMA)


class _Cell(torch.autograd.Function):
    """A whole step with its adjoint written by hand, all but the gradient of the weights."""

    @staticmethod
    def forward(
        ctx: Any, current: Tensor, v: Tensor, b: Tensor, z: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        v = torch.addmm(current, z, weight.t()).add_(v, alpha=adaptive.ALPHA).sub_(z)
        b = torch.add(z, b, alpha=adaptive.RHO)
        x = torch.sub(v, b, alpha=adaptive.BETA).sub_(adaptive.THRESHOLD)
        ctx.save_for_backward(x, weight)
        ctx.set_materialize_grads(False)
        return v, b, (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        grad_v, grad_b, grad_z = grads
        x, weight = ctx.saved_tensors
        grad_x = _triangle(x).mul_(grad_z)
        grad_v = grad_x if grad_v is None else grad_x + grad_v
        scaled = grad_x * -adaptive.BETA
        grad_b = scaled if grad_b is None else scaled.add_(grad_b)
        into_z = torch.addmm(grad_b, grad_v, weight)
        return grad_v, grad_v * adaptive.ALPHA, grad_b * adaptive.RHO, into_z, None


State = tuple[Tensor, Tensor, Tensor]  # membrane, adaptation, spikes of the step before
Step = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], State]


def adaptive_step(current: Tensor, v: Tensor, b: Tensor, z: Tensor, weight: Tensor) -> State:
    """One step of the recurrent layer of W2 and W3."""
    v = torch.add(torch.addmm(current, z, weight.t()), v, alpha=adaptive.ALPHA) - z.detach()
    b = torch.add(z, b, alpha=adaptive.RHO)
    fired: Tensor = AdaptiveSpike.apply(v, b)  # type: ignore[no-untyped-call]
    return v, b, fired


def _recurrent(step: Step, afterwards: bool) -> Hidden:
    def hidden(currents: Tensor, weight: Tensor) -> Tensor:
        spikes: list[Tensor] = []
        if afterwards:
            currents, weight = weight_gradient_afterwards(currents, weight, spikes)
        v = b = z = torch.zeros_like(currents[0])
        for current in currents.unbind(0):
            v, b, z = step(current, v, b, z, weight)
            spikes.append(z)
        return torch.stack(spikes)

    return hidden


_RECURRENT = {
    "weight gradient step by step": _recurrent(adaptive_step, False),
    "weight gradient in one product": _recurrent(adaptive_step, True),
    "weight gradient in one product, step as one autograd.Function": _recurrent(
        _Cell.apply,  # type: ignore[no-untyped-call]
        True,
    ),
}

WORKLOADS: dict[str, Forms] = {
    "w1": {"first Linear hoisted": _w1(False), "both Linears hoisted": _w1(True)},
    "w2": {form: partial(adding, network=last_membrane(hidden)) for form, hidden in _RECURRENT.items()},
    "w3": {form: partial(sequences, network=all_membranes(hidden)) for form, hidden in _RECURRENT.items()},
    "w4": {
        "all in tensors": partial(online.runner, trial=online.tensors),
        "the neuron in Python's numbers": partial(online.runner, trial=online.numbers),
    },
    "w7": {"Linear hoisted": _w7},
}
