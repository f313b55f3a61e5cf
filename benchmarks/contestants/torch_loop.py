"""Plain torch: the neuron in four tensor operations a step, no library; as a careful user would write it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import lif
from benchmarks.interface import Data, Forms, Runner
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


WORKLOADS: dict[str, Forms] = {
    "w1": {"first Linear hoisted": _w1(False), "both Linears hoisted": _w1(True)},
    "w7": {"Linear hoisted": _w7},
}
