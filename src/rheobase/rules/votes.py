"""Naming clusters: a read-out whose weights say which class each neuron answers to.

Where neurons learn without labels, each comes to answer to some kind of input. Labels serve to name these
kinds afterwards, and for nothing else: of each class c, how often each neuron j fires per sample is
counted,

    r[c, j] = n[c, j] / m[c]
    n <- keep n + spikes,  m <- keep m + samples    at each batch of B; keep = exp(-B / memory)

and the read-out's weights are votes:

    majority    1 / (number of neurons of the class) from each neuron to the class for which r is highest, so
                that a class scores the mean spike count of its neurons (Diehl & Cook 2015)
    shares      r[c, j] / sum_c r[c, j], to each class as often as it made the neuron fire

A neuron that never fired has no vote. The votes are weights of the network: evaluation, prediction and
checkpoints need know nothing of this. Diehl & Cook, Frontiers in Computational Neuroscience 9, 99 (2015).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Naming = Literal["majority", "shares"]


def count(
    fired: Tensor, targets: Tensor, counts: Tensor, samples: Tensor, memory: float
) -> tuple[Tensor, Tensor]:
    """The counts `[C, N]` and the samples of each class `[C]`, after a batch.

    Args:
        fired: Spikes of each neuron in each sample, `[B, N]`.
        targets: Classes, int64 `[B]`.
        counts, samples: Those before.
        memory: Samples after which what was counted weighs 1/e.
    """
    keep = math.exp(-len(fired) / memory)
    one_hot = torch.nn.functional.one_hot(targets, len(samples)).to(counts.dtype)  # shape: [B, C]
    return keep * counts + one_hot.t() @ fired.to(counts.dtype), keep * samples + one_hot.sum(0)


def votes(counts: Tensor, samples: Tensor, naming: Naming) -> Tensor:
    """The weights of the read-out, `[C, N]`.

    >>> counts, samples = torch.tensor([[6.0, 1.0, 0.0], [2.0, 3.0, 0.0]]), torch.tensor([2.0, 1.0])
    >>> votes(counts, samples, "majority")  # 3 and 2 spikes per sample; 0.5 and 3; none
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    >>> votes(counts, samples, "shares")[:, 0]
    tensor([0.6000, 0.4000])
    """
    rates = counts / samples.clamp(min=1e-12).unsqueeze(1)
    if naming == "shares":
        return rates / rates.sum(0).clamp(min=1e-12)
    named = torch.zeros_like(rates).scatter_(0, rates.argmax(0, keepdim=True), 1.0) * (rates.amax(0) > 0)
    return named / named.sum(1, keepdim=True).clamp(min=1.0)
