"""Simultaneous perturbation: two evaluations with signs as noise estimate the whole gradient.

    g = (f(x + c D) - f(x - c D)) / (2 c) * D,    D of +1 and -1 (so that 1 / D is D)

The mean over `population` / 2 such pairs, if there are more. Its mean is the gradient up to terms of c^2, the
variance that of all other entries together: the fewer parameters, the better.

Spall, "Multivariate stochastic approximation using a simultaneous perturbation gradient approximation", IEEE
Transactions on Automatic Control 37 (1992). Not modelled: his schedules of c (`sigma`) and of the step.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from rheobase.config import option
from rheobase.rules.base import Memory
from rheobase.rules.candidates import Candidates, Law, Perturbed
from rheobase.rules.estimates import gradient
from rheobase.rules.perturbing import Perturbing


class SPSA(Perturbing):
    """Simultaneous perturbation stochastic approximation.

    >>> SPSA().population
    2
    """

    law: ClassVar[Law] = "signs"

    population: int = option(default=2, at_least=2, help="members of a generation")

    def _tell(
        self, candidates: Candidates, values: Tensor, memory: Memory
    ) -> tuple[dict[str, Tensor], Memory]:
        assert isinstance(candidates, Perturbed)
        return gradient(candidates, values), {}
