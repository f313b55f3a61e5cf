"""Dense connections and modules that know no time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rheobase.kernels.constant import Constant
from rheobase.layers.dense import Dense
from rheobase.layers.over_time import OverTime, over_time


def test_dense_is_a_matrix_product_at_each_step() -> None:
    layer = Dense(3, 2)
    x = torch.rand(5, 4, 3)
    y = layer(x)
    assert layer.bias is not None
    for t in range(5):
        torch.testing.assert_close(y[t], x[t] @ layer.weight.T + layer.bias)


def test_dense_flattens_a_sample() -> None:
    layer = Dense(12, 2)
    x = torch.rand(5, 4, 3, 2, 2)
    assert torch.equal(layer(x), layer(x.flatten(2)))


def test_dense_without_bias() -> None:
    layer = Dense(3, 2, bias=False)
    assert layer.bias is None
    assert layer(torch.zeros(2, 1, 3)).abs().sum() == 0


def test_gain_scales_the_initial_weights_only() -> None:
    layers = []
    for gain in (1.0, 4.0):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layers.append(Dense(16, 8, gain=gain))
    torch.testing.assert_close(layers[1].weight, 4.0 * layers[0].weight)
    torch.testing.assert_close(layers[1].bias, layers[0].bias)
    assert float(layers[0].weight.detach().abs().max()) <= 0.25


@pytest.mark.parametrize("module", [Dense(36, 5), OverTime(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AvgPool2d(2))])
def test_a_constant_passes_once_and_equals_many_copies(module: nn.Module) -> None:
    constant = Constant(torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(0)), 4)
    calls: list[Tensor] = []
    once = module(constant)
    assert isinstance(once, Constant)
    assert once.steps == 4
    torch.testing.assert_close(once.expand(), module(constant.expand()))
    over_time(lambda x: calls.append(x) or x, constant)  # type: ignore[func-returns-value]
    assert [tuple(x.shape) for x in calls] == [(3, 1, 6, 6)]


def test_over_time_calls_once_for_all_steps() -> None:
    shapes: list[tuple[int, ...]] = []

    def function(x: Tensor) -> Tensor:
        shapes.append(tuple(x.shape))
        return x.flatten(1)[:, :2]

    x = torch.rand(5, 3, 2, 2)
    assert torch.equal(over_time(function, x), x.flatten(2)[..., :2])
    assert shapes == [(15, 2, 2)]


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"Dense: got samples of 5 values, wanted 3.*time-major"):
        Dense(3, 2)(torch.zeros(4, 2, 5))
    with pytest.raises(ValueError, match="got 0 inputs and 2 outputs"):
        Dense(0, 2)
