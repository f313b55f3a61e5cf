"""Norse: `lif_box_feed_forward_step` in a Python loop over time, products of the Linear hoisted.

Norse integrates v <- v + dt/tau (I - v) and resets within the step. With dt/tau = 1 - beta, currents divided
by 1 - beta (folded into the weights) and its `reset_method` hook subtracting threshold/beta from detached
spikes, this is exactly u[t] = beta u[t-1] + I[t] - s[t-1], so Norse computes the same spikes up to rounding.
Its own `reset_subtract` could not: it subtracts before the leak and lets a gradient through the reset.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version

import torch
from norse.torch.functional.lif_box import (  # type: ignore[import-untyped]
    LIFBoxFeedForwardState,
    LIFBoxParameters,
    lif_box_feed_forward_step,
)
from torch import Tensor, nn
from torch.nn.functional import linear

from benchmarks import lif
from benchmarks.interface import Data, Forms, Runner
from benchmarks.torch_training import layer_gradient, training_step

NAME = "Norse"
KIND = "peer"
VERSION = version("norse")

_GAIN = 1 / (1 - lif.BETA)
_DT = 0.001


def _subtract_before_leak(spike: Tensor, v: Tensor, reset: Tensor, threshold: Tensor) -> Tensor:
    return v - spike.detach() * reset


_PARAMETERS = LIFBoxParameters(
    tau_mem_inv=torch.as_tensor((1 - lif.BETA) / _DT),
    v_th=torch.as_tensor(lif.THRESHOLD),
    v_reset=torch.as_tensor(lif.THRESHOLD / lif.BETA),
    method="super",
    alpha=torch.as_tensor(lif.SLOPE),
    reset_method=_subtract_before_leak,
)


def _scaled(layer: nn.Linear, x: Tensor) -> Tensor:
    return linear(x, layer.weight * _GAIN, layer.bias * _GAIN)


def _step(current: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    spike, state = lif_box_feed_forward_step(current, LIFBoxFeedForwardState(v=v), _PARAMETERS, _DT)
    return spike, state.v


def _before_reset(spike: Tensor, v: Tensor) -> Tensor:
    # Norse returns the membrane after its reset; the loss reads the one that was compared with the threshold.
    before: Tensor = v + spike.detach() * _PARAMETERS.v_reset
    return before


def _over_time(currents: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    v = torch.zeros_like(currents[0])
    spikes, membranes = [], []
    for current in currents:
        spike, v = _step(current, v)
        spikes.append(spike)
        membranes.append(v)
    return spikes, membranes


def _w1(hoist_output: bool) -> Callable[[Data], Runner]:
    def forward(linear1: nn.Linear, linear2: nn.Linear, x: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        current = _scaled(linear1, x)
        if hoist_output:
            hidden = torch.stack(_over_time([current] * steps)[0])
            out, v = (torch.stack(signal) for signal in _over_time(_scaled(linear2, hidden).unbind(0)))
            return hidden, _before_reset(out, v)
        weight, bias = linear2.weight * _GAIN, linear2.bias * _GAIN
        v1, v2 = torch.zeros_like(current), torch.zeros(x.shape[0], linear2.out_features)
        recorded, membranes = [], []
        for _ in range(steps):
            spike, v1 = _step(current, v1)
            spike2, v2 = _step(linear(spike, weight, bias), v2)
            recorded.append(spike)
            membranes.append(_before_reset(spike2, v2))
        return torch.stack(recorded), torch.stack(membranes)

    return lambda data: training_step(data, forward)


def _w7(data: Data) -> Runner:
    return layer_gradient(data, lambda layer, x: torch.stack(_over_time(_scaled(layer, x).unbind(0))[0]))


WORKLOADS: dict[str, Forms] = {
    "w1": {"first Linear hoisted": _w1(False), "both Linears hoisted": _w1(True)},
    "w7": {"Linear hoisted": _w7},
}
