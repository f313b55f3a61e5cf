"""Data sets in memory: which samples they hand out, and what they refuse."""

from __future__ import annotations

import pytest
import torch

from rheobase.tasks.dataset import ArrayDataset


def test_batch_is_the_samples_asked_for_in_order() -> None:
    data = ArrayDataset(torch.arange(12.0).reshape(4, 1, 3), torch.tensor([5, 6, 7, 8]))
    batch = data.batch(torch.tensor([3, 0, 3]))
    assert batch.inputs.tolist() == [[[9, 10, 11]], [[0, 1, 2]], [[9, 10, 11]]]
    assert batch.targets.tolist() == [8, 5, 8]
    assert data.batch(torch.tensor([], dtype=torch.int64)).inputs.shape == (0, 1, 3)
    assert data.whole().targets.tolist() == [5, 6, 7, 8]


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (torch.zeros(0, 2), torch.zeros(0), "got a data set of 0 samples, wanted at least 1"),
        (torch.zeros(3, 2), torch.zeros(2), r"inputs of shape \(3, 2\) and targets of shape \(2,\)"),
        (torch.tensor(1.0), torch.tensor(1), "wanted the same number of samples"),
        (
            torch.tensor([[0.0], [float("nan")]]),
            torch.zeros(2),
            "NaN or infinite inputs in 1 of 2 .*sample 1",
        ),
        (torch.zeros(2, 1), torch.tensor([float("inf"), 0]), "NaN or infinite targets in 1 of 2 .*sample 0"),
    ],
)
def test_bad_arrays(inputs: torch.Tensor, targets: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ArrayDataset(inputs, targets)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        (torch.tensor([0, 2]), "got indices from 0 to 2, wanted 0 to 1"),
        (torch.tensor([-1]), "got indices from -1 to -1, wanted 0 to 1"),
        (torch.tensor([True, False]), "torch.bool, wanted torch.int64"),
        (torch.tensor([0.0]), "torch.float32, wanted torch.int64"),
        (torch.tensor(0), r"of shape \(\) .* wanted torch.int64 of shape \[B\]"),
    ],
)
def test_bad_indices(indices: torch.Tensor, message: str) -> None:
    data = ArrayDataset(torch.zeros(2, 1), torch.zeros(2))
    with pytest.raises(ValueError, match=message):
        data.batch(indices)
