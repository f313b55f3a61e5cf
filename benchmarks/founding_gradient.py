"""What the founding run's spike gradient said, beside the right one, on one batch of the adding problem.

The published code made the derivative of the spike by hand and left out the chain rule's factor: it handed
back 0.3 max(0, 1 - |x|) whatever gradient came in. Here is its cell in plain torch, with either derivative;
the equations are those of `rb.AdaptiveLIF.preset("adding")`.

    python -m benchmarks.founding_gradient
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from rheobase.tasks.adding import Adding

BATCH, HIDDEN = 25, 100
ALPHA, RHO, RESISTANCE, BETA = math.exp(-1 / 20), math.exp(-1.0), 2.0, 0.1


class Spike(torch.autograd.Function):
    """x >= 0, with the triangular derivative; `right` says whether it multiplies what comes in."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, right: bool) -> Tensor:
        ctx.save_for_backward(x)
        ctx.right = right
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, incoming: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        derivative = 0.3 * (1 - x.abs()).clamp(min=0)
        return (derivative * incoming if ctx.right else derivative), None


def answer(inputs: Tensor, kernel: Tensor, readout: Tensor, right: bool) -> Tensor:
    """The read-out's last voltage, `[B, 1]`, for inputs `[B, T, 2]`."""
    v, b, z = (torch.zeros(len(inputs), HIDDEN) for _ in range(3))
    out = torch.zeros(len(inputs), 1)
    for x in inputs.unbind(1):
        b = RHO * b + (1 - RHO) * z
        level = 1 + BETA * b
        v = ALPHA * v + (1 - ALPHA) * RESISTANCE * (torch.cat([x, z], 1) @ kernel)
        z = Spike.apply((v - level) / level, right)
        v = v * (1 - z)
        out = ALPHA * out + z @ readout
    return out


def main() -> None:
    """Print how the two gradients of the hidden kernel compare."""
    torch.manual_seed(0)
    kernel = (20 * torch.randn(2 + HIDDEN, HIDDEN)).requires_grad_()
    limit = math.sqrt(6 / (HIDDEN + 1))
    readout = torch.empty(HIDDEN, 1).uniform_(-limit, limit)
    batch = Adding().splits().train.batch(torch.arange(BATCH))

    def gradient(right: bool, targets: Tensor) -> Tensor:
        loss = (answer(batch.inputs, kernel, readout, right) - targets).square().mean()
        return torch.autograd.grad(loss, kernel)[0]

    published, correct = gradient(False, batch.targets), gradient(True, batch.targets)
    cosine = torch.cosine_similarity(published.flatten(), correct.flatten(), dim=0)
    print(f"norm {published.norm():.1f}, right {correct.norm():.1f}; cosine {cosine:.3f}")
    print("the same with other targets:", torch.equal(published, gradient(False, 1000 - batch.targets)))


if __name__ == "__main__":
    main()
