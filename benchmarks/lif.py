"""The neuron of all workloads, and its float64 truth in plain NumPy.

    r[t] = H(u[t-1] - 1)                      (reset signal, detached: no gradient flows through it)
    u[t] = beta u[t-1] + I[t] - r[t],         u[0] = 0 before the first step
    s[t] = H(u[t] - 1),                       dH/dx := 1 / (1 + slope |x|)^2   (fast sigmoid)

u, I and the threshold are dimensionless, time counts in steps. This is `snntorch.Leaky` with its default
reset (subtract, one step late). The slope is 1 because Norse 1.1.0 ignores the slope it is given
(`norse.torch.functional.superspike` divides by (|x| + 1)^2 whatever alpha says), and all contestants must
compute the same gradient.

Source of the surrogate: F. Zenke, S. Ganguli, SuperSpike, Neural Computation 30 (2018) 1514.
Not modelled: refractoriness, synaptic currents, recurrence.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BETA = 0.95
THRESHOLD = 1.0
SLOPE = 1.0

Float = NDArray[np.float64]


def forward(current: Float, steps: int) -> tuple[NDArray[np.bool_], Float]:
    """Spikes and membranes [T, B, N] for currents [T, B, N], or [B, N] when they do not change in time."""
    constant = current.ndim == 2
    u = np.zeros(current.shape[-2:])
    spikes = np.empty((steps, *u.shape), dtype=np.bool_)
    membrane = np.empty((steps, *u.shape))
    for t in range(steps):
        u = BETA * u + (current if constant else current[t]) - THRESHOLD * (u > THRESHOLD)
        membrane[t] = u
        spikes[t] = u > THRESHOLD
    return spikes, membrane


def surrogate(membrane: Float) -> Float:
    """Derivative that stands in for that of the step, [T, B, N] -> [T, B, N]."""
    return 1.0 / (1.0 + SLOPE * np.abs(membrane - THRESHOLD)) ** 2


def adjoint(grad_membrane: Float) -> Float:
    """dL/dI [T, B, N] from dL/du[t] at fixed u[t-1], [T, B, N]: the leak carried backwards in time."""
    out = np.empty_like(grad_membrane)
    carry = np.zeros_like(grad_membrane[0])
    for t in range(len(grad_membrane) - 1, -1, -1):
        carry = grad_membrane[t] + BETA * carry
        out[t] = carry
    return out
