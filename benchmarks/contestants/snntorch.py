"""snnTorch: `Leaky` cells in a Python loop over time, state passed by hand, Linear hoisted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import snntorch  # type: ignore[import-untyped]
import torch
from snntorch import surrogate
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks import lif
from benchmarks.interface import Data, Forms, Outputs, Runner
from benchmarks.torch_training import layer_gradient, training_step
from benchmarks.workloads import w5

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


@torch.no_grad()
def _counts(cells: tuple[nn.Module, nn.Module], currents: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """Output spikes [T, ..., B, 10] from the hidden layer's currents [T, ..., B, H], both Linears hoisted."""
    hidden = torch.stack(_over_time(cells[0], currents.unbind(0))[0])
    return torch.stack(_over_time(cells[1], (hidden @ w2.mT + b2.unsqueeze(-2)).unbind(0))[0])


def _w5(together: bool) -> Callable[[Data], Runner]:
    def factory(data: Data) -> Runner:
        w1, b1, w2, b2 = (torch.from_numpy(data[name]) for name in w5.PARAMETERS)
        x, y = torch.from_numpy(data["x"]), torch.from_numpy(data["y"])
        cells = (snntorch.Leaky(beta=w5.BETA), snntorch.Leaky(beta=w5.BETA))

        def losses(spikes: Tensor) -> Tensor:
            counts = spikes.sum(0)
            return torch.stack([cross_entropy(member, y) for member in counts])

        @torch.no_grad()
        def spikes(members: slice) -> Tensor:
            currents = x[:, None] @ w1[members].mT + b1[members].unsqueeze(-2)
            return _counts(cells, currents, w2[members], b2[members])

        def step() -> Tensor:
            if together:
                return losses(spikes(slice(None)))
            return torch.cat([losses(spikes(slice(p, p + 1))) for p in range(len(w1))])

        def check() -> Outputs:
            return w5.outputs(spikes(slice(w5.CHECKED)).numpy(), data, step().numpy())

        return Runner(step, check)

    return factory


WORKLOADS: dict[str, Forms] = {
    "w1": {"first Linear hoisted": _w1(False), "both Linears hoisted": _w1(True)},
    "w5": {"member after member, both Linears hoisted": _w5(False)},
    "w5-small": {"all members at once, both Linears hoisted": _w5(True)},
    "w7": {"Linear hoisted": _w7(True)},
    "w7-512": {"Linear in the loop": _w7(False)},
}
