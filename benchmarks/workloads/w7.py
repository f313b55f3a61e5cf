"""W7: the gradient of one layer, Linear(N, N) + LIF, over a long sequence.

T = 500, B = 16, loss = the number of spikes, gradient for weight and bias, no optimizer. Two products of
2 T B N^2 operations each bound it from below: the currents and the weight gradient. Input: normal noise.

Source: Open Neuromorphic, SNN library benchmarks (2023),
https://open-neuromorphic.org/blog/spiking-neural-network-framework-benchmarking/
"""

from __future__ import annotations

import numpy as np

from benchmarks import lif
from benchmarks.interface import Data, Outputs

TITLE = "W7: gradient of Linear({neurons}, {neurons}) + LIF, T=500, B=16, loss = sum of spikes"
STEPS, BATCH = 500, 16
PARAMETERS = ("w", "b")
CASES: dict[str, dict[str, int]] = {"w7-512": {"neurons": 512}, "w7-2048": {"neurons": 2048}}


def make(seed: int, neurons: int) -> Data:
    """x [500, 16, N], w [N, N], b [N]; weights as `torch.nn.Linear` draws them."""
    rng = np.random.default_rng(seed)
    bound = np.float32(1 / np.sqrt(neurons))
    return {
        "x": rng.standard_normal((STEPS, BATCH, neurons), dtype=np.float32),
        "w": bound * rng.uniform(-1, 1, (neurons, neurons)).astype(np.float32),
        "b": bound * rng.uniform(-1, 1, neurons).astype(np.float32),
    }


def reference(data: Data) -> Outputs:
    """Spikes [T, B, N] and the gradient of their number for weight and bias, in float64."""
    x, w, b = (data[name].astype(np.float64) for name in ("x", "w", "b"))
    spikes, membrane = lif.forward(x @ w.T + b, STEPS)
    grad_current = lif.adjoint(lif.surrogate(membrane)).reshape(-1, w.shape[0])
    return Outputs(spikes, {"w": grad_current.T @ x.reshape(-1, w.shape[1]), "b": grad_current.sum(0)})
