"""Random whole numbers: their generator against its published values, their mean and variance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rheobase.kernels import lots_loops
from rheobase.kernels.lots import whole_numbers

# Known answers of Philox2x32 with 10 rounds, from Random123's `kat_vectors`: counter, key, words.
KNOWN = [
    ((0x00000000, 0x00000000), 0x00000000, (0xFF1DAE59, 0x6CD10DF2)),
    ((0xFFFFFFFF, 0xFFFFFFFF), 0xFFFFFFFF, (0x2C3F628B, 0xAB4FD7AD)),
    ((0x243F6A88, 0x85A308D3), 0x13198A2E, (0xDD7CE038, 0xF62A4C12)),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_the_generator_has_its_published_values(
    counter: tuple[int, int], key: int, words: tuple[int, int]
) -> None:
    made = lots_loops._philox.py_func(*(np.uint64(x) for x in (*counter, key)))
    assert tuple(int(word) for word in made) == words


def test_the_kernel_takes_the_words_of_that_generator() -> None:
    size, key = 11, 0x0123456789ABCDEF
    mean = torch.linspace(-2.5, 2.5, size, dtype=torch.float64)
    half = (size + 1) // 2
    lots = np.empty(2 * half, np.float32)
    for n in range(half):
        made = lots_loops._philox.py_func(np.uint64(n), np.uint64(key >> 32), np.uint64(key & 0xFFFFFFFF))
        lots[n], lots[half + n] = [np.float32(int(word) >> 8) * np.float32(2**-24) for word in made]
    single = mean.float()
    wanted = single.sign() * (single.abs().clamp(max=2) + torch.from_numpy(lots[:size])).floor()
    assert whole_numbers(mean, 2, key).tolist() == wanted.tolist()


@pytest.mark.parametrize("mean", [0.003, -0.4, 1.7])
def test_mean_and_variance(mean: float) -> None:
    number = 400_001  # odd: one is left over
    counts = whole_numbers(torch.full((number,), mean), 31, key=5).double()
    share = abs(mean) % 1
    spread = (share * (1 - share)) ** 0.5
    assert abs(float(counts.mean()) - mean) < 4 * spread / number**0.5
    assert abs(float(counts.std()) - spread) < 0.02 * spread + 4 / number**0.5 * spread
    assert set(counts.unique().tolist()) == {np.trunc(mean), np.trunc(mean) + np.sign(mean)}


def test_bounds_and_keys() -> None:
    mean = torch.tensor([100.0, -100.0, 0.0] * 40)
    assert whole_numbers(mean, 31, key=1).tolist() == [31, -31, 0] * 40
    half = torch.full((64,), 0.5)
    assert torch.equal(whole_numbers(half, 31, key=1), whole_numbers(half, 31, key=1))
    assert not torch.equal(whole_numbers(half, 31, key=1), whole_numbers(half, 31, key=2))
    assert not torch.equal(whole_numbers(half, 31, key=1), whole_numbers(half, 31, key=1 + 2**32))
