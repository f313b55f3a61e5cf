"""snnTorch: `Leaky` cells in a Python loop over time, state passed by hand, Linear hoisted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import snntorch  # type: ignore[import-untyped]
import torch
from snntorch import surrogate
from torch import Tensor, nn

from benchmarks import lif
from benchmarks.interface import Data, Forms, Runner
from benchmarks.torch_training import layer_gradient, training_step

NAME = "snnTorch"
KIND = "peer"
VERSION = snntorch.__version__


def _leaky() -> nn.Module:
    cell: nn.Module = snntorch.Leaky(
        beta=lif.BETA, threshold=lif.THRESHOLD, spike_grad=surrogate.fast_sigmoid(slope=lif.SLOPE)
    )
    return cell


def _over_time(cell: nn.Module, currents: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    membrane = torch.zeros_like(currents[0])
    spikes, membranes = [], []
    for current in currents:
        spike, membrane = cell(current, membrane)
        spikes.append(spike)
        membranes.append(membrane)
    return spikes, membranes


def _w1(hoist_output: bool) -> Callable[[Data], Runner]:
    def factory(data: Data) -> Runner:
        hidden, output = _leaky(), _leaky()

        def forward(linear1: nn.Linear, linear2: nn.Linear, x: Tensor, steps: int) -> tuple[Tensor, Tensor]:
            current = linear1(x)  # static input: the same at every step
            if hoist_output:
                spikes = torch.stack(_over_time(hidden, [current] * steps)[0])
                return spikes, torch.stack(_over_time(output, linear2(spikes).unbind(0))[1])
            u1, u2 = torch.zeros_like(current), torch.zeros(x.shape[0], linear2.out_features)
            recorded, membranes = [], []
            for _ in range(steps):
                spike, u1 = hidden(current, u1)
                _, u2 = output(linear2(spike), u2)
                recorded.append(spike)
                membranes.append(u2)
            return torch.stack(recorded), torch.stack(membranes)

        return training_step(data, forward)

    return factory


def _w7(hoist: bool) -> Callable[[Data], Runner]:
    def factory(data: Data) -> Runner:
        cell = _leaky()

        def forward(linear: nn.Linear, x: Tensor) -> Tensor:
            if hoist:
                return torch.stack(_over_time(cell, linear(x).unbind(0))[0])
            membrane = torch.zeros(x.shape[1], linear.out_features)
            spikes = []
            for inputs in x.unbind(0):
                spike, membrane = cell(linear(inputs), membrane)
                spikes.append(spike)
            return torch.stack(spikes)

        return layer_gradient(data, forward)

    return factory


WORKLOADS: dict[str, Forms] = {
    "w1": {"first Linear hoisted": _w1(False), "both Linears hoisted": _w1(True)},
    "w7": {"Linear hoisted": _w7(True)},
    "w7-512": {"Linear in the loop": _w7(False)},
}
