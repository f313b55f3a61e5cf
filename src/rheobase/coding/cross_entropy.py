"""Cross-entropies of many rows of few classes, in less time.

    cross_entropies   of each of many networks on the same samples, to the same bits as one after another
    total             of all rows, with its gradient

torch's log-softmax takes one row of classes after another, and a row of ten fills no vector: 160 ns a row on
a Zen 4. Along the first axis it takes as many rows at a time as a vector has numbers: 10 ns. A row that is
shorter than a vector is summed in the order of its classes either way, to the same bits; longer ones are not,
and are taken one after another. So that no number is left over beside whole vectors, which torch gives to
another exponential function, the rows are filled up.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rheobase.kernels.cross_entropy import cross_entropy, serves
from rheobase.kernels.settled import settled

#: Bytes of a vector of torch's own kernels, by what it says of the processor; the least that there is if it
#: says something else.
_BYTES = {"AVX2": 32, "AVX512": 64}


def cross_entropies(scores: Tensor, labels: Tensor) -> Tensor:
    """`functional.cross_entropy(scores[p], labels)` for each p: `[P]` from `[P, B, C]` and `[B]`.

    >>> cross_entropies(torch.zeros(2, 3, 10), torch.tensor([3, 1, 4]))  # ln 10
    tensor([2.3026, 2.3026])
    """
    members, samples, classes = scores.shape
    if _worth_turning(scores):
        logarithms = _in_front(scores.movedim(-1, 0)).view(classes, members, samples).movedim(0, -1)
    else:
        logarithms = functional.log_softmax(scores, -1)
    return torch.stack([functional.nll_loss(one, labels) for one in logarithms])


def total(scores: Tensor, labels: Tensor, scale: float = 1.0) -> Tensor:
    """The sum of the rows' cross-entropies times `scale`, up to rounding.

    Args:
        scores: `[R, C]`.
        labels: `[L]`, where R is a multiple of L: row r has label r modulo L.
        scale: A factor.

    >>> total(torch.zeros(3, 10), torch.tensor([3, 1, 4]))  # 3 ln 10
    tensor(6.9078)
    """
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active() or not serves(scores):
        every = labels.repeat(len(scores) // len(labels))
        plain: Tensor = functional.cross_entropy(scores, every, reduction="sum")
        return plain.mul(scale)
    summed: Tensor = _Total.apply(scores, labels, scale)  # type: ignore[no-untyped-call]
    return summed


class _Total(torch.autograd.Function):
    """`total` by a kernel, which makes the derivative as well."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, labels: Tensor, scale: float) -> Tensor:
        loss, by_scores = cross_entropy(scores, labels, scale)
        ctx.save_for_backward(by_scores)
        ctx.save_for_forward(by_scores)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, by_loss: Tensor) -> tuple[Tensor, None, None]:
        (by_scores,) = ctx.saved_tensors
        return by_scores if settled(_is_one, by_loss) else by_scores * by_loss, None, None

    @staticmethod
    def jvp(ctx: Any, along: Tensor, *_: Any) -> Tensor:
        (by_scores,) = ctx.saved_tensors
        change: Tensor = (by_scores * along).sum()
        return change


def _is_one(number: Tensor) -> bool:
    return number.item() == 1.0


def _worth_turning(scores: Tensor) -> bool:
    """Whether a row fills no vector."""
    vector = _vector(scores)
    return scores.device.type == "cpu" and scores.shape[-1] < vector


def _in_front(scores: Tensor) -> Tensor:
    """Log-softmax `[C, R]` of what has its classes in front, `[C, ...]` with R numbers in each."""
    classes, vector = scores.shape[0], _vector(scores)
    rows = scores[0].numel()
    filled = scores.new_zeros(classes, -(-rows // vector) * vector)
    filled[:, :rows].view(scores.shape).copy_(scores)
    return functional.log_softmax(filled, 0)[:, :rows]


def _vector(scores: Tensor) -> int:
    return _BYTES.get(torch.backends.cpu.get_cpu_capability(), 16) // scores.element_size()
