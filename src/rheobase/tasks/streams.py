"""Random numbers by address: any sample of a generated task, on its own, from its number alone.

A `Stream` is a key for the Philox counter generator, made from words (a task, a seed, a split). Sample
i has the counters from i K on, K being how many it needs; so samples can be drawn in any order, by
any worker, and a run that goes on sees what it would have seen. Neighbouring samples are
neighbouring counters, and a batch of consecutive samples is one call.

Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011,
https://doi.org/10.1145/2063384.2063405; `numpy.random.Philox`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_WORDS = 4  # numbers of 64 bits per counter


class Stream:
    """Independent random numbers for samples 0, 1, 2, ...

    >>> stream = Stream("adding", 0, "train")
    >>> both, second = stream.uniform(torch.tensor([0, 1]), 3), stream.uniform(torch.tensor([1]), 3)
    >>> both.shape, bool((both[1] == second[0]).all())
    (torch.Size([2, 3]), True)
    """

    def __init__(self, *words: str | int) -> None:
        self.words = words
        digest = hashlib.sha256("/".join(map(str, words)).encode()).digest()
        self._key = int.from_bytes(digest[:16], "little")

    def part(self, word: str) -> Stream:
        """Another stream for the same samples, for another purpose."""
        return Stream(*self.words, word)

    def uniform(self, indices: Tensor, count: int) -> Tensor:
        """`count` numbers in [0, 1) for each of the samples, float32 `[B, count]`."""
        # 24 bits are what a float32 below 1 can hold.
        values = (self._bits(indices, count) >> np.uint32(8)).astype(np.float32)
        values *= np.float32(2**-24)
        return torch.from_numpy(values)

    def whole(self, indices: Tensor, count: int, below: int) -> Tensor:
        """`count` whole numbers from 0 to `below` - 1 for each of the samples, int64 `[B, count]`.

        By multiplication: for `below` up to a million, no number is preferred by more than .03 %.
        """
        wide = self._bits(indices, count).astype(np.uint64) * np.uint64(below)
        return torch.from_numpy((wide >> np.uint64(32)).astype(np.int64))

    def spikes(self, indices: Tensor, probability: Tensor, steps: int = 1, copies: int = 1) -> Tensor:
        """Independent spikes, float32 `[P steps, B, G copies]`, of probabilities `[P, B, G]`.

        Each probability is that of `copies` neighbouring neurons over `steps` steps.
        """
        periods, batch, groups = probability.shape
        bits = self._bits(indices, periods * steps * groups * copies)
        # As whole numbers of 32 bits, which are compared fast; a probability of 1 is 1 - 2^-32.
        same = set(probability.stride()) == {0}  # one number, expanded
        given = probability[:1, :1, :1] if same else probability
        share = np.ldexp(given.transpose(0, 1).double().clamp(0, 1).numpy(), 32)
        bound = np.minimum(share, 2.0**32 - 1).astype(np.uint32)[:, :, None, :, None]
        fires = bits.reshape(batch, periods, steps, groups, copies) < bound
        time_first = torch.from_numpy(fires).reshape(batch, periods * steps, groups * copies).transpose(0, 1)
        return time_first.to(torch.float32, memory_format=torch.contiguous_format)

    def _bits(self, indices: Tensor, count: int) -> npt.NDArray[np.uint32]:
        """`count` random numbers of 32 bits for each sample, `[B, count]`."""
        words = -(-count // 2)  # of 64 bits
        counters = -(-words // _WORDS)
        runs = [self._run(start, size, counters) for start, size in _runs(indices)]
        bits = np.concatenate(runs) if len(runs) != 1 else runs[0]
        return bits[:, :count]

    def _run(self, start: int, size: int, counters: int) -> npt.NDArray[np.uint32]:
        source = np.random.Philox(key=self._key, counter=start * counters)
        raw = source.random_raw(size * counters * _WORDS)
        # In little-endian order everywhere, so that a sample is the same on any machine.
        return raw.astype("<u8", copy=False).view("<u4").reshape(size, -1)


def _runs(indices: Tensor) -> Iterator[tuple[int, int]]:
    """Runs of consecutive indices: first, how many."""
    values = indices.numpy()
    if len(values) and values.min() < 0:
        raise ValueError(f"got the sample {int(values.min())}, wanted numbers from 0 on")
    cuts = np.flatnonzero(np.diff(values) != 1) + 1
    for part in np.split(values, cuts):
        if len(part):
            yield int(part[0]), len(part)
