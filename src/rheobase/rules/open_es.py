"""The evolution strategy of OpenAI: isotropic noise around the network, and an estimate of the gradient.

    g = (1 / P sigma) sum_p w_p s_p e_p

w_p being the shaped losses (`rheobase.rules.shaping`). With raw losses and mirrored members, this is the
gradient of the loss averaged over the noise, without bias: for a linear loss a.x, n pairs have the mean a
and the variance (|a|^2 + a_i^2) / n; steps of the loss are smoothed, so real spikes need no surrogate.

Sigma is fixed, or one number for each parameter (weights or biases of a layer) that adapts: where members
further out have lower losses it grows,

    ln sigma <- ln sigma - rate sum_p w_p z_p / sum_p |w_p|,    z_p = (|e_p|^2 - d) / sqrt(2 d)

up to `sigma_max`: without a cap, a flat loss lets it drift away.

Salimans, Ho, Chen, Sidor & Sutskever, "Evolution strategies as a scalable alternative to reinforcement
learning", arXiv:1703.03864 (2017). The adaptation is the natural gradient for one sigma (Wierstra et al.,
JMLR 15, 2014), measured in its own standard deviations.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from rheobase.config import option
from rheobase.layers.network import Network
from rheobase.rules.base import Memory
from rheobase.rules.candidates import Candidates, Perturbed
from rheobase.rules.estimates import gradient, spreads
from rheobase.rules.perturbing import Perturbing
from rheobase.rules.shaping import Shaping, shape


class OpenES(Perturbing):
    """Isotropic noise and centred ranks; any optimizer (Adam, as a rule).

    >>> import torch
    >>> es, mean = OpenES(population=20, sigma=0.1), {"x": torch.tensor([3.0, -2.0])}
    >>> memory = es.start(mean, seed=0)
    >>> for _ in range(100):
    ...     candidates = es.ask(mean, memory)
    ...     direction, memory = es.tell(candidates, [c["x"].square().sum() for c in candidates], memory)
    ...     mean = {"x": mean["x"] - 0.02 * direction["x"]}
    >>> bool(mean["x"].norm() < 0.2)
    True
    """

    shaping: Shaping = option(default="ranks", help="what losses weigh: ranks, z_score, utility, or raw")
    sigma_rate: float = option(
        default=0.0, at_least=0, help="how fast sigma adapts, one for each parameter (0: it does not)"
    )
    sigma_max: float = option(default=1.0, above=0, help="cap of a sigma that adapts")
    redraw: bool = option(
        default=False,
        help="draw what is not trained anew for each member, as if each were a new network: its noise "
        "then drowns what the trained part does (the founding notebook's mistake)",
    )

    def _tell(
        self, candidates: Candidates, values: Tensor, memory: Memory
    ) -> tuple[dict[str, Tensor], Memory]:
        assert isinstance(candidates, Perturbed)
        weights = shape(values, self.shaping)
        return gradient(candidates, weights), self._adapted(candidates, weights, memory)

    def _adapted(self, candidates: Perturbed, weights: Tensor, memory: Memory) -> Memory:
        total = weights.abs().sum()
        if not self.sigma_rate or not total:
            return {}
        sigmas = {}
        for name, longer in spreads(candidates).items():
            change = -self.sigma_rate * (weights * longer).sum() / total
            old = memory[f"sigma/{name}"]
            sigmas[f"sigma/{name}"] = (old * change.exp().to(old.dtype)).clamp(max=self.sigma_max)
        return sigmas

    def _members(self, candidates: Candidates, network: Network) -> Candidates:
        if not self.redraw:
            return candidates
        assert isinstance(candidates, Perturbed)
        others = {n: v for n, v in drawn_parameters(network).items() if n not in candidates.mean}
        address = {**candidates.address}
        address |= {name: len(address) + i for i, name in enumerate(others)}
        return replace(candidates, redrawn=others, address=address)


def drawn_parameters(network: nn.Module) -> dict[str, tuple[float, tuple[int, ...]]]:
    """Weights and biases by name: the bound of the uniform distribution of new ones, and their shape."""
    found: dict[str, tuple[float, tuple[int, ...]]] = {}
    for path, module in network.named_modules():
        own = dict(module.named_parameters(recurse=False))
        if "weight" not in own or own["weight"].dim() < 2:
            continue
        bound = own["weight"][0].numel() ** -0.5
        found |= {f"{path}.{name}": (bound, tuple(value.shape)) for name, value in own.items()}
    return found
