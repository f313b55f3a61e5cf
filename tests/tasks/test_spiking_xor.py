"""Spiking XOR: what its trials consist of, and which answers are wrong."""

from __future__ import annotations

import torch

from rheobase.tasks.spiking_xor import SpikingXOR


def test_trials_without_background_are_sets_of_spikes_at_fixed_times() -> None:
    task = SpikingXOR(background=0.0, test_samples=40)
    batch = task.splits().test.whole()
    sets = torch.stack(
        [batch.inputs[:, :, part].sum((1, 2)) for part in (range(33), range(33, 66), range(66, 100))], 1
    )
    assert bool((sets[:, 0] == 33).all())  # the reference, in every trial
    bits = torch.stack([sets[:, 1] == 33, sets[:, 2] == 34], 1)
    assert bool(((sets[:, 1] == 0) | bits[:, 0]).all())
    assert bool(((sets[:, 2] == 0) | bits[:, 1]).all())
    assert len({tuple(row) for row in bits.tolist()}) == 4
    answer = (bits.sum(1) % 2).tolist()
    assert batch.targets.sum(0).argmax(1).tolist() == answer
    assert batch.targets.sum(0).amax(1).tolist() == [250.0] * 40  # 10 + 15 ms
    # The stimulus lies at the start of the window, and has the same order in all trials.
    onset = batch.targets.sum(2).argmax(0)
    for i in range(40):
        times = batch.inputs[i].nonzero()[:, 0]
        assert onset[i] <= times.min() <= times.max() < onset[i] + 100
        reference = batch.inputs[i, onset[i] : onset[i] + 100, :33]
        assert torch.equal(reference, batch.inputs[0, onset[0] : onset[0] + 100, :33])


def test_the_background_has_its_rate() -> None:
    task = SpikingXOR(background=20.0, test_samples=100)
    noisy, quiet = (t.splits().test.whole().inputs.sum() for t in (task, task.replace(background=0.0)))
    assert abs(float(noisy - quiet) - 100 * 100 * 20.0 * 0.08) < 5 * 16000**0.5


def test_a_trial_is_right_only_if_all_is_right() -> None:
    batch = SpikingXOR(test_samples=10).splits().test.whole()
    score = SpikingXOR.scoring
    assert score(torch.zeros_like(batch.targets), batch.targets).tolist() == [1.0] * 10
    right = torch.zeros_like(batch.targets)
    right[batch.targets.argmax(0).amax(1) + 100, torch.arange(10), batch.targets.sum(0).argmax(1)] = 1.0
    assert score(right, batch.targets).tolist() == [0.0] * 10
    late = right.clone()
    late[-1 if not batch.targets[-1].any() else 0, 3] = 1.0  # a spike more, outside the window
    assert score(late, batch.targets).sum() == 1.0
