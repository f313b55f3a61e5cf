"""Spikes as bits: a bit for each sample, step and input, whatever the shape; other numbers are noticed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rheobase.kernels.spike_bits import counts, lists, pack


@pytest.mark.parametrize("lanes", [16, 32, 64])
@pytest.mark.parametrize(
    ("samples", "inputs", "rate"), [(1, 1, 0.5), (70, 3, 0.02), (64, 5, 0.5), (33, 7, 1.0)]
)
def test_a_bit_for_each_spike(lanes: int, samples: int, inputs: int, rate: float) -> None:
    g = torch.Generator().manual_seed(samples)
    x = (torch.rand(9, samples, inputs, generator=g) < rate).float()
    for given in (x, x.transpose(0, 1).contiguous().transpose(0, 1)):
        words = pack(given, lanes)
        assert words is not None
        assert words.shape == (-(-samples // lanes), 9, inputs)
        bits = np.unpackbits(words[..., None].view(np.uint8), axis=-1, bitorder="little")
        side_by_side = bits.transpose(1, 0, 3, 2).reshape(9, -1, inputs)
        assert np.array_equal(side_by_side[:, :samples], x.numpy())
        assert not side_by_side[:, samples:].any()


@pytest.mark.parametrize("lanes", [16, 64])
@pytest.mark.parametrize(("samples", "inputs", "rate"), [(1, 1, 0.5), (70, 9, 0.05), (33, 7, 1.0)])
def test_spikes_are_counted_and_listed(lanes: int, samples: int, inputs: int, rate: float) -> None:
    g = torch.Generator().manual_seed(samples)
    x = (torch.rand(9, samples, inputs, generator=g) < rate).float()
    words = pack(x, lanes)
    assert words is not None
    assert np.array_equal(counts(words, samples), x.sum(2).t().numpy())
    spans, listed = lists(words, samples)
    for b in range(samples):
        for t in range(9):
            spiked = x[t, b].nonzero().flatten().tolist()
            assert listed[spans[b, t] : spans[b, t + 1]].tolist() == (spiked or [inputs])


@pytest.mark.parametrize("at", [(0, 0, 0), (4, 20, 1), (8, 69, 2)])
@pytest.mark.parametrize("value", [-1.0, 0.5, 2.0, float("nan"), 1e-45])
def test_other_numbers_are_noticed(at: tuple[int, int, int], value: float) -> None:
    x = torch.zeros(9, 70, 3)
    assert pack(x, 64) is not None
    x[at] = value
    assert pack(x, 64) is None


def test_nothing_at_all() -> None:
    words = pack(torch.zeros(0, 3, 2), 16)
    assert words is not None
    assert words.shape == (1, 0, 2)
