"""Random numbers by address: what evolution adds to a parameter, from (seed, generation, member) alone.

A counter-based generator has no state to hand on: any worker makes the numbers of any member again, in any
order, to the same bits, so that nothing but seeds and losses need travel between workers, and nothing need
be kept between the evaluation of a member and the update. The seed is the key of Philox, and the
address its counter of four 64-bit words:

    (block, parameter, member, generation)

Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011,
https://doi.org/10.1145/2063384.2063405; `numpy.random.Philox`.

The normal numbers are NumPy's (ziggurat): the same bits for the same version of NumPy, not for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_WORD = 64


@dataclass(frozen=True)
class Noise:
    """Independent random numbers for each generation, member and parameter.

    Args:
        seed: At least 0; another seed is another, independent, source.

    >>> one, again = (Noise(seed=1).normal(generation=3, member=5, parameter=0, shape=(2,)) for _ in "ab")
    >>> bool((one == again).all()), bool((one == Noise(seed=1).normal(3, 6, 0, (2,))).any())
    (True, False)
    """

    seed: int

    def normal(self, generation: int, member: int, parameter: int, shape: Sequence[int]) -> Tensor:
        """Standard normal numbers, float32 of this shape."""
        values = self._at(generation, member, parameter).standard_normal(tuple(shape), dtype=np.float32)
        return torch.from_numpy(np.asarray(values))

    def signs(self, generation: int, member: int, parameter: int, shape: Sequence[int]) -> Tensor:
        """+1 or -1, as likely, float32 of this shape."""
        bits = self._at(generation, member, parameter).integers(0, 2, tuple(shape), dtype=np.uint8)
        return torch.from_numpy(2.0 * np.asarray(bits, dtype=np.float32) - 1.0)

    def uniform(self, generation: int, member: int, parameter: int, shape: Sequence[int]) -> Tensor:
        """Numbers in [-1, 1), float32 of this shape."""
        values = self._at(generation, member, parameter).random(tuple(shape), dtype=np.float32)
        return torch.from_numpy(2.0 * np.asarray(values, dtype=np.float32) - 1.0)

    def _at(self, generation: int, member: int, parameter: int) -> np.random.Generator:
        counter = (((generation << _WORD) + member) << _WORD) + parameter << _WORD
        return np.random.Generator(np.random.Philox(key=self.seed, counter=counter))
