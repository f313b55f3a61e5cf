"""Store-recall, evidence accumulation, pattern generation: what their samples hold, and their baselines."""

from __future__ import annotations

import math

import pytest
import torch

from rheobase.tasks.evidence_accumulation import EvidenceAccumulation
from rheobase.tasks.pattern_generation import PatternGeneration
from rheobase.tasks.store_recall import StoreRecall
from rheobase.tasks.streams import Stream

MANY = torch.arange(400)

# -- store and recall --------------------------------------------------------------------------------


def test_stores_and_recalls_alternate_and_there_is_a_pair() -> None:
    active, recalls, held = StoreRecall().plan(Stream("t"), MANY)
    stores = active[..., 2] > 0
    assert bool((recalls.sum(0) >= 1).all())
    assert torch.equal(recalls, active[..., 3] > 0)
    held_open = stores.long().cumsum(0) - recalls.long().cumsum(0)
    assert set(held_open.unique().tolist()) == {0, 1}
    bits = active[..., 1]
    for sample in range(50):
        kept = None
        for p in range(12):
            if stores[p, sample]:
                kept = int(bits[p, sample])
            if recalls[p, sample]:
                assert int(held[p, sample]) == kept
    # One bit is shown in each period, and none while another is recalled.
    assert torch.equal(active[..., :2].sum(-1), (~recalls).float())
    assert float(held[recalls].float().mean()) == pytest.approx(0.5, abs=0.06)


def test_stores_come_at_the_probability_asked_for() -> None:
    active, *_ = StoreRecall(probability=0.25, periods=40).plan(Stream("t"), MANY)
    # Half of the time a store is waited for, half a recall: either at 1/4 per period.
    assert float(active[..., 2].mean()) == pytest.approx(0.125, abs=0.01)


def test_once_is_one_pair_in_either_half() -> None:
    active, recalls, _ = StoreRecall(commands="once").plan(Stream("t"), MANY)
    assert active[:6, :, 2].sum(0).unique().tolist() == [1.0]
    assert recalls[6:].sum(0).unique().tolist() == [1]
    assert float(active[6:, :, 2].sum() + recalls[:6].sum()) == 0


def test_groups_fire_at_their_rates() -> None:
    task = StoreRecall(population=5, noise=4.0, periods=6)
    batch = task.splits().train.batch(MANY)
    active, recalls, held = task.plan(Stream("store_recall", 0, "train"), MANY)
    spikes = batch.inputs.reshape(400, 6, 200, 4, 5).mean((2, 4)).transpose(0, 1)  # shape: [P, B, 4]
    assert float(spikes[active > 0].mean()) == pytest.approx(0.05, rel=0.02)
    assert float(spikes[active == 0].mean()) == pytest.approx(0.004, rel=0.05)
    assert batch.mask is not None
    assert torch.equal(batch.mask[::200], recalls)
    assert torch.equal(batch.targets[199::200], held)


def test_store_recall_view_and_baselines() -> None:
    task = StoreRecall(periods=4, population=3, test_samples=100)
    batch = task.splits().test.whole()
    assert batch.mask is not None
    x, y = task.simple_view(batch)
    recalls = int(batch.mask[::200].sum())
    assert x.shape == (recalls, 16)
    assert y.shape == (recalls,)
    assert float(x[:, 15].min()) > 0  # the last period is the recall's: its group fires
    scores = task.baselines()
    assert scores["constant"] == pytest.approx(0.5, abs=0.15)


# -- evidence ----------------------------------------------------------------------------------------


def test_the_answer_is_the_side_with_more_cues() -> None:
    task = EvidenceAccumulation(rate=200.0)
    assert task.input_shape == (7 * 150 + 1050 + 150, 40)
    batch = task.splits().train.batch(torch.arange(100))
    windows = batch.inputs[:, :1050].reshape(100, 7, 150, 4, 10)
    left, right = windows[..., 0, :].sum((2, 3)), windows[..., 1, :].sum((2, 3))
    assert bool(((left == 0) ^ (right == 0)).all())  # each cue is on one side
    assert torch.equal(((right > 0).sum(1) > 3).long(), batch.targets)
    assert float(windows[:, :, 100:, :2].sum() + windows[..., 2, :].sum()) == 0  # pauses are silent
    asked = batch.inputs[:, 2100:, 20:30]
    assert float(asked.mean()) == pytest.approx(0.2, rel=0.02)
    assert float(batch.inputs[:, :2100, 20:30].sum()) == 0
    assert batch.mask is not None
    assert batch.mask.sum(0).unique().tolist() == [150]
    assert bool(batch.mask[-150:].all())


def test_cues_lean_to_one_side() -> None:
    batch = EvidenceAccumulation(bias=1.0, delay=0.0).splits().train.batch(MANY)
    left = batch.inputs[:, :, :10].sum((1, 2)) > 0
    right = batch.inputs[:, :, 10:20].sum((1, 2)) > 0
    assert bool((left ^ right).all())
    assert float(batch.targets.float().mean()) == pytest.approx(0.5, abs=0.08)


def test_evidence_that_may_be_a_draw_is_refused() -> None:
    with pytest.raises(ValueError, match=r"EvidenceAccumulation\.cues: got 4, wanted an odd number"):
        EvidenceAccumulation(cues=4)


@pytest.mark.parametrize("cls", [StoreRecall, EvidenceAccumulation])
def test_rates_above_a_spike_per_step_are_refused(cls: type[StoreRecall]) -> None:
    with pytest.raises(ValueError, match="got 600 Hz with dt 2 ms, which is more than one spike per step"):
        cls(rate=600.0, dt=2.0)


# -- patterns ----------------------------------------------------------------------------------------


def test_the_pattern_is_a_sum_of_four_sines() -> None:
    task = PatternGeneration(duration=1000.0, outputs_wanted=3)
    curves = task.curves()
    assert curves.shape == (1000, 3)
    assert curves.abs().amax(0).tolist() == pytest.approx([1.0] * 3)
    power = torch.fft.rfft(curves.T).abs()
    assert set(power.argsort(1, descending=True)[:, :4].flatten().tolist()) == {1, 2, 3, 5}
    assert not torch.equal(curves, PatternGeneration(pattern_seed=1, outputs_wanted=3).curves())


def test_the_input_is_fixed_but_for_noise() -> None:
    quiet = PatternGeneration().splits()
    a, b = quiet.train.batch(torch.arange(2)).inputs, quiet.test.batch(torch.arange(2)).inputs
    assert torch.equal(a[0], a[1])
    assert torch.equal(a, b)
    assert float(a.mean()) == pytest.approx(0.02, rel=0.05)
    noisy = PatternGeneration(noise=10.0).splits().train.batch(torch.arange(2)).inputs
    assert not torch.equal(noisy[0], noisy[1])
    assert bool((noisy >= a).all())


def test_pattern_baselines() -> None:
    scores = PatternGeneration(duration=300.0).baselines()
    assert list(scores) == ["constant", "linear"]
    assert scores["constant"] == pytest.approx(1.0, abs=1e-6)  # what the normalisation is by
    assert 0 < scores["linear"] < 1
    assert math.isclose(PatternGeneration().chance, 1.0)
