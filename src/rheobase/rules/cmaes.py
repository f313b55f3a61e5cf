"""CMA-ES and relatives, by the library `cmaes`: the covariance of all parameters adapts too.

    cma       CMA-ES: a full covariance matrix. Memory grows with the square, time with the cube of the number
              of parameters: for a few hundred of them
    sep_cma   the diagonal of it: time and memory in proportion to the number of parameters
    xnes      exponential natural evolution strategies, full covariance

The library says where the mean should be next; the direction is the way there, to be taken as a whole:
optimizer `sgd`, learning rate 1. Whatever the optimizer makes of it, the search goes on from the network as
it is.

Nomura & Shibata, "cmaes: a simple yet practical Python library for CMA-ES", arXiv:2402.01373 (2024); Hansen,
"The CMA evolution strategy: a tutorial", arXiv:1604.00772 (2016); Ros & Hansen, PPSN 2008 (separable);
Glasmachers et al., GECCO 2010 (xNES).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rheobase.config import option
from rheobase.rules.base import Memory
from rheobase.rules.candidates import Candidates
from rheobase.rules.evolution import Evolution, Tensors

_FULL = 3000  # parameters whose full covariance takes 72 MB
_CLASSES = {"cma": "CMA", "sep_cma": "SepCMA", "xnes": "XNES"}


@dataclass(frozen=True)
class Listed(Candidates):
    """Members as rows of a matrix, and the mean that has their shapes."""

    mean: Tensors
    rows: npt.NDArray[np.float64]  # shape: [P, d]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.mean)

    def __len__(self) -> int:
        return len(self.rows)

    def parameters(self, member: int) -> dict[str, Tensor]:
        return _shaped(self.rows[member], self.mean)


class CMAES(Evolution):
    """Covariance matrix adaptation, through the library `cmaes`.

    >>> import torch
    >>> es, mean = CMAES(population=10, sigma=1.0), {"x": torch.tensor([3.0, -2.0])}
    >>> memory = es.start(mean, seed=0)
    >>> for _ in range(60):
    ...     candidates = es.ask(mean, memory)
    ...     losses = [c["x"][0] ** 2 + 100 * c["x"][1] ** 2 for c in candidates]
    ...     direction, memory = es.tell(candidates, losses, memory)
    ...     mean = {"x": mean["x"] - direction["x"]}
    >>> bool(mean["x"].norm() < 1e-3)
    True
    """

    cost: ClassVar[str] = (
        "a forward pass for each member and one for the mean; with full covariance, memory with the square "
        "of the number of parameters"
    )
    descends: ClassVar[bool] = False

    algorithm: Literal["cma", "sep_cma", "xnes"] = option(
        default="sep_cma", help="diagonal (sep_cma) or full covariance"
    )
    sigma: float = option(default=0.05, above=0, help="first standard deviation of the members")

    def validate(self) -> None:
        if self.in_turn is not None:
            raise ValueError(
                "CMAES.in_turn: got layers in turn, wanted all at once: the covariance is that of all "
                "together; choose layers instead"
            )

    def _start(self, mean: Tensors) -> Memory:
        size = sum(value.numel() for value in mean.values())
        if self.algorithm != "sep_cma" and size > _FULL:
            raise ValueError(
                f"CMAES.algorithm: got {self.algorithm} for {size} parameters, wanted at most {_FULL} for "
                "a full covariance; choose sep_cma, or train some layers only"
            )
        return _state(self._library(mean))

    def _ask(self, active: Tensors, mean: Tensors, memory: Memory) -> Listed:
        search = self._restored(active, memory)
        return Listed(active, np.stack([search.ask() for _ in range(self.population)]))

    def _tell(
        self, candidates: Candidates, values: Tensor, memory: Memory
    ) -> tuple[dict[str, Tensor], Memory]:
        assert isinstance(candidates, Listed)
        search = self._restored(candidates.mean, memory)
        search.tell(list(zip(candidates.rows, values.tolist(), strict=True)))
        before = _flat(candidates.mean)
        return _shaped(before - search._mean, candidates.mean), _state(search)

    def _restored(self, mean: Tensors, memory: Memory) -> Any:
        """The library's object as it was, around the mean as it is, with this generation's random numbers."""
        search = self._library(mean)
        for name, kind in _numbers(search).items():
            value = memory[f"search/{name}"].numpy()
            setattr(search, name, value.copy() if isinstance(kind, np.ndarray) else kind.__class__(value))
        search._mean = _flat(mean)
        words = f"{int(memory['seed'])}/{int(memory['generation'])}".encode()
        search.reseed_rng(int.from_bytes(hashlib.sha256(words).digest()[:4], "little"))
        return search

    def _library(self, mean: Tensors) -> Any:
        import cmaes

        kind = getattr(cmaes, _CLASSES[self.algorithm])
        return kind(mean=_flat(mean), sigma=self.sigma, population_size=self.population)


def _numbers(search: Any) -> dict[str, Any]:
    """The attributes of the library's object that are numbers or arrays: all that it learns.

    Its history of losses is left out. It only serves to say when to stop, and is not filled at first.
    """
    numbers = {k: v for k, v in vars(search).items() if isinstance(v, (int, float, np.ndarray))}
    return {k: v for k, v in numbers.items() if not isinstance(v, bool) and not k.startswith("_funhist")}


def _state(search: Any) -> Memory:
    return {f"search/{name}": torch.as_tensor(np.array(v)) for name, v in _numbers(search).items()}


def _flat(tensors: Tensors) -> npt.NDArray[np.float64]:
    return np.concatenate([value.detach().double().flatten().numpy() for value in tensors.values()])


def _shaped(flat: npt.NDArray[np.float64], like: Tensors) -> dict[str, Tensor]:
    parts = np.split(flat, np.cumsum([value.numel() for value in like.values()])[:-1])
    return {
        name: torch.from_numpy(part).to(value.dtype).reshape(value.shape)
        for (name, value), part in zip(like.items(), parts, strict=True)
    }
