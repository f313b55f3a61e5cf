"""Separable natural evolution strategies: a standard deviation for each parameter entry, which adapts.

    direction   sigma sum_p w_p s_p e_p
    sigma    <- sigma exp(-(rate / 2) sum_p w_p (e_p^2 - 1)),    rate = (3 + ln d) / (5 sqrt(d)) by default

w_p being utilities that sum to zero, d the number of entries. The direction is the natural gradient: the
published algorithm is this with the optimizer `sgd` at a learning rate of 1.

Schaul, Glasmachers & Schmidhuber, "High dimensions and heavy tails for natural evolution strategies", GECCO
2011; Wierstra et al., "Natural evolution strategies", JMLR 15 (2014).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rheobase.config import option
from rheobase.rules.base import Memory
from rheobase.rules.candidates import Candidates, Perturbed
from rheobase.rules.estimates import both_moments
from rheobase.rules.perturbing import Perturbing
from rheobase.rules.shaping import Shaping, shape


class SNES(Perturbing):
    """Natural gradient for the mean and for a sigma per entry.

    >>> import torch
    >>> es, mean = SNES(population=20, sigma=1.0), {"x": torch.tensor([3.0, -2.0])}
    >>> memory = es.start(mean, seed=0)
    >>> for _ in range(60):
    ...     candidates = es.ask(mean, memory)
    ...     direction, memory = es.tell(candidates, [c["x"].square().sum() for c in candidates], memory)
    ...     mean = {"x": mean["x"] - direction["x"]}
    >>> bool(mean["x"].norm() < 1e-3), bool(memory["sigma/x"].max() < 1e-2)
    (True, True)
    """

    shaping: Shaping = option(default="utility", help="what losses weigh: utility, ranks, z_score, or raw")
    sigma_rate: float | None = option(
        default=None, at_least=0, help="how fast sigma adapts ((3 + ln d) / (5 sqrt(d)) if none)"
    )
    sigma_max: float = option(default=10.0, above=0, help="cap of sigma")

    def _spread(self, value: Tensor, sigma: float) -> Tensor:
        return torch.full_like(value, sigma)

    def _tell(
        self, candidates: Candidates, values: Tensor, memory: Memory
    ) -> tuple[dict[str, Tensor], Memory]:
        assert isinstance(candidates, Perturbed)
        weights = shape(values, self.shaping)
        first, second = both_moments(candidates, weights, weights)
        size = sum(mean.numel() for mean in candidates.mean.values())
        rate = (3 + math.log(size)) / (5 * math.sqrt(size)) if self.sigma_rate is None else self.sigma_rate
        direction, sigmas = {}, {}
        for name, sigma in candidates.sigma.items():
            direction[name] = sigma * first[name]
            grown = sigma * torch.exp(-rate / 2 * second[name])
            sigmas[f"sigma/{name}"] = grown.clamp(max=self.sigma_max)
        return direction, sigmas
