"""Randman: the published definition and its random numbers, splits, spikes, baselines."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from rheobase.tasks.manifolds import Manifold, ManifoldSpikes
from rheobase.tasks.randman import Randman, RandmanCoordinates, SpikesOnManifolds, SpikeTimes


def steps_of(task: SpikesOnManifolds) -> Tensor:
    splits = task.splits()
    parts = [splits.train, splits.validation, splits.test]
    return torch.cat([part.steps for part in parts if isinstance(part, SpikeTimes)])


def value(parameters: Tensor, alpha: float, x: list[float]) -> float:
    """The definition for one unit, number by number."""
    product = 1.0
    for d, place in enumerate(x):
        a, b, c = parameters[d].tolist()
        product *= sum(
            a[i] / ((i + 1) ** alpha + 1) * math.sin(2 * math.pi * (i * place * b[i] + c[i]))
            for i in range(len(a))
        )
    return product


@pytest.mark.parametrize(("alpha", "frequencies"), [(2.0, 32), (3.0, 10), (1.0, 1000)])
def test_manifolds_are_as_defined(alpha: float, frequencies: int) -> None:
    manifold = Manifold.draw(embedding=3, dim=2, alpha=alpha, seed=5)
    assert manifold.parameters.shape == (3, 2, 3, frequencies)
    assert not manifold.parameters[:, :, 0, 0].any()
    x = torch.rand(4, 2, generator=torch.Generator().manual_seed(0))
    y = manifold(x)
    for n in range(4):
        for e in range(3):
            expected = value(manifold.parameters[e].double(), alpha, x[n].tolist())
            assert float(y[n, e]) == pytest.approx(expected, rel=1e-9)


def test_numbers_are_those_of_the_published_code() -> None:
    """Which sets the global generators; in its order, and in float32 as there."""
    classes, units, dim, spikes, samples, alpha = 3, 4, 2, 2, 50, 2.0
    np.random.seed(12)
    seeds = np.random.randint(np.iinfo(np.int64).max, size=(classes, spikes), dtype=np.int64)
    times, places = [], []
    with torch.random.fork_rng():
        for row in seeds:
            x = np.random.rand(samples, dim)
            each = []
            for seed in row:
                torch.manual_seed(int(seed))
                parameters = torch.rand(units, dim, 3, 32)
                parameters[:, :, 0, 0] = 0
                y = Manifold(parameters, alpha)(torch.tensor(x, dtype=torch.float32)).float()
                low, high = y.min(0).values, y.max(0).values
                each.append((y - low) / (high - low + 1e-7))
            times.append(torch.stack(each, 1))
            places.append(torch.from_numpy(x))
    order = np.arange(classes * samples)
    np.random.shuffle(order)
    data = ManifoldSpikes.draw(
        classes=classes, units=units, dim=dim, spikes=spikes, samples=samples, alpha=alpha, seed=12
    )
    torch.testing.assert_close(data.times.float(), torch.cat(times)[order], atol=1e-5, rtol=0)
    assert torch.equal(data.coordinates, torch.cat(places)[order])
    assert torch.equal(data.labels, torch.arange(3).repeat_interleave(samples)[order])


HASHES = {
    Randman(units=3, steps=200, data_seed=12): "a433343455b7ffd4",
    Randman(samples=20): "dfb470ca599ace52",
    Randman(
        units=5, steps=100, dim=1, alpha=1.0, step_frac=0.5, samples=20, spikes=2, data_seed=7
    ): "0184283b8652cd45",
}


@pytest.mark.parametrize(("task", "pinned"), HASHES.items())
def test_data_are_the_same_for_ever(task: Randman, pinned: str) -> None:
    data = steps_of(task).numpy().astype("<i2")
    assert hashlib.sha256(data.tobytes()).hexdigest()[:16] == pinned


def test_the_global_generators_are_left_alone() -> None:
    random, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()
    Randman(manifolds=2, units=2, samples=10).splits()
    assert torch.equal(torch.get_rng_state(), random)
    assert np.array_equal(np.random.get_state()[1], legacy)


def test_splits_are_80_10_10_of_all_samples() -> None:
    task = Randman(manifolds=4, units=6, samples=50)
    splits = task.splits()
    assert splits.validation is not None
    assert [len(s) for s in (splits.train, splits.validation, splits.test)] == [160, 20, 20]
    labels = torch.cat([s.whole().targets for s in (splits.train, splits.validation, splits.test)])
    assert torch.bincount(labels).tolist() == [50] * 4
    without = task.replace(validation=0.0).splits()
    assert (len(without.train), without.validation) == (180, None)
    assert torch.equal(without.test.whole().inputs, splits.test.whole().inputs)
    other = task.replace(data_seed=1).splits()
    assert not torch.equal(other.test.whole().inputs, splits.test.whole().inputs)


def test_spikes_fall_where_they_should() -> None:
    task = Randman(manifolds=2, units=6, steps=40, step_frac=0.5, samples=100)
    whole = task.splits().train.whole()
    assert whole.inputs.shape == (160, 40, 6)
    assert set(whole.inputs.unique().tolist()) == {0.0, 1.0}
    assert set(whole.inputs.sum(1).unique().tolist()) == {1.0}  # one spike of each unit in each sample
    assert not whole.inputs[:, 20:].any()
    assert bool(whole.inputs[:, 19].any())
    assert bool(whole.inputs[:, 0].any())
    two = task.replace(spikes=2).splits().train.whole().inputs.sum(1)
    assert set(two.unique().tolist()) == {1.0, 2.0}  # two in one step are one
    some = task.splits().train.batch(torch.tensor([3, 1]))
    assert torch.equal(some.inputs, whole.inputs[[3, 1]])
    assert torch.equal(some.targets, whole.targets[[3, 1]])


def test_no_spike_falls_after_the_end() -> None:
    """In float32 the largest time of a unit rounds to 1 wherever its range is above 1.7 or so."""
    for steps in (3, 32767):
        steps_seen = steps_of(Randman(manifolds=3, units=20, steps=steps, samples=50))
        assert int(steps_seen.max()) == steps - 1
        assert int(steps_seen.min()) == 0


@pytest.mark.parametrize(
    ("options", "linear", "neighbour"),
    [
        ({"units": 3, "steps": 200, "data_seed": 12}, 0.30, 0.54),
        ({"units": 20, "steps": 100, "data_seed": 12}, 0.61, 1.0),
    ],
)
def test_baselines_see_the_spike_times(options: dict[str, int], linear: float, neighbour: float) -> None:
    """They differ by some hundredths from one set of manifolds to the next."""
    scores = Randman(**options).baselines()  # type: ignore[arg-type]
    assert scores["linear"] == pytest.approx(linear, abs=0.05)
    assert scores["nearest_neighbour"] == pytest.approx(neighbour, abs=0.05)


def test_coordinates_can_be_asked_for() -> None:
    task = RandmanCoordinates(units=10, samples=200)
    data = task.splits().test
    whole = data.whole()
    assert (whole.targets.shape, whole.targets.dtype) == ((200, 2), torch.float32)
    assert bool(((whole.targets >= 0) & (whole.targets < 1)).all())
    assert (task.outputs, task.classes, task.metric) == (2, None, "mse")
    scores = task.baselines()
    assert scores["constant"] == pytest.approx(task.chance, abs=0.01)
    assert scores["nearest_neighbour"] < scores["linear"] < scores["constant"]
    same = Randman(units=10, samples=200).splits().test.whole()
    assert torch.equal(same.inputs, whole.inputs)


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="got 20 samples of which 10 are for validation and 10 to test on"):
        Randman(manifolds=2, samples=10, validation=0.5, test=0.5).splits()
