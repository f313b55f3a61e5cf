"""W2: the gradient of a recurrent network on the adding problem.

2-100-1, adaptive LIF all to all, T = 100, B = 25. Input: numbers in [0, 1] and a mask that marks one of each
half; target: the sum of the two marked. Loss: squared error of the leaky read-out at the last step. Gradient
for all weights and biases, no optimizer.

Source of the task: S. Hochreiter, J. Schmidhuber, Long short-term memory, Neural Computation 9 (1997) 1735.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks import adaptive
from benchmarks.interface import Data, Outputs

TITLE = "W2: gradient, adding problem, 2-100-1 recurrent adaptive LIF, T=100, B=25"
STEPS, BATCH = 100, 25
INPUTS, NEURONS, OUTPUTS = 2, 100, 1
PARAMETERS = ("w_in", "b_in", "w_rec", "w_out", "b_out")
CASES: dict[str, dict[str, int]] = {"w2": {}}
# Half of what torch.nn.RNN draws: gradients neither vanish nor explode over the steps.
RECURRENT_GAIN = 0.5


def make(seed: int) -> Data:
    """x [T, B, 2], y [B, 1], w_in [100, 2], b_in, w_rec [100, 100] (to, from), w_out [1, 100], b_out."""
    rng = np.random.default_rng(seed)

    def uniform(bound: float, *shape: int) -> NDArray[np.float32]:
        return (bound * rng.uniform(-1, 1, shape)).astype(np.float32)

    value, mask = rng.random((STEPS, BATCH)), np.zeros((STEPS, BATCH))
    for half in (0, STEPS // 2):
        mask[half + rng.integers(0, STEPS // 2, BATCH), np.arange(BATCH)] = 1
    recurrent = uniform(RECURRENT_GAIN / np.sqrt(NEURONS), NEURONS, NEURONS)
    np.fill_diagonal(recurrent, 0)
    return {
        "x": np.stack([value, mask], -1).astype(np.float32),
        "y": (value * mask).sum(0)[:, None].astype(np.float32),
        "w_in": uniform(1 / np.sqrt(INPUTS), NEURONS, INPUTS),
        "b_in": uniform(1 / np.sqrt(INPUTS), NEURONS),
        "w_rec": recurrent,
        "w_out": uniform(1 / np.sqrt(NEURONS), OUTPUTS, NEURONS),
        "b_out": uniform(1 / np.sqrt(NEURONS), OUTPUTS),
    }


def reference(data: Data) -> Outputs:
    """Hidden spikes [T, B, 100] and the gradient for the five parameters, in float64."""
    return _evaluate(data, None)


def follow(data: Data, spikes: NDArray[np.bool_]) -> Outputs:
    """What the hidden neurons should have done at each step after `spikes`, and the gradient along these."""
    return _evaluate(data, spikes)


def _evaluate(data: Data, spikes: NDArray[np.bool_] | None) -> Outputs:
    x, y, w_in, b_in, w_rec, w_out, b_out = (
        data[name].astype(np.float64) for name in ("x", "y", *PARAMETERS)
    )
    run = adaptive.forward(x @ w_in.T + b_in, w_rec, spikes)
    last = adaptive.read_out(run.spikes @ w_out.T + b_out)[-1]
    grad_y = np.zeros((STEPS, BATCH, OUTPUTS))
    grad_y[-1] = 2 * (last - y) / y.size
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
