"""Convolutional networks: sizes, refusals, gradients, dropout."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rheobase.kernels.constant import Constant
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.networks.convolutional import Convolutional
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF


def build(shape: tuple[int, ...] = (2, 12, 10), outputs: int = 3, **options: Any) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        options = {"backend": "torch", "channels": (4, 6), "hidden": (7,), **options}
        return Convolutional(**options).build(shape, outputs, LIF(), LeakyIntegrator())


def images(*shape: int) -> Tensor:
    return 3.0 * torch.rand(shape, generator=torch.Generator().manual_seed(1))


def test_layers_and_sizes() -> None:
    net = build()
    assert list(net.layers) == [
        *("conv1", "neurons1", "pool1", "conv2", "neurons2", "pool2"),
        *("dense1", "hidden1", "dense2", "readout"),
    ]
    shapes = {name: tuple(p.shape) for name, p in net.named_parameters()}
    assert shapes == {
        "layers.conv1.module.0.weight": (4, 2, 5, 5),
        "layers.conv1.module.1.weight": (4,),
        "layers.conv1.module.1.bias": (4,),
        "layers.conv2.module.0.weight": (6, 4, 5, 5),
        "layers.conv2.module.1.weight": (6,),
        "layers.conv2.module.1.bias": (6,),
        "layers.dense1.weight": (7, 6 * 3 * 2),  # 12 x 10 px halved twice
        "layers.dense1.bias": (7,),
        "layers.dense2.weight": (3, 7),
        "layers.dense2.bias": (3,),
    }
    assert net.spiking == ("neurons1", "neurons2", "hidden1")


def test_signals_have_the_images_shapes() -> None:
    x = images(5, 3, 2, 12, 10)
    with torch.no_grad():
        found = build()(x, record=["neurons1.spikes", "neurons2.v", "hidden1.spikes", "readout.v"])
    assert {name: tuple(signal.shape) for name, signal in found.signals.items()} == {
        "neurons1.spikes": (5, 3, 4, 12, 10),
        "neurons2.v": (5, 3, 6, 6, 5),
        "hidden1.spikes": (5, 3, 7),
        "readout.v": (5, 3, 3),
    }
    assert torch.equal(found.output, found["readout.v"])
    assert set(found["neurons1.spikes"].unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("norm", [False, True])
def test_an_input_that_does_not_change(norm: bool) -> None:
    net = build(norm=norm).eval()
    x = images(3, 2, 12, 10)
    with torch.no_grad():
        torch.testing.assert_close(
            net(Constant(x, 5)).output, net(x.expand(5, *x.shape)).output, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize(
    ("options", "shape", "inputs"),
    [
        ({"channels": (4,), "kernel": 4}, (1, 8, 8), 4 * 4 * 4),  # even: one px more, (8 + 1) // 2
        ({"channels": (4,), "kernel": 3, "pool": 3}, (1, 8, 10), 4 * 2 * 3),
        ({"channels": (4,), "pool": 1}, (3, 2, 2), 4 * 2 * 2),
        ({"channels": (4,), "kernel": 9, "pool": 2}, (1, 3, 3), 4),  # a kernel larger than the image
        ({"channels": ()}, (3, 4, 5), 60),
        ({"channels": (4,), "hidden": ()}, (1, 8, 8), 64),
    ],
)
def test_the_dense_part_fits(options: dict[str, Any], shape: tuple[int, ...], inputs: int) -> None:
    net = build(shape, **options)
    first = net.layers["dense1"]
    assert isinstance(first, Dense)
    assert first.inputs == inputs
    assert net(images(2, 3, *shape)).output.shape == (2, 3, 3)


@pytest.mark.parametrize("shape", [(784,), (28, 28), (2, 3, 4, 5), ()])
def test_samples_that_are_no_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"Convolutional: got samples of shape \(.*\), wanted images \[ch"):
        build(shape)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((1, 3, 8), {}),
        ((1, 8, 3), {}),
        ((1, 1, 1), {"channels": (4,)}),
        ((1, 8, 8), {"channels": (2, 2, 2, 2)}),
        ((1, 8, 8), {"channels": (2,), "pool": 9}),
    ],
)
def test_images_that_are_too_small(shape: tuple[int, int, int], options: dict[str, Any]) -> None:
    message = rf"got images of {shape[1]} x {shape[2]} px, too small for \d poolings by \d"
    with pytest.raises(ValueError, match=message):
        build(shape, **options)


@pytest.mark.parametrize("field", ["kernel", "pool", "channels", "hidden"])
def test_sizes_are_at_least_one(field: str) -> None:
    with pytest.raises(ValueError, match=rf"Convolutional\.{field}: got 0.*wanted at least 1"):
        Convolutional(**{field: 0})


@pytest.mark.parametrize("norm", [False, True])
def test_gradients_reach_every_parameter(norm: bool) -> None:
    net = build(norm=norm, hidden=(30,), train_neurons=("tau_m", "threshold"))
    # Uneven weights: a norm's output sums to zero over a batch.
    output = net(8.0 * images(6, 4, 2, 12, 10)).output
    (output.square() * torch.linspace(0.5, 1.5, output.numel()).reshape(output.shape)).sum().backward()
    missing = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert missing == []
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_neurons_of_a_convolution_share_their_trained_values() -> None:
    layers = build(train_neurons=("tau_m", "threshold")).neurons()
    assert layers["neurons1"].tau_m.shape == ()
    assert layers["hidden1"].tau_m.shape == (7,)
    assert layers["readout"].trainable == ("tau_m",)  # it has no threshold


def test_norm_takes_the_place_of_the_bias() -> None:
    for norm in (False, True):
        convolutions = [m for m in build(norm=norm).modules() if isinstance(m, nn.Conv2d)]
        assert [c.bias is None for c in convolutions] == [norm, norm]
        assert sum(isinstance(m, nn.BatchNorm2d) for m in build(norm=norm).modules()) == 2 * norm


def test_dropout_is_in_front_of_each_dense_layer_in_training_only() -> None:
    net = build(dropout=0.5, norm=False, hidden=(30,))
    assert list(net.layers)[6:] == ["dropout1", "dense1", "hidden1", "dropout2", "dense2", "readout"]
    assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [0.5, 0.5]
    plain = build(norm=False, hidden=(30,))
    assert not any(isinstance(m, nn.Dropout) for m in plain.modules())
    plain.load_state_dict(net.state_dict())
    x = 8.0 * images(6, 4, 2, 12, 10)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        expected = plain(x).output
        assert torch.equal(net.eval()(x).output, expected)
        assert not torch.equal(net.train()(x).output, expected)


def test_options_reach_the_layers() -> None:
    net = build(backend="numba", checkpoint_every=3)
    assert all((m.backend, m.checkpoint_every) == ("numba", 3) for m in net.neurons().values())


def test_weights_follow_the_seed() -> None:
    first, second = build().state_dict(), build().state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
