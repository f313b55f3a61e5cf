"""Losses: values by formulas written out here, gradients by finite differences and flipped spikes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from rheobase.coding.losses import (
    CountHinge,
    CrossEntropyCount,
    CrossEntropyLast,
    CrossEntropyMax,
    CrossEntropyMean,
    CrossEntropySum,
    FirstSpikeCrossEntropy,
    Loss,
    MeanSquaredError,
    ResponseWindows,
    VanRossum,
)
from rheobase.registry import build, catalogue

LOSSES: dict[str, type[Loss]] = catalogue(Loss)  # type: ignore[type-abstract]
BY_LABELS = [cls for cls in LOSSES.values() if not cls.trains_only]

T, B, C = 7, 5, 4
LABELS = torch.tensor([0, 3, 1, 1, 2])


def membrane(seed: int = 0) -> Tensor:
    return torch.randn(T, B, C, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def spikes(seed: int = 0, rate: float = 0.3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(T, B, C, generator=generator, dtype=torch.float64) < rate).double()


def signal_for(loss: Loss) -> Tensor:
    return spikes() if loss.signal == "spikes" else membrane()


def gradient(loss: Loss, signal: Tensor, target: Tensor) -> Tensor:
    signal = signal.clone().requires_grad_()
    (result,) = torch.autograd.grad(loss(signal, target), signal)
    return result


def cross_entropy(logits: list[float], label: int) -> float:
    return math.log(sum(math.exp(z) for z in logits)) - logits[label]


def test_the_room_holds_these_losses() -> None:
    assert {name: cls.signal for name, cls in LOSSES.items()} == {
        "count_hinge": "spikes",
        "cross_entropy_count": "spikes",
        "cross_entropy_last": "v",
        "cross_entropy_max": "v",
        "cross_entropy_mean": "v",
        "cross_entropy_sum": "v",
        "first_spike_cross_entropy": "spikes",
        "mean_squared_error": "v",
        "response_windows": "spikes",
        "van_rossum": "spikes",
    }


@pytest.mark.parametrize("cls", BY_LABELS)
def test_every_loss_is_a_scalar_with_a_gradient(cls: type[Loss]) -> None:
    loss = cls()
    signal = signal_for(loss)
    value, slope = loss(signal, LABELS), gradient(loss, signal, LABELS)
    assert value.shape == ()
    assert value.dtype == torch.float64
    assert slope.isfinite().all()
    assert slope.abs().sum() > 0
    assert loss(signal, LABELS.int()) == value  # any integer dtype
    assert build(Loss, loss.to_dict()) == loss  # type: ignore[type-abstract]


@pytest.mark.parametrize("cls", BY_LABELS)
def test_every_loss_is_a_mean_over_the_batch(cls: type[Loss]) -> None:
    loss, signal = cls(), signal_for(cls())
    alone = torch.stack([loss(signal[:, [b]], LABELS[[b]]) for b in range(B)])
    torch.testing.assert_close(loss(signal, LABELS), alone.mean())


@pytest.mark.parametrize("cls", [c for c in BY_LABELS if c is not FirstSpikeCrossEntropy])
def test_a_step_against_the_gradient_lowers_the_loss(cls: type[Loss]) -> None:
    loss, signal = cls(), signal_for(cls())
    assert loss(signal - 1e-3 * gradient(loss, signal, LABELS), LABELS) < loss(signal, LABELS)


@pytest.mark.parametrize(
    "loss",
    [
        CrossEntropySum(),
        CrossEntropyMax(),
        CrossEntropyLast(),
        CrossEntropyCount(),
        MeanSquaredError(over="last"),
    ],
)
def test_gradients_are_those_of_finite_differences(loss: Loss) -> None:
    assert torch.autograd.gradcheck(lambda v: loss(v, LABELS[:2]), membrane()[:3, :2].requires_grad_())


def test_cross_entropy_sum_is_the_loop_of_the_tutorial() -> None:
    v = membrane()
    total = torch.zeros((), dtype=torch.float64)
    for step in range(T):
        total += functional.cross_entropy(v[step], LABELS)
    torch.testing.assert_close(CrossEntropySum()(v, LABELS), total)
    assert CrossEntropySum()(torch.zeros(25, 2, 10), torch.tensor([1, 2])).item() == pytest.approx(
        25 * math.log(10)
    )


def test_cross_entropy_max_by_hand() -> None:
    v = torch.tensor([[[0.0, 2.0]], [[1.0, -5.0]]])
    assert CrossEntropyMax()(v, torch.tensor([0])).item() == pytest.approx(cross_entropy([1.0, 2.0], 0))


def test_cross_entropy_last_by_hand() -> None:
    v = torch.tensor([[[9.0, -9.0]], [[1.0, 2.0]]])
    target = torch.tensor([0])
    assert CrossEntropyLast()(v, target).item() == pytest.approx(cross_entropy([1.0, 2.0], 0))
    assert gradient(CrossEntropyLast(), v, target)[0].tolist() == [[0.0, 0.0]]


def test_cross_entropy_max_sends_its_gradient_to_the_first_maximum() -> None:
    slope = gradient(CrossEntropyMax(), torch.zeros(3, 1, 2), torch.tensor([0]))
    assert slope.tolist() == [[[-0.5, 0.5]], [[0.0, 0.0]], [[0.0, 0.0]]]


def test_cross_entropy_count_by_hand() -> None:
    s = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]]])
    assert CrossEntropyCount()(s, torch.tensor([1])).item() == pytest.approx(cross_entropy([2.0, 1.0], 1))


def test_first_spike_cross_entropy_by_hand() -> None:
    s = torch.zeros(5, 1, 3)
    s[1, 0, 0] = s[4, 0, 0] = s[3, 0, 1] = 1.0  # first spikes at steps 1, 3, never (5); dt 2 ms, tau 4 ms
    value = FirstSpikeCrossEntropy(tau=4.0, dt=2.0)(s, torch.tensor([1]))
    assert value.item() == pytest.approx(cross_entropy([-0.5, -1.5, -2.5], 1))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), rate=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_first_spike_gradient_is_the_effect_of_flipping_a_spike(seed: int, rate: float) -> None:
    """The time is linear in each single spike, so its derivative is the exact difference of a flip."""

    def times(s: Tensor) -> Tensor:
        fired = [step for step, here in enumerate(s.tolist()) if here > 0]
        return torch.tensor(float(fired[0] if fired else len(s)), dtype=torch.float64)

    train = spikes(seed, rate)[:, 0, 0]
    other = torch.zeros(
        T, dtype=torch.float64
    )  # a silent rival, so that the time of `train` can be read off the loss
    found = gradient(
        FirstSpikeCrossEntropy(), torch.stack([train, other], -1).unsqueeze(1), torch.tensor([0])
    )
    slope = torch.sigmoid(times(train) - T)  # d loss / d time of the right class
    expected = torch.empty(T, dtype=torch.float64)
    for k in range(T):
        with_spike, without = train.clone(), train.clone()
        with_spike[k], without[k] = 1.0, 0.0
        expected[k] = slope * (times(with_spike) - times(without))
    torch.testing.assert_close(found[:, 0, 0], expected)


def test_first_spike_gradient_draws_a_silent_neuron() -> None:
    slope = gradient(FirstSpikeCrossEntropy(), torch.zeros(T, 1, 2), torch.tensor([0]))
    assert slope[:, 0, 0].tolist() == [-0.5 * (T - k) for k in range(T)]
    assert slope[:, 0, 1].tolist() == [0.5 * (T - k) for k in range(T)]


def test_first_spike_cross_entropy_refuses_a_membrane() -> None:
    with pytest.raises(ValueError, match="spikes other than 0 and 1"):
        FirstSpikeCrossEntropy()(membrane(), LABELS)


def test_count_hinge_by_hand() -> None:
    s = torch.zeros(10, 1, 3)
    s[:5, 0, 0] = s[:4, 0, 1] = s[:1, 0, 2] = 1.0  # counts 5, 4, 1
    assert CountHinge(margin=3.0)(s, torch.tensor([0])).item() == pytest.approx((3 + 4 - 5) / 3)
    assert CountHinge(margin=3.0)(s, torch.tensor([1])).item() == pytest.approx((3 + 5 - 4) / 3)
    assert CountHinge(margin=1.0)(s, torch.tensor([0])).item() == 0.0


def test_count_hinge_pushes_a_silent_layer_and_rests_beyond_the_margin() -> None:
    silent, label = torch.zeros(10, 1, 3), torch.tensor([0])
    expected = torch.tensor([[-2 / 3, 1 / 3, 1 / 3]]).expand(10, 1, 3)
    torch.testing.assert_close(gradient(CountHinge(), silent, label), expected)
    leading = silent.clone()
    leading[:, 0, 0] = 1.0
    assert gradient(CountHinge(), leading, label).abs().sum() == 0


@pytest.mark.parametrize("over", ["all", "last"])
def test_mean_squared_error_with_labels_and_values(over: Any) -> None:
    v = membrane()
    loss = MeanSquaredError(over=over, on=2.0, off=-1.0)
    goal = torch.full((B, C), -1.0, dtype=torch.float64)
    goal[torch.arange(B), LABELS] = 2.0
    expected = ((v if over == "all" else v[-1]) - goal).square().mean()
    torch.testing.assert_close(loss(v, LABELS), expected)
    torch.testing.assert_close(loss(v, goal), expected)
    torch.testing.assert_close(loss(v, goal.expand(T, B, C)), expected)


@pytest.mark.parametrize("cls", BY_LABELS)
@pytest.mark.parametrize(
    ("target", "message"),
    [
        (torch.tensor([0, 1, 2]), r"labels of shape \(3,\) .* wanted \[5\]"),
        (torch.tensor([0, 1, 2, 3, 4]), r"labels from 0 to 4, wanted 0 to 3"),
        (torch.tensor([0, 1, 2, 3, -1]), r"labels from -1 to 3, wanted 0 to 3"),
        (torch.tensor([True] * B), r"targets of torch\.bool, wanted integer labels"),
    ],
)
def test_bad_labels_are_refused(cls: type[Loss], target: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cls()(signal_for(cls()), target)


@pytest.mark.parametrize("cls", [c for c in LOSSES.values() if c.labels_only])
def test_values_are_refused_where_only_labels_will_do(cls: type[Loss]) -> None:
    with pytest.raises(ValueError, match=r"targets of torch\.float32, wanted integer labels"):
        cls()(signal_for(cls()), torch.zeros(B, C))


def test_mean_squared_error_refuses_values_that_would_broadcast() -> None:
    with pytest.raises(ValueError, match=r"targets of shape \(5, 1\)"):
        MeanSquaredError()(membrane(), torch.zeros(B, 1, dtype=torch.float64))


@pytest.mark.parametrize("cls", LOSSES.values())
def test_bad_signals_are_refused(cls: type[Loss]) -> None:
    with pytest.raises(ValueError, match=r"got a signal of shape \(0, 5, 4\)"):
        cls()(torch.zeros(0, B, C), LABELS)


# ---- steps that count


def test_cross_entropy_mean_is_over_the_steps_that_count() -> None:
    signal, labels = membrane(), torch.arange(B) % C
    steps = torch.stack([cross_entropy_of(signal[t], labels) for t in range(T)])  # shape: [T, B]
    assert torch.allclose(CrossEntropyMean()(signal, labels), steps.mean())
    mask = spikes(3)[..., 0] > 0
    assert torch.allclose(CrossEntropyMean()(signal, labels, mask), steps[mask].mean())
    changing = labels.expand(T, B)
    assert torch.equal(CrossEntropyMean()(signal, changing, mask), CrossEntropyMean()(signal, labels, mask))


def cross_entropy_of(scores: Tensor, labels: Tensor) -> Tensor:
    return torch.logsumexp(scores, 1) - scores.gather(1, labels[:, None])[:, 0]


def test_squared_error_over_the_steps_that_count() -> None:
    signal, target, mask = membrane(), membrane(1), spikes(3)[..., 0] > 0
    error = (signal - target).square()
    assert torch.allclose(MeanSquaredError()(signal, target, mask), error[mask].mean())
    assert torch.allclose(MeanSquaredError(over="last")(signal, target[-1]), error[-1].mean())
    with pytest.raises(ValueError, match="over='last', wanted over='all'"):
        MeanSquaredError(over="last")(signal, target, mask)


def test_masks_that_do_not_fit() -> None:
    signal, labels = membrane(), torch.arange(B) % C
    with pytest.raises(ValueError, match="does not compare step by step; choose cross_entropy_mean"):
        CrossEntropySum()(signal, labels, torch.ones(T, B, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"wanted torch.bool of shape"):
        CrossEntropyMean()(signal, labels, torch.ones(T, B))
    with pytest.raises(ValueError, match=r"or .* one for each step"):
        CrossEntropyMean()(signal, labels.expand(2, B))


def test_losses_of_trains_are_means_over_the_batch_with_the_gradient_of_the_trains() -> None:
    target = spikes(seed=1)
    alone = torch.stack([VanRossum(dt=1.0)(spikes()[:, [b]], target[:, [b]]) for b in range(B)])
    torch.testing.assert_close(VanRossum(dt=1.0)(spikes(), target), alone.mean())
    assert torch.autograd.gradcheck(lambda s: VanRossum(dt=1.0)(s, target), spikes().requires_grad_())
    loss = ResponseWindows(dt=1.0)
    slope = gradient(loss, spikes(), torch.zeros_like(target))  # all spikes are wrong
    torch.testing.assert_close(slope, gradient(VanRossum(dt=1.0), spikes(), torch.zeros_like(target)))
    assert loss(spikes(), spikes()) == 0


def test_a_missed_window_calls_for_spikes_before_its_end() -> None:
    target = torch.zeros(60, 1, 1, dtype=torch.float64)
    target[20:40] = 1.0
    slope = gradient(ResponseWindows(dt=1.0), torch.zeros_like(target), target).flatten()
    assert (slope[:40] < 0).all()
    error = torch.zeros_like(target)
    error[39] = 1.0
    assert ResponseWindows(dt=1.0)(torch.zeros_like(target), target) == VanRossum(dt=1.0)(
        torch.zeros_like(target), error
    )


def test_a_margin_ends_windows_earlier_and_no_window_may_vanish() -> None:
    target = torch.zeros(60, 2, 1, dtype=torch.float64)
    target[20:40, 0] = target[45:58, 0] = target[50:, 1] = 1.0
    narrow = torch.zeros_like(target)
    narrow[20:36, 0] = narrow[45:54, 0] = narrow[50:56, 1] = 1.0  # a window that is cut off ends with it
    plain, early = ResponseWindows(dt=1.0), ResponseWindows(dt=1.0, margin=4.0)
    for step in (21, 35, 36, 39, 46, 54, 55, 56, 59):
        fired = torch.zeros_like(target)
        fired[step] = 1.0
        assert early(fired, target) == plain(fired, narrow)
    assert early(narrow, target) == 0
    with pytest.raises(ValueError, match=r"margin: got 13 ms, wanted less than the shortest window"):
        ResponseWindows(dt=1.0, margin=13.0)(torch.zeros_like(target[:, :1]), target[:, :1])


@pytest.mark.parametrize("cls", [VanRossum, ResponseWindows])
def test_losses_of_trains_refuse_labels_and_other_shapes(cls: type[Loss]) -> None:
    with pytest.raises(ValueError, match="got labels, wanted spike trains"):
        cls()(spikes(), LABELS)
    with pytest.raises(ValueError, match=r"wanted \(7, 5, 4\)"):
        cls()(spikes(), spikes()[0])
