"""W3: the gradient of a recurrent network on sequences as long as an image read pixel by pixel.

80-220-10, adaptive LIF all to all, T = 784, B = 64. Input: synthetic images whose grey values are read one a
step; 40 channels fire where the value rises past their level and 40 where it falls past it. Loss:
cross-entropy of the leaky read-out, mean over steps and batch. Gradient for all weights and biases, no
optimizer. Two firing rates, set by the biases, since some methods save work where neurons are silent; and
`w3-long`, ten thousand steps, whose point is memory.

Source of the set-up: G. Bellec et al., Long short-term memory and learning-to-learn in networks of spiking
neurons, NeurIPS 2018.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks import adaptive
from benchmarks.interface import Data, Outputs

TITLE = "W3: gradient, 80-{neurons}-10 recurrent adaptive LIF, T={steps}, B={batch}, {percent} % firing"
CHANNELS, OUTPUTS = 80, 10
PARAMETERS = ("w_in", "b_in", "w_rec", "w_out", "b_out")
CASES: dict[str, dict[str, int]] = {
    "w3-30": {"neurons": 220, "steps": 784, "batch": 64, "percent": 30},
    "w3-3": {"neurons": 220, "steps": 784, "batch": 64, "percent": 3},
    "w3-long": {"neurons": 200, "steps": 10_000, "batch": 16, "percent": 3},
}
# Firing in per cent -> centre of the biases.
BIAS = {30: 0.38, 3: 0.061}
# Smaller than torch.nn.RNN's weights: gradients do not explode over the steps.
RECURRENT_GAIN = 0.3


def _crossings(rng: np.random.Generator, steps: int, batch: int) -> NDArray[np.bool_]:
    """Channels [T, B, 80] that fire as a grey value passes their levels. Ink lasts 5 steps, gaps 20."""
    ink = np.zeros((steps + 1, batch), dtype=np.bool_)
    for t in range(1, steps + 1):
        ink[t] = rng.random(batch) < np.where(ink[t - 1], 0.8, 0.05)
    grey = ink * rng.random(ink.shape)
    levels = (np.arange(CHANNELS // 2) + 0.5) / (CHANNELS // 2)
    above = grey[:, :, None] > levels
    return np.concatenate([above[1:] & ~above[:-1], above[:-1] & ~above[1:]], axis=-1)


def make(seed: int, neurons: int, steps: int, batch: int, percent: int) -> Data:
    """x [T, B, 80] of 0 and 1, y [B], w_in [N, 80], b_in, w_rec [N, N] (to, from), w_out [10, N], b_out."""
    rng = np.random.default_rng(seed)
    bias = BIAS[percent]

    def uniform(bound: float, *shape: int) -> NDArray[np.float32]:
        return (bound * rng.uniform(-1, 1, shape)).astype(np.float32)

    recurrent = uniform(RECURRENT_GAIN / np.sqrt(neurons), neurons, neurons)
    np.fill_diagonal(recurrent, 0)
    return {
        "x": _crossings(rng, steps, batch).astype(np.float32),
        "y": rng.integers(0, OUTPUTS, batch),
        "w_in": uniform(1 / np.sqrt(CHANNELS), neurons, CHANNELS),
        "b_in": np.float32(bias) + uniform(0.1 * bias, neurons),
        "w_rec": recurrent,
        "w_out": uniform(1 / np.sqrt(neurons), OUTPUTS, neurons),
        "b_out": uniform(1 / np.sqrt(neurons), OUTPUTS),
    }


def reference(data: Data) -> Outputs:
    """Hidden spikes [T, B, N] and the gradient for the five parameters, in float64."""
    return _evaluate(data, None)


def follow(data: Data, spikes: NDArray[np.bool_]) -> Outputs:
    """What the hidden neurons should have done at each step after `spikes`, and the gradient along these."""
    return _evaluate(data, spikes)


def _evaluate(data: Data, spikes: NDArray[np.bool_] | None) -> Outputs:
    x, w_in, b_in, w_rec, w_out, b_out = (data[name].astype(np.float64) for name in ("x", *PARAMETERS))
    run = adaptive.forward(x @ w_in.T + b_in, w_rec, spikes)
    y = adaptive.read_out(run.spikes @ w_out.T + b_out)
    probability = np.exp(y - y.max(-1, keepdims=True))
    probability /= probability.sum(-1, keepdims=True)
    grad_y = (probability - np.eye(OUTPUTS)[data["y"].astype(np.int64)]) / (y.shape[0] * y.shape[1])
    grad_output = adaptive.read_out_adjoint(grad_y)
    grad_current = adaptive.adjoint(grad_output @ w_out, w_rec, run.x)
    gradients = {
        "w_in": np.einsum("tbn,tbk->nk", grad_current, x, optimize=True),
        "b_in": grad_current.sum((0, 1)),
        "w_rec": adaptive.weight_gradient(grad_current, run.spikes),
        "w_out": np.einsum("tbk,tbn->kn", grad_output, run.spikes, optimize=True),
        "b_out": grad_output.sum((0, 1)),
    }
    return Outputs(run.fired, gradients)
