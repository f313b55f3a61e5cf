"""Policy gradients with parameter-based exploration: symmetric samples, and a sigma for each entry.

    g          (1 / P sigma) sum_p w_p s_p e_p
    sigma   <- sigma (1 - rate (1/P) sum_p (w_p - b) (e_p^2 - 1)),    b the mean weight

no entry changing by more than a fifth in a generation. The two members of a pair decide about the
mean by their difference, about sigma by their sum.

Sehnke, Osendorfer, Rückstieß, Graves, Peters & Schmidhuber, "Parameter-exploring policy gradients", Neural
Networks 23 (2010); symmetric sampling is theirs, the bound on changes that of later implementations.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rheobase.config import option
from rheobase.rules.base import Memory
from rheobase.rules.candidates import Candidates, Perturbed
from rheobase.rules.estimates import both_moments
from rheobase.rules.perturbing import Perturbing
from rheobase.rules.shaping import Shaping, shape

_LARGEST = 0.2  # change of a sigma in one generation, as a share of it


class PGPE(Perturbing):
    """Symmetric samples; the mean by any optimizer, sigmas beside it.

    >>> PGPE(sigma=0.1).mirrored
    True
    """

    shaping: Shaping = option(default="ranks", help="what losses weigh: ranks, z_score, utility, or raw")
    sigma_rate: float = option(default=0.2, at_least=0, help="how fast sigmas adapt")
    sigma_max: float = option(default=1.0, above=0, help="cap of a sigma")

    def _spread(self, value: Tensor, sigma: float) -> Tensor:
        return torch.full_like(value, sigma)

    def _tell(
        self, candidates: Candidates, values: Tensor, memory: Memory
    ) -> tuple[dict[str, Tensor], Memory]:
        assert isinstance(candidates, Perturbed)
        weights, members = shape(values, self.shaping), len(candidates)
        first, second = both_moments(candidates, weights, weights - weights.mean())
        direction, sigmas = {}, {}
        for name, sigma in candidates.sigma.items():
            direction[name] = first[name] / (members * sigma)
            change = (-self.sigma_rate / members * second[name]).clamp(-_LARGEST, _LARGEST)
            sigmas[f"sigma/{name}"] = torch.clamp(sigma * (1 + change), max=self.sigma_max)
        return direction, sigmas
