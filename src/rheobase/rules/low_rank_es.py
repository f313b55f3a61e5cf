"""Evolution with noise of low rank (EGGROLL): matrices of weights are moved along E = A B^T / sqrt(r).

    g = (1 / P sigma) sum_p w_p s_p A_p B_p^T / sqrt(r)

A [to, r] and B [from, r] are standard normal, so E's entries have variance 1 and fourth moment 3 + 6/r; a
sum of many such is of full rank. Where a member is evaluated by x W^T + sigma (x B) A^T / sqrt(r), its
matrix is never built, and x W^T is the same for all members; numbers to draw are r (to + from) instead of
to x from. Biases and other vectors get noise of their own on each entry.

Sarkar et al., "Evolution strategies at the hyperscale", arXiv:2511.16652 (2025).
"""

from __future__ import annotations

from torch import Tensor

from rheobase.config import option
from rheobase.rules.base import Memory
from rheobase.rules.candidates import Candidates, Perturbed
from rheobase.rules.estimates import gradient
from rheobase.rules.perturbing import Perturbing
from rheobase.rules.shaping import Shaping, shape


class LowRankES(Perturbing):
    """Noise of low rank, for large layers and populations.

    >>> import torch
    >>> es, mean = LowRankES(population=4, rank=2), {"w": torch.zeros(30, 20)}
    >>> factors = es.ask(mean, es.start(mean, seed=0)).direction(0, "w")
    >>> factors.left.shape, factors.right.shape
    (torch.Size([30, 2]), torch.Size([20, 2]))
    """

    population: int = option(default=400, at_least=2, help="members of a generation")
    sigma: float = option(default=0.01, above=0, help="standard deviation of the noise on parameters")
    shaping: Shaping = option(default="ranks", help="what losses weigh: ranks, z_score, utility, or raw")
    rank: int = option(default=2, at_least=1, help="rank of the noise on weight matrices")

    def _rank(self) -> int | None:
        return self.rank

    def _tell(
        self, candidates: Candidates, values: Tensor, memory: Memory
    ) -> tuple[dict[str, Tensor], Memory]:
        assert isinstance(candidates, Perturbed)
        return gradient(candidates, shape(values, self.shaping)), {}
