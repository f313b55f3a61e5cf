"""W1: one training step of snnTorch's tutorial 5 on images that do not change in time.

784-1000-10 LIF, T = 25, B = 128, every pixel a constant current. Loss: cross-entropy of the output membrane
at each step, mean over the batch, summed over the steps. Timed: forward, backward and Adam (5e-4). Images are
synthetic, with the share of ink of MNIST; weights follow `torch.nn.Linear`'s default distribution.

Source: https://snntorch.readthedocs.io/en/latest/tutorials/tutorial_5.html
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks import lif
from benchmarks.interface import Data, Outputs

TITLE = "W1: training step, 784-1000-10 LIF, T=25, B=128, static input"
STEPS, BATCH = 25, 128
INPUTS, HIDDEN, CLASSES = 784, 1000, 10
LEARNING_RATE, BETAS, EPSILON = 5e-4, (0.9, 0.999), 1e-8
PARAMETERS = ("w1", "b1", "w2", "b2")
CASES: dict[str, dict[str, int]] = {"w1": {}}


def make(seed: int) -> Data:
    """x [B, 784] in [0, 1], y [B], w1 [1000, 784], b1 [1000], w2 [10, 1000], b2 [10]."""
    rng = np.random.default_rng(seed)

    def uniform(fan_in: int, *shape: int) -> NDArray[np.float32]:
        bound = np.float32(1 / np.sqrt(fan_in))
        weights: NDArray[np.float32] = (bound * rng.uniform(-1, 1, shape)).astype(np.float32)
        return weights

    ink = rng.random((BATCH, INPUTS)) < 0.19
    return {
        "x": (ink * rng.random((BATCH, INPUTS))).astype(np.float32),
        "y": rng.integers(0, CLASSES, BATCH),
        "w1": uniform(INPUTS, HIDDEN, INPUTS),
        "b1": uniform(INPUTS, HIDDEN),
        "w2": uniform(HIDDEN, CLASSES, HIDDEN),
        "b2": uniform(HIDDEN, CLASSES),
    }


def reference(data: Data) -> Outputs:
    """Hidden spikes [T, B, 1000] and the gradient of the loss for the four parameters, in float64."""
    x, w1, b1, w2, b2 = (data[name].astype(np.float64) for name in ("x", "w1", "b1", "w2", "b2"))
    hidden, u1 = lif.forward(x @ w1.T + b1, STEPS)
    _, u2 = lif.forward(hidden @ w2.T + b2, STEPS)

    probability = np.exp(u2 - u2.max(-1, keepdims=True))
    probability /= probability.sum(-1, keepdims=True)
    grad_current2 = lif.adjoint((probability - np.eye(CLASSES)[data["y"].astype(np.int64)]) / BATCH)
    grad_current1 = lif.adjoint(grad_current2 @ w2 * lif.surrogate(u1)).sum(0)
    gradients = {
        "w1": grad_current1.T @ x,
        "b1": grad_current1.sum(0),
        "w2": np.einsum("tbc,tbn->cn", grad_current2, hidden, optimize=True),
        "b2": grad_current2.sum((0, 1)),
    }
    return Outputs(hidden, gradients)
