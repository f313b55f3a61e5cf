"""Regularisers: prices by hand, and gradients that live wherever there is a price."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rheobase.coding.regularisers import L1Activity, L2Activity, RateLower, RateUpper, Regulariser, mean_rates
from rheobase.registry import build, catalogue

REGULARISERS: dict[str, type[Regulariser]] = catalogue(Regulariser)  # type: ignore[type-abstract]


def spikes(rate: float = 0.3, shape: tuple[int, ...] = (50, 4, 6)) -> Tensor:
    return (
        torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) < rate
    ).double()


def gradient(regulariser: Regulariser, s: Tensor) -> Tensor:
    s = s.clone().requires_grad_()
    (result,) = torch.autograd.grad(regulariser(s), s)
    return result


def test_the_room_holds_these_regularisers() -> None:
    assert sorted(REGULARISERS) == ["l1_activity", "l2_activity", "rate_lower", "rate_upper"]


@pytest.mark.parametrize("cls", REGULARISERS.values())
def test_every_price_is_a_scalar_that_is_not_negative(cls: type[Regulariser]) -> None:
    price = cls()(spikes())
    assert price.shape == ()
    assert price.dtype == torch.float64
    assert price >= 0
    assert build(Regulariser, cls().to_dict()) == cls()  # type: ignore[type-abstract]


@pytest.mark.parametrize("cls", REGULARISERS.values())
def test_bad_spikes_are_refused(cls: type[Regulariser]) -> None:
    for bad in (torch.zeros(5, 4), torch.zeros(0, 2, 3), torch.zeros(5, 2, 3, dtype=torch.bool)):
        with pytest.raises(
            ValueError, match=rf"{cls.__name__}: got spikes of shape .* wanted floating point"
        ):
            cls()(bad)


@pytest.mark.parametrize("cls", REGULARISERS.values())
def test_the_shape_of_a_layer_does_not_matter(cls: type[Regulariser]) -> None:
    s = spikes(shape=(50, 4, 2, 3))
    torch.testing.assert_close(cls()(s), cls()(s.flatten(2)))


def test_mean_rates_are_in_hertz() -> None:
    s = torch.zeros(100, 2, 2)
    s[::10, :, 0] = 1.0  # every 10 steps of 0.5 ms
    assert mean_rates(s, dt=0.5).tolist() == pytest.approx([200.0, 0.0])


def test_rate_bounds_by_hand() -> None:
    s = torch.zeros(100, 2, 4)
    s[0, 0, 1] = 1.0  # rates in Hz, dt 1 ms: 0, 5, 10, 1000
    s[0, :, 2] = 1.0
    s[:, :, 3] = 1.0
    assert RateLower(rate=10.0, strength=0.1)(s).item() == pytest.approx(0.1 * (100 + 25) / 4)
    assert RateUpper(rate=5.0, strength=0.1)(s).item() == pytest.approx(0.1 * (25 + 995**2) / 4)


def test_rate_gradients_live_exactly_where_the_bound_is_broken() -> None:
    s = spikes()  # about 300 Hz
    rates = mean_rates(s, 1.0)
    middle = float(rates.median()) + 0.5
    low, high = gradient(RateLower(rate=middle), s), gradient(RateUpper(rate=middle), s)
    below = rates < middle
    assert below.any()
    assert (~below).any()
    assert (low[..., below] < 0).all()
    assert (low[..., ~below] == 0).all()
    assert (high[..., ~below] > 0).all()
    assert (high[..., below] == 0).all()


def test_a_silent_layer_is_drawn_towards_firing() -> None:
    assert (gradient(RateLower(), torch.zeros(20, 3, 5)) < 0).all()
    assert (gradient(RateUpper(), torch.zeros(20, 3, 5)) == 0).all()


def test_rate_prices_do_not_depend_on_the_size_of_the_batch() -> None:
    s = spikes()
    for regulariser in (RateLower(rate=500.0), RateUpper(rate=10.0)):
        torch.testing.assert_close(regulariser(torch.cat([s, s], 1)), regulariser(s))


def test_activity_prices_are_those_of_spytorch() -> None:
    """SpyTorch keeps spikes as [B, T, N]; its price, written out again."""
    s = spikes()
    batch_first = s.transpose(0, 1)
    expected = 1e-5 * batch_first.sum() + 1e-5 * (batch_first.sum(0).sum(0) ** 2).mean()
    torch.testing.assert_close(L1Activity()(s) + L2Activity()(s), expected)


def test_activity_gradients() -> None:
    s = spikes()
    assert (gradient(L1Activity(strength=0.5), s) == 0.5).all()
    expected = 2 * 0.5 * s.sum((0, 1)) / 6
    torch.testing.assert_close(gradient(L2Activity(strength=0.5), s), expected.expand(50, 4, 6))


def test_a_lower_bound_that_no_neuron_can_reach_is_refused() -> None:
    RateLower(rate=500.0, dt=2.0)
    with pytest.raises(ValueError, match=r"RateLower\.rate: got 501 Hz with dt 2 ms, wanted at most 500 Hz"):
        RateLower(rate=501.0, dt=2.0)
