"""Bounds on what an optimizer changes: projected gradient descent, whichever the optimizer.

Before each use, a parameter is put back to the nearest point within its bounds, in place, should a step
have left them. Its gradient passes as if there were no bounds, so that a value at a bound can come back
as soon as the gradient points inwards.

Not changed: an optimizer's own memory (momentum), which may push against a bound for some steps.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from rheobase.kernels.settled import host

Bound = Tensor | float


def projected(parameter: Tensor, low: Bound, high: Bound) -> Tensor:
    """`parameter` within `low` to `high` (numbers, or tensors that broadcast to it).

    >>> w = torch.nn.Parameter(torch.tensor([-1.0, 2.0]))
    >>> projected(w, 0.0, torch.inf).tolist(), w.tolist()
    ([0.0, 2.0], [0.0, 2.0])
    """
    if torch.compiler.is_compiling():  # which does not take a change of a parameter
        return parameter + (_clamped(parameter, low, high) - parameter).detach()
    host(functools.partial(_project, parameter, low, high))
    return parameter


def _project(parameter: Tensor, low: Bound, high: Bound) -> None:
    inside = _clamped(parameter.detach(), low, high)
    # Written only where it differs: autograd refuses what was changed since an earlier call.
    if not torch.equal(inside, parameter):
        with torch.no_grad():
            parameter.copy_(inside)


def _clamped(value: Tensor, low: Bound, high: Bound) -> Tensor:
    low, high = (torch.as_tensor(b, dtype=value.dtype, device=value.device) for b in (low, high))
    return value.clamp(low, high)
