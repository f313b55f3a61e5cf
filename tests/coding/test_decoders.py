"""Decoders: scores and answers on small signals worked out by hand, ties, and refusals."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rheobase.coding.decoders import (
    Decoder,
    FirstSpike,
    MembraneLast,
    MembraneMax,
    MembraneMean,
    MembraneSum,
    MembraneTrace,
    SpikeCount,
    first_spike_step,
)
from rheobase.registry import build, catalogue

DECODERS: dict[str, type[Decoder]] = catalogue(Decoder)  # type: ignore[type-abstract]

# [T=4, B=2, C=3], one row per step; sample 0 fires, sample 1 is silent
SPIKES = torch.tensor(
    [
        [[0, 0, 0], [0, 0, 0]],
        [[0, 1, 0], [0, 0, 0]],
        [[1, 0, 0], [0, 0, 0]],
        [[1, 0, 0], [0, 0, 0]],
    ],
    dtype=torch.float32,
)
MEMBRANE = torch.tensor([[[0.0, 9.0, 1.0]], [[4.0, -9.0, 1.0]], [[-1.0, 1.0, 2.0]]])  # [3, 1, 3]


def test_the_room_holds_these_decoders() -> None:
    assert {name: cls.signal for name, cls in DECODERS.items()} == {
        "first_spike": "spikes",
        "membrane_last": "v",
        "membrane_max": "v",
        "membrane_mean": "v",
        "membrane_sum": "v",
        "membrane_trace": "v",
        "spike_count": "spikes",
        "spike_train": "spikes",
    }


@pytest.mark.parametrize(
    ("decoder", "signal", "scores", "answers"),
    [
        (SpikeCount(), SPIKES, [[2, 1, 0], [0, 0, 0]], [0, 0]),
        (FirstSpike(), SPIKES, [[-2, -1, -4], [-4, -4, -4]], [1, 0]),
        (MembraneMax(), MEMBRANE, [[4, 9, 2]], [1]),
        (MembraneSum(), MEMBRANE, [[3, 1, 4]], [2]),
        (MembraneLast(), MEMBRANE, [[-1, 1, 2]], [2]),
    ],
)
def test_scores_and_answers(
    decoder: Decoder, signal: torch.Tensor, scores: list[list[float]], answers: list[int]
) -> None:
    assert decoder.scores(signal).tolist() == scores
    assert decoder.scores(signal).dtype == signal.dtype
    assert decoder.predict(signal).tolist() == answers


@pytest.mark.parametrize("cls", DECODERS.values())
def test_ties_go_to_the_lowest_class(cls: type[Decoder]) -> None:
    signal = torch.zeros(5, 1, 4)
    signal[2, 0, 1:] = 1.0
    signal[4, 0, 1:] = 1.0
    # A decoder that answers at every step has its last answer there.
    assert cls().predict(signal).reshape(-1, 1)[-1].tolist() == [1]
    assert cls().predict(torch.zeros(5, 2, 4)).reshape(-1, 2)[-1].tolist() == [0, 0]


def test_means_over_windows_and_blocks() -> None:
    signal = torch.arange(10.0).reshape(5, 1, 2)  # 0 1, 2 3, ... 8 9
    assert MembraneMean().scores(signal).tolist() == [[4.0, 5.0]]
    assert MembraneMean(window=2).scores(signal).tolist() == [[7.0, 8.0]]
    assert MembraneMean(window=99).scores(signal).tolist() == [[4.0, 5.0]]
    assert torch.equal(MembraneTrace().scores(signal), signal)
    blocks = MembraneTrace(block=2).scores(signal)[:, 0, 0].tolist()
    assert blocks == [1.0, 1.0, 5.0, 5.0, 8.0]
    assert MembraneTrace(block=2).predict(signal).shape == (5, 1)


@pytest.mark.parametrize("cls", DECODERS.values())
@pytest.mark.parametrize(
    "signal",
    [torch.zeros(5, 4), torch.zeros(0, 2, 4), torch.zeros(5, 0, 4), torch.zeros(5, 2, 4, dtype=torch.int64)],
)
def test_bad_signals_are_refused(cls: type[Decoder], signal: torch.Tensor) -> None:
    with pytest.raises(
        ValueError, match=rf"{cls.__name__}: got a signal of shape .* wanted floating point \[T, B, C\]"
    ):
        cls().scores(signal)


@pytest.mark.parametrize("cls", DECODERS.values())
def test_a_decoder_survives_its_file(cls: type[Decoder]) -> None:
    assert build(Decoder, cls().to_dict()) == cls()  # type: ignore[type-abstract]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 12).flatmap(lambda n: st.lists(st.booleans(), min_size=n, max_size=n)))
def test_first_spike_step_is_the_index_of_the_first_spike(train: list[bool]) -> None:
    spikes = torch.tensor(train, dtype=torch.float32).view(-1, 1, 1)
    expected = train.index(True) if True in train else len(train)
    assert first_spike_step(spikes).tolist() == [[expected]]
