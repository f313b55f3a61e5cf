"""Sums over the directions of a population, with the directions made again one at a time.

    first    sum_p w_p s_p e_p            (s_p the side of member p, e_p its direction)
    second   sum_p u_p (e_p^2 - 1)

Members are taken in order, whoever evaluated them, so the sums are the same bits for any number of workers.
Of low-rank directions, the factors are collected and multiplied, some at a time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rheobase.rules.candidates import LowRank, Perturbed

_AT_ONCE = 256  # low-rank directions in one product


def gradient(candidates: Perturbed, weights: Tensor) -> dict[str, Tensor]:
    """(1 / P sigma) sum_p w_p s_p e_p: for losses as weights, an estimate of the gradient of their mean under
    the noise, without bias."""
    sums = first_moment(candidates, weights)
    return {name: x / (len(candidates) * candidates.sigma[name]) for name, x in sums.items()}


def first_moment(candidates: Perturbed, weights: Tensor) -> dict[str, Tensor]:
    """sum_p w_p s_p e_p by parameter, for weights `[P]`."""
    net = _by_direction(candidates, weights, signed=True)
    return {name: _sum(candidates, name, net) for name in candidates.mean}


def both_moments(
    candidates: Perturbed, weights: Tensor, others: Tensor
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """sum_p w_p s_p e_p and sum_p u_p (e_p^2 - 1) by parameter, for weights and others `[P]`."""
    net = _by_direction(candidates, weights, signed=True)
    plain = _by_direction(candidates, others, signed=False)
    first, second = {}, {}
    for name, mean in candidates.mean.items():
        first[name], second[name] = torch.zeros_like(mean), torch.zeros_like(mean)
        for i in range(candidates.directions):
            e = _full(candidates, i, name)
            first[name].add_(e, alpha=float(net[i]))
            second[name].add_(e.square().sub_(1), alpha=float(plain[i]))
    return first, second


def spreads(candidates: Perturbed) -> dict[str, Tensor]:
    """How much longer than expected each direction is: (|e|^2 - d) / sqrt(2 d) by parameter, `[P]`."""
    repeat = 2 if candidates.mirrored else 1
    found = {}
    for name, mean in candidates.mean.items():
        squares = [_full(candidates, i, name).double().square().sum() for i in range(candidates.directions)]
        longer = (torch.stack(squares) - mean.numel()) / (2 * mean.numel()) ** 0.5
        found[name] = longer.repeat_interleave(repeat)
    return found


def _by_direction(candidates: Perturbed, weights: Tensor, *, signed: bool) -> Tensor:
    """The weight of each direction, from those of members."""
    if not candidates.mirrored:
        return weights
    pairs = weights.reshape(-1, 2)
    return pairs[:, 0] - pairs[:, 1] if signed else pairs.sum(1)


def _full(candidates: Perturbed, index: int, name: str) -> Tensor:
    direction = candidates.direction(index, name)
    if isinstance(direction, LowRank):
        return direction.dense().reshape(candidates.mean[name].shape)
    return direction


def _sum(candidates: Perturbed, name: str, weights: Tensor) -> Tensor:
    mean = candidates.mean[name]
    total = torch.zeros_like(mean)
    if candidates.rank is None or mean.dim() < 2:
        for i in range(candidates.directions):
            total.add_(_full(candidates, i, name), alpha=float(weights[i]))
        return total
    matrix = total.reshape(mean.shape[0], -1)
    for start in range(0, candidates.directions, _AT_ONCE):
        lefts, rights = [], []
        for i in range(start, min(start + _AT_ONCE, candidates.directions)):
            factors = candidates.direction(i, name)
            assert isinstance(factors, LowRank)
            lefts.append(factors.left * float(weights[i]))
            rights.append(factors.right)
        matrix.addmm_(torch.cat(lefts, 1), torch.cat(rights, 1).T)
    return total
