"""Injected noise: its statistics, and that nothing but key, place and time decides its numbers."""

from __future__ import annotations

import math
import threading

import pytest
import torch
from scipy import stats
from torch import Tensor

from rheobase.kernels.constant import Constant
from rheobase.layers.dense import Dense
from rheobase.layers.initialise import match_rates
from rheobase.layers.network import Network, Record
from rheobase.layers.neurons import Neurons
from rheobase.layers.noise import Noise, renew_noise
from rheobase.layers.recurrent import Recurrent
from rheobase.networks.base import Architecture
from rheobase.networks.convolutional import Convolutional
from rheobase.networks.feed_forward import FeedForward
from rheobase.networks.recurrent import Recurrent as RecurrentNetwork
from rheobase.neurons.lif import LIF
from rheobase.rules.base import Lesson
from rheobase.rules.bptt import BPTT

kinds = pytest.mark.parametrize("tau", [None, 5.0])


def drawn(steps: int, batch: int, size: int, dtype: torch.dtype = torch.float64, **options: float) -> Tensor:
    """The noise alone."""
    return Noise(**options)(torch.zeros(steps, batch, size, dtype=dtype)).output  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_white_noise_is_normal(dtype: torch.dtype) -> None:
    x = drawn(50, 20, 101, dtype, std=2.0)  # an odd number of neurons: the last pair is cut
    assert x.dtype is dtype
    assert stats.kstest(x.flatten().double().numpy() / 2.0, "norm").pvalue > 1e-3
    per_neuron = x.double().std((0, 1))
    assert float(per_neuron.min()) > 1.8
    assert float(per_neuron.max()) < 2.2


def correlation(a: Tensor, b: Tensor) -> float:
    return float((a * b).mean() / (a.std() * b.std()))


def test_white_noise_is_independent_over_time_samples_and_neurons() -> None:
    x = drawn(100, 20, 50, std=1.0)
    bound = 5.0 / math.sqrt(x.numel())
    for axis in range(3):
        for shift in (1, 2, 7, x.shape[axis] // 2):
            assert abs(correlation(x, x.roll(shift, axis))) < bound, (axis, shift)
    assert abs(correlation(x, drawn(100, 20, 50, std=1.0, seed=1))) < bound


def test_correlated_noise_is_the_ornstein_uhlenbeck_process() -> None:
    """Standard deviation std at each time, from the first on; autocorrelation exp(-t/tau)."""
    tau, dt = 8.0, 0.5
    x = drawn(120, 100, 100, std=0.5, tau=tau, dt=dt)
    for t in (0, 1, 50, 119):
        assert float(x[t].std()) == pytest.approx(0.5, rel=0.03)
        assert stats.kstest(x[t].flatten().numpy() / 0.5, "norm").pvalue > 1e-3
    for lag in (1, 4, 16):
        assert correlation(x[:-lag], x[lag:]) == pytest.approx(math.exp(-lag * dt / tau), abs=0.02)
    assert abs(correlation(x, x.roll(1, 2))) < 0.02


def test_what_a_membrane_makes_of_correlated_noise_does_not_depend_on_the_step() -> None:
    """A leaky integrator (tau_m) of this noise has the variance R^2 std^2 tau / (tau + tau_m)."""
    tau, tau_m = 5.0, 20.0
    for dt in (1.0, 0.25):
        steps = round(100.0 / dt)
        x = drawn(steps, 40, 50, std=1.0, tau=tau, dt=dt)
        v, decay = torch.zeros(40, 50, dtype=torch.float64), math.exp(-dt / tau_m)
        for value in x:
            v = decay * v + (1.0 - decay) * value
        assert float(v.var()) == pytest.approx(tau / (tau + tau_m), rel=0.12)


@kinds
def test_a_sample_has_its_noise_whatever_is_beside_it(tau: float | None) -> None:
    noise = Noise(1.0, tau=tau)
    whole = noise(torch.zeros(9, 6, 5)).output
    assert torch.equal(noise(torch.zeros(9, 2, 5)).output, whole[:, :2])
    assert torch.equal(noise(torch.zeros(4, 6, 5)).output, whole[:4])


@kinds
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sequence_may_be_cut_anywhere(tau: float | None, dtype: torch.dtype) -> None:
    noise = Noise(0.7, tau=tau)
    x = torch.rand(40, 3, 7, dtype=dtype)
    whole = noise(x)
    for cut in (1, 17, 39):
        first = noise(x[:cut])
        second = noise(x[cut:], first.state)
        assert torch.equal(torch.cat([first.output, second.output]), whole.output)
        assert second.state["step"] == whole.state["step"] == 40


def philox(counter: int, key: tuple[int, int]) -> list[int]:
    """Philox4x64-10 (Salmon et al., SC 2011), written down from the paper: four 64-bit numbers."""
    mask = 2**64 - 1
    c, k = [counter, 0, 0, 0], list(key)
    for _ in range(10):
        p, q = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [(q >> 64) ^ c[1] ^ k[0], q & mask, (p >> 64) ^ c[3] ^ k[1], p & mask]
        k = [(k[0] + 0x9E3779B97F4A7C15) & mask, (k[1] + 0xBB67AE8584CAA73B) & mask]
    return c


def test_numbers_are_those_of_the_published_generator() -> None:
    """And so will be whatever runs it: a step of three neurons takes two of a block's four numbers."""
    x = drawn(2, 3, 3, std=1.0, seed=42)
    for step in range(2):
        for sample in range(3):
            words = philox(step + 1, (42, sample))[:2]
            radius = [math.sqrt(-2.0 * math.log(((w >> 32) + 0.5) / 2**32)) for w in words]
            angle = [2.0 * math.pi * (w & 0xFFFFFFFF) / 2**32 for w in words]
            expected = [r * math.cos(a) for r, a in zip(radius, angle, strict=True)]
            expected.append(radius[0] * math.sin(angle[0]))
            assert x[step, sample].tolist() == pytest.approx(expected, rel=1e-12)
    assert x[0, 0, 0].item() == pytest.approx(-0.2031382754913658)


@kinds
def test_threads_and_images(tau: float | None) -> None:
    noise, x = Noise(1.0, tau=tau), torch.zeros(6, 3, 2, 4, 5)
    expected = noise(x).output
    assert torch.equal(expected.flatten(2), noise(x.flatten(2)).output)
    found: list[Tensor] = []
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    workers = [threading.Thread(target=lambda: found.append(noise(x).output)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    torch.set_num_threads(before)
    assert all(torch.equal(y, expected) for y in found)


def test_neither_global_generators_nor_the_mode_matter() -> None:
    noise, x = Noise(1.0), torch.zeros(5, 2, 3)
    state = torch.get_rng_state()
    first = noise(x).output
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    assert torch.equal(noise.eval()(x).output, first)


def test_every_backend_gets_the_same() -> None:
    x = torch.rand(30, 4, 6, generator=torch.Generator().manual_seed(0))
    records = []
    for backend in ("torch", "numba"):
        torch.manual_seed(0)
        net = Network(
            dense=Dense(6, 10),
            noise=Noise(0.4),
            hidden=Recurrent(LIF(), 10, backend=backend),
            back=Dense(10, 4),
            more=Noise(0.4, tau=3.0, seed=1),
            readout=Neurons(LIF(), backend=backend),
        )
        records.append(net(x, record=["hidden.spikes"]))
    plain, fused = records
    assert torch.equal(fused["hidden.spikes"], plain["hidden.spikes"])
    assert torch.equal(fused.output, plain.output)
    assert 0 < float(plain.output.detach().mean()) < 1
    assert set(plain.state) == {"noise", "hidden", "more", "readout"}


def test_new_keys_come_from_the_generator_one_per_layer() -> None:
    net = Network(a=Noise(1.0), b=Noise(1.0), hidden=Neurons(LIF()))
    generator = torch.Generator().manual_seed(0)
    renew_noise(net, generator)
    keys = [layer.key for layer in (net.layers["a"], net.layers["b"])]  # type: ignore[union-attr]
    assert len({0, *keys}) == 3
    renew_noise(net, generator.manual_seed(0))
    assert [layer.key for layer in (net.layers["a"], net.layers["b"])] == keys  # type: ignore[union-attr]
    state = generator.get_state()
    renew_noise(Network(hidden=Neurons(LIF())), generator)
    assert torch.equal(generator.get_state(), state)


def test_gradients_pass_and_an_input_that_does_not_change_gets_fresh_noise_each_step() -> None:
    value = torch.zeros(2, 3, requires_grad=True)
    output = Noise(1.0)(Constant(value, 50)).output
    assert float(output.detach().std(0).min()) > 0.5
    output.sum().backward()
    assert value.grad is not None
    assert value.grad.unique().tolist() == [50.0]


def test_without_noise_nothing_changes() -> None:
    x = torch.rand(5, 2, 3)
    assert torch.equal(Noise(0.0)(x).output, x)


@pytest.mark.parametrize("std", [-0.1, math.nan, math.inf])
def test_a_standard_deviation_that_cannot_be_is_refused(std: float) -> None:
    with pytest.raises(ValueError, match=r"Noise\.std: got .*, wanted a finite number, at least 0"):
        Noise(std)


@pytest.mark.parametrize("tau", [0.0, -1.0, math.nan, math.inf])
def test_a_time_constant_that_cannot_be_is_refused(tau: float) -> None:
    with pytest.raises(
        ValueError, match=r"Noise\.tau: got .* ms, wanted a finite number above 0 ms, or None"
    ):
        Noise(1.0, tau=tau)


def test_states_that_do_not_fit_are_refused() -> None:
    x, noise = torch.zeros(3, 2, 4), Noise(1.0, tau=2.0)
    with pytest.raises(ValueError, match=r"state: got the variables \['step'\], wanted \['noise', 'step'\]"):
        noise(x, {"step": torch.tensor(3)})
    with pytest.raises(ValueError, match=r"state 'noise': got shape \(3, 4\), wanted \(2, 4\)"):
        noise(x, {"step": torch.tensor(3), "noise": torch.zeros(3, 4)})
    with pytest.raises(ValueError, match="unknown state variable 'u'"):
        noise(x, None, ["u"])


@pytest.mark.parametrize(
    ("architecture", "names"),
    [
        (FeedForward(hidden=(5, 4), noise=0.1), ["noise1", "noise2"]),
        (RecurrentNetwork(hidden=(5,), noise=0.1, noise_tau=4.0), ["noise1"]),
        (Convolutional(channels=(2,), hidden=(4,), noise=0.1), ["noise1", "hidden_noise1"]),
    ],
)
def test_networks_have_it_in_front_of_hidden_neurons(architecture: Architecture, names: list[str]) -> None:
    net = architecture.build((1, 8, 8), 2, LIF(), LIF())
    layers = list(net.layers.items())
    assert [name for name, layer in layers if isinstance(layer, Noise)] == names
    behind = [layers[i + 1][0] for i, (name, _) in enumerate(layers) if name in names]
    assert all(name in net.spiking and name != "readout" for name in behind)
    net(torch.rand(6, 2, 1, 8, 8)).output.sum().backward()
    quiet = architecture.replace(noise=0.0).build((1, 8, 8), 2, LIF(), LIF())
    assert not any(isinstance(layer, Noise) for layer in quiet.layers.values())


def test_rates_are_matched_in_the_presence_of_noise() -> None:
    torch.manual_seed(0)
    net = FeedForward(hidden=(80,), noise=0.05).build((20,), 2, LIF(), LIF())
    reached = match_rates(net, torch.rand(30, 8, 20), rate=0.05)
    assert reached["hidden1"] == pytest.approx(0.05, abs=0.005)


def test_truncated_backpropagation_sees_the_same_noise_in_both_of_its_passes() -> None:
    """Neurons without memory: windows lose nothing, so the gradient is that of the whole, noise and all."""
    torch.manual_seed(0)
    net = Network(
        dense=Dense(4, 6),
        noise=Noise(0.5, tau=4.0),
        hidden=Neurons(LIF(tau_m=0.01, threshold=0.2, reset="none")),
    )
    x = torch.rand(12, 3, 4)
    weigh = torch.randn(12, 3, 6)

    def objective(record: Record) -> Tensor:
        return (weigh * record.output).sum()

    gradients = []
    for truncation in (None, 5):
        net.zero_grad()
        BPTT(truncation=truncation).accumulate(net, Lesson(x, objective), {})
        gradients.append(net.layers["dense"].weight.grad.clone())  # type: ignore[union-attr]
    assert float(gradients[0].abs().max()) > 0
    torch.testing.assert_close(gradients[1], gradients[0])
