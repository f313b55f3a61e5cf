"""W5: the losses of one generation of an evolution strategy.

A population of networks, each with parameters of its own (weights and biases of both layers), on the same
samples: one spike per input, at a random step of 200. Leaky neurons with a decay of .85, subtractive reset
one step late, threshold 1, in both layers; loss of a member: cross-entropy of the output's spike counts, mean
over the samples. No gradient. "w5-small" has the sizes of the founding run (population 30, 3-4-10, 600
samples, weights perturbed by 1), "w5-large" 200 networks of 100-100-10.

The spikes that are compared are those of the output layer of the first `CHECKED` members; beside them their
losses and spike counts, in place of gradients.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.interface import Data, Outputs

TITLE = "W5: losses of a generation, {members} networks {inputs}-{hidden}-10, 600 samples, T=200, counts only"
STEPS, SAMPLES, CLASSES, BETA, THRESHOLD = 200, 600, 10, 0.85, 1.0
CHECKED = 10
PARAMETERS = ("w1", "b1", "w2", "b2")
CASES: dict[str, dict[str, int]] = {
    "w5-small": {"members": 30, "inputs": 3, "hidden": 4},
    "w5-large": {"members": 200, "inputs": 100, "hidden": 100},
}


def make(seed: int, members: int, inputs: int, hidden: int) -> Data:
    """x [T, B, K], y [B]; of each member w1 [P, H, K], b1 [P, H], w2 [P, 10, H], b2 [P, 10]."""
    rng = np.random.default_rng(seed)
    x = np.zeros((STEPS, SAMPLES, inputs), np.float32)
    samples, units = np.indices((SAMPLES, inputs))
    x[rng.integers(0, STEPS, (SAMPLES, inputs)), samples, units] = 1
    sigma = 1.0 if hidden < 10 else 0.05

    def around(bound: float, *shape: int) -> NDArray[np.float32]:
        mean = bound * rng.uniform(-1, 1, shape)
        return (mean + sigma * rng.standard_normal((members, *shape))).astype(np.float32)

    return {
        "x": x,
        "y": rng.integers(0, CLASSES, SAMPLES),
        "w1": around(1 / np.sqrt(inputs), hidden, inputs),
        "b1": around(1 / np.sqrt(inputs), hidden),
        "w2": around(1 / np.sqrt(hidden), CLASSES, hidden),
        "b2": around(1 / np.sqrt(hidden), CLASSES),
    }


def reference(data: Data) -> Outputs:
    """Output spikes [T, members * B, 10], losses and spike counts of the first members, in float64."""
    x = data["x"].astype(np.float64)
    spikes = []
    for member in range(CHECKED):
        w1, b1, w2, b2 = (data[name][member].astype(np.float64) for name in PARAMETERS)
        spikes.append(_layer(_layer(x @ w1.T + b1) @ w2.T + b2))
    return outputs(np.stack(spikes).transpose(1, 0, 2, 3), data)


def outputs(spikes: NDArray[np.floating], data: Data, losses: NDArray[np.floating] | None = None) -> Outputs:
    """What is compared, from the output spikes [T, M, B, 10] of the checked members."""
    counts = spikes.sum(0, dtype=np.float64)
    largest = counts.max(-1, keepdims=True)
    normal = largest[..., 0] + np.log(np.exp(counts - largest).sum(-1))
    right = np.take_along_axis(counts, data["y"][None, :, None].astype(np.int64), -1)[..., 0]
    expected = (normal - right).mean(-1)
    flat = spikes.reshape(len(spikes), -1, spikes.shape[-1]) > 0
    return Outputs(flat, {"losses": expected if losses is None else losses[:CHECKED], "counts": counts})


def _layer(current: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spikes [T, B, N]: v' = beta v + I - threshold z, z = v > threshold."""
    spikes = np.empty_like(current)
    v, z = np.zeros_like(current[0]), np.zeros_like(current[0])
    for t, given in enumerate(current):
        v = BETA * v + given - THRESHOLD * z
        z = (v > THRESHOLD).astype(np.float64)
        spikes[t] = z
    return spikes
