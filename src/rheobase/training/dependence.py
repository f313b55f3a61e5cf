"""How much a network's answers depend on what it sees: a number on one batch, for the health checks.

    d = rms over outputs of (standard deviation over samples) / scale

A network whose neurons fire from their biases, or not at all, answers all samples alike: d is near 0, while
its rates, its loss and its gradient may look like those of any other. The scale is the rms of the scores
themselves, less what all classes have in common; of values, the same deviation of the targets.
Not told apart: variation that comes from the input, and from noise (of an encoder or injected).
"""

from __future__ import annotations

import torch
from torch import Tensor

from rheobase.tasks.dataset import Batch


def dependence(scores: Tensor, batch: Batch, *, classes: bool) -> Tensor | None:
    """d of `scores`, `[B, C]` or `[T, B, C]`, on `batch`, a scalar.

    None where nothing should differ: one sample, inputs that are all the same, or values (`classes` false)
    whose targets are.

    >>> batch = Batch(torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1]))
    >>> dependence(torch.tensor([[1.0, 3.0], [1.0, 3.0]]), batch, classes=True)
    tensor(0.)
    >>> dependence(torch.tensor([[3.0, 1.0], [1.0, 3.0]]), batch, classes=True)
    tensor(1.)
    """
    if all(torch.equal(batch.inputs[0], other) for other in batch.inputs[1:]):
        return None
    scores = scores.detach()
    if classes:
        scores = scores - scores.mean(-1, keepdim=True)
        scale = _rms(scores)
    else:
        scale = _deviation(batch.targets)
        if not scale > 0:
            return None
    return _deviation(scores) / scale.clamp_min(torch.finfo(scale.dtype).tiny)


def _deviation(values: Tensor) -> Tensor:
    """Standard deviation over the samples of `[..., B, K]`, its rms over all the rest."""
    return _rms(values - values.mean(-2, keepdim=True))


def _rms(values: Tensor) -> Tensor:
    return values.square().mean().sqrt()
