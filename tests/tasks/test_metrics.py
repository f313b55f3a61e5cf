"""Metrics: values by hand, for one answer per sample and for sequences with a mask."""

from __future__ import annotations

import pytest
import torch

from rheobase.tasks.metrics import ACCURACY, ERROR_RATE, MEAN_SQUARED_ERROR, NORMALISED_ERROR


def test_classes() -> None:
    predicted, true = torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 1, 2])
    assert ACCURACY(predicted, true).tolist() == [1, 1, 0, 1]
    assert ERROR_RATE(predicted, true).tolist() == [0, 0, 1, 0]
    assert (ACCURACY.mean(predicted, true), ERROR_RATE.mean(predicted, true)) == (0.75, 0.25)
    assert ACCURACY.higher_is_better
    assert not ERROR_RATE.higher_is_better


def test_classes_over_time_count_where_the_mask_says() -> None:
    predicted = torch.tensor([[0, 1], [1, 1], [1, 0]])  # shape: [T, B]
    true = torch.tensor([[0, 0], [0, 1], [1, 1]])
    assert ERROR_RATE(predicted, true).tolist() == pytest.approx([1 / 3, 2 / 3])
    mask = torch.tensor([[True, False], [True, True], [False, True]])
    assert ERROR_RATE(predicted, true, mask).tolist() == [0.5, 0.5]


def test_values() -> None:
    predicted, true = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 3.0]])
    assert MEAN_SQUARED_ERROR(predicted, true).tolist() == [2.5, 4.5]


def test_values_over_time() -> None:
    true = torch.tensor([[[0.0]], [[2.0]], [[4.0]]])  # shape: [T, B, K]; mean 2, spread 8
    assert MEAN_SQUARED_ERROR(torch.zeros(3, 1, 1), true).tolist() == pytest.approx([20 / 3])
    assert NORMALISED_ERROR(torch.zeros(3, 1, 1), true).tolist() == [20 / 8]
    assert NORMALISED_ERROR(torch.full((3, 1, 1), 2.0), true).tolist() == [1.0]
    last = torch.tensor([[False], [True], [True]])
    assert MEAN_SQUARED_ERROR(torch.zeros(3, 1, 1), true, last).tolist() == [10.0]
    assert NORMALISED_ERROR(torch.full((3, 1, 1), 3.0), true, last).tolist() == [1.0]


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"mse: got predictions of shape \(3, 2, 1\) .* choose a decoder"):
        MEAN_SQUARED_ERROR(torch.zeros(3, 2, 1), torch.zeros(2, 1))
    with pytest.raises(ValueError, match=r"normalised error: got targets of shape \(2, 1\)"):
        NORMALISED_ERROR(torch.zeros(2, 1), torch.zeros(2, 1))
