"""W4's trial by peers: plain torch, in two forms. What must come out is in `benchmarks.workloads.w4`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmarks.interface import Data, Outputs, Runner
from benchmarks.workloads import w4

Trial = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def runner(data: Data, trial: Trial) -> Runner:
    """A trial on tensors x [T, J], y [T, 1], w [1, J], which returns spikes [T] and the sum [J]."""
    x, y, w = (torch.from_numpy(data[name]) for name in ("x", "y", "w"))

    def check() -> Outputs:
        spikes, total = trial(x, y, w)
        fired = spikes.reshape(w4.STEPS, 1, 1).numpy() > 0
        return Outputs(fired.astype(np.bool_), {"w": total.reshape(1, -1).numpy()})

    return Runner(lambda: trial(x, y, w), check)


@torch.no_grad()
def tensors(x: Tensor, y: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Everything in tensors, as for any number of neurons; currents of all steps in one product."""
    currents, zero = x @ w.t(), torch.zeros(1)
    current, v, mute = torch.zeros(1), torch.full((1,), w4.REST), torch.zeros(1)
    z, response = torch.zeros(w4.INPUTS), torch.zeros(w4.INPUTS)
    first, trace = torch.zeros(1, w4.INPUTS), torch.zeros(1, w4.INPUTS)
    e0, e1 = torch.zeros(1), torch.zeros(1)
    total = torch.zeros(1, w4.INPUTS)
    spikes = []
    for arriving, sent, wanted in zip(currents.unbind(0), x.unbind(0), y.unbind(0), strict=True):
        current.mul_(w4.A_SYN).add_(arriving)
        moved = torch.lerp(current + w4.REST, v, w4.A_MEM)
        v = torch.where(mute > 0, v, moved)
        fired = (v > w4.THRESHOLD) & (mute <= 0)
        mute = torch.where(fired, float(w4.REFRACTORY), (mute - 1).clamp_(min=0))
        v = torch.where(fired, w4.REST, v)
        gate = (v - w4.THRESHOLD).abs_().mul_(w4.SLOPE).add_(1).pow_(-2)
        z.mul_(w4.A_SYN).add_(sent)
        response.lerp_(z, 1 - w4.A_MEM)
        first.lerp_(gate.unsqueeze(1) * response, 1 - w4.RISE)
        trace.lerp_(first, 1 - w4.DECAY)
        e0.lerp_(wanted - fired.to(wanted.dtype), 1 - w4.RISE)
        e1.lerp_(e0, 1 - w4.DECAY)
        total.addcmul_(e1.unsqueeze(1), trace)
        spikes.append(torch.where(fired, 1.0, zero))
    return torch.cat(spikes), total


@torch.no_grad()
def numbers(x: Tensor, y: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """The one neuron in Python's numbers, its hundred synapses in tensors."""
    currents, targets = (x @ w.t()).flatten().tolist(), y.flatten().tolist()
    arrives = x.any(1).tolist()
    current, v, mute, e0, e1 = 0.0, w4.REST, 0, 0.0, 0.0
    z, response, first, trace, total = (torch.zeros(w4.INPUTS) for _ in range(5))
    spikes = []
    for t, sent in enumerate(x.unbind(0)):
        current = w4.A_SYN * current + currents[t]
        if mute == 0:
            v = w4.REST + w4.A_MEM * (v - w4.REST) + (1 - w4.A_MEM) * current
        fired = mute == 0 and v > w4.THRESHOLD
        if fired:
            v, mute = w4.REST, w4.REFRACTORY
        elif mute:
            mute -= 1
        gate = 1.0 / (1.0 + w4.SLOPE * abs(v - w4.THRESHOLD)) ** 2
        z.mul_(w4.A_SYN)
        if arrives[t]:
            z.add_(sent)
        response.lerp_(z, 1 - w4.A_MEM)
        first.mul_(w4.RISE).add_(response, alpha=(1 - w4.RISE) * gate)
        trace.lerp_(first, 1 - w4.DECAY)
        e0 += (1 - w4.RISE) * (targets[t] - fired - e0)
        e1 += (1 - w4.DECAY) * (e0 - e1)
        total.add_(trace, alpha=e1)
        spikes.append(float(fired))
    return torch.tensor(spikes), total
