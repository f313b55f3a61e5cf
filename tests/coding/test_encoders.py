"""Encoders: their spikes and currents, against formulas written out here and published examples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rheobase.coding.encoders import (
    ConstantCurrent,
    Delta,
    Encoder,
    Latency,
    PoissonRate,
    Population,
    Sequence,
    Thermometer,
    ThresholdCrossing,
    Trace,
)
from rheobase.kernels.constant import Constant
from rheobase.neurons.synaptic_lif import SynapticLIF
from rheobase.registry import build, catalogue

ENCODERS: dict[str, type[Encoder]] = catalogue(Encoder)  # type: ignore[type-abstract]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def encoded(encoder: Encoder, values: torch.Tensor, seed: int = 0) -> torch.Tensor:
    sequence = encoder.encode(values, seeded(seed))
    return sequence.expand() if isinstance(sequence, Constant) else sequence


def test_the_room_holds_these_encoders() -> None:
    assert sorted(ENCODERS) == [
        "constant_current",
        "delta",
        "latency",
        "poisson_rate",
        "population",
        "sequence",
        "thermometer",
        "threshold_crossing",
        "trace",
    ]


@pytest.mark.parametrize("cls", ENCODERS.values())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_encoder_keeps_its_promises(cls: type[Encoder], dtype: torch.dtype) -> None:
    encoder = cls()
    values = torch.rand(3, 5, 2, generator=seeded(1), dtype=dtype)
    before = values.clone()
    sequence = encoded(encoder, values)
    steps, *features = encoder.output_shape((5, 2))
    assert sequence.shape == (steps, 3, *features)
    assert sequence.dtype == dtype
    assert torch.equal(values, before)
    assert torch.equal(sequence, encoded(encoder, values))  # the same seed
    assert torch.equal(sequence, encoded(encoder, values, seed=1)) is not encoder.random
    assert build(Encoder, encoder.to_dict()) == encoder  # type: ignore[type-abstract]


@pytest.mark.parametrize("cls", ENCODERS.values())
def test_the_global_generator_is_left_alone(cls: type[Encoder]) -> None:
    state = torch.get_rng_state()
    encoded(cls(), torch.full((2, 4, 3), 0.5))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("cls", ENCODERS.values())
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.ones(2, 3, 4, dtype=torch.uint8), r"torch\.uint8, wanted floating point"),
        (torch.ones(3), r"shape \(3,\), wanted \[B, \.\.\.\]"),
        (torch.ones(0, 3, 4), r"shape \(0, 3, 4\)"),
        (torch.tensor([[[0.5], [math.nan]]]), "NaN or infinite"),
        (torch.tensor([[[0.5], [math.inf]]]), "NaN or infinite"),
    ],
)
def test_bad_values_are_refused(cls: type[Encoder], values: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cls().encode(values, seeded())


@pytest.mark.parametrize("cls", ENCODERS.values())
def test_values_outside_of_the_unit_interval(cls: type[Encoder]) -> None:
    values = torch.tensor([[[-0.25], [2.0]]])
    if cls.unit_interval:
        with pytest.raises(ValueError, match=r"from -0\.25 to 2, wanted 0 to 1"):
            cls().encode(values, seeded())
    else:
        assert encoded(cls(), values).isfinite().all()


@pytest.mark.parametrize("cls", [c for c in ENCODERS.values() if c.random])
def test_a_random_code_needs_a_generator(cls: type[Encoder]) -> None:
    with pytest.raises(ValueError, match=r"no generator, wanted a seeded torch\.Generator"):
        cls().encode(torch.rand(2, 3, generator=seeded()))


def test_constant_current_is_the_value_times_the_gain_and_is_not_copied() -> None:
    values = torch.tensor([[0.25, 1.0]])
    plain, doubled = (ConstantCurrent(steps=4, gain=gain).encode(values) for gain in (1.0, 2.0))
    assert isinstance(plain, Constant)
    assert isinstance(doubled, Constant)
    assert plain.value is values
    assert plain.steps == 4
    assert doubled.value.tolist() == [[0.5, 2.0]]
    assert doubled.expand().stride(0) == 0


def test_poisson_rates_and_variances() -> None:
    x = torch.tensor([[0.0, 0.1, 0.5, 1.0]], dtype=torch.float64)
    steps, p = 40_000, x * 0.4
    spikes = encoded(PoissonRate(steps=steps, max_rate=200.0, dt=2.0), x)
    assert set(spikes.flatten().tolist()) == {0.0, 1.0}
    standard_error = (p * (1 - p) / steps).sqrt()
    assert ((spikes.mean(0) - p).abs() <= 4 * standard_error).all()
    pairs = (spikes[1:] * spikes[:-1]).mean(0)  # steps are independent
    assert ((pairs - p**2).abs() <= 6 * standard_error).all()


def test_poisson_ends_are_certain() -> None:
    spikes = encoded(PoissonRate(steps=2000, max_rate=1000.0), torch.tensor([[0.0, 1.0]]))
    assert spikes.sum(0).tolist() == [[0.0, 2000.0]]


@pytest.mark.parametrize("cls", [PoissonRate, Population])
def test_more_than_one_spike_per_step_is_refused(cls: Any) -> None:
    cls(max_rate=500.0, dt=2.0)
    with pytest.raises(ValueError, match=r"max_rate: got 501 Hz with dt 2 ms.*at most 500 Hz"):
        cls(max_rate=501.0, dt=2.0)


def spytorch_step(x: np.ndarray[Any, Any], tau: float, threshold: float, steps: int) -> np.ndarray[Any, Any]:
    """Steps of SpyTorch's latency code in float64, `steps` for silence (its formula, written out again)."""
    clipped = np.clip(x, threshold + 1e-7, None)
    times = np.where(x < threshold, steps, tau * np.log(clipped / (clipped - threshold)))
    return np.minimum(times, steps).astype(np.int64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_latency_of_every_grey_level_is_that_of_spytorch(dtype: torch.dtype) -> None:
    levels = np.arange(256) / 255
    spikes = encoded(Latency(), torch.tensor(levels, dtype=dtype).unsqueeze(0))[:, 0]  # [T, 256]
    expected = spytorch_step(levels, tau=20.0, threshold=0.2, steps=100)
    fires = expected < 100
    assert spikes.sum(0).tolist() == fires.astype(float).tolist()
    assert spikes.argmax(0).numpy()[fires].tolist() == expected[fires].tolist()
    assert int(expected[255]) == 4  # 20 ln(1 / 0.8) = 4.46 ms


def test_latency_counts_dt() -> None:
    x = torch.tensor([[1.0, 0.3]])  # 4.46 ms, 21.97 ms
    fine = encoded(Latency(steps=300, dt=0.1), x)
    assert fine.argmax(0).tolist() == [[44, 219]]
    assert encoded(Latency(steps=2, dt=10.0), x).sum(0).tolist() == [[1.0, 0.0]]  # step 2 is after the end


def test_linear_latency() -> None:
    x = torch.tensor([[1.0, 0.5, 0.26, 0.25, 0.0]])
    spikes = encoded(Latency(curve="linear", tau=8.0, threshold=0.25, steps=8), x)
    assert spikes.sum(0).tolist() == [[1.0, 1.0, 1.0, 0.0, 0.0]]
    assert spikes.argmax(0).tolist()[0][:3] == [0, 4, 5]
    everything = encoded(
        Latency(curve="linear", tau=8.0, threshold=0.0, steps=8), torch.tensor([[0.01, 0.0]])
    )
    assert everything.sum(0).tolist() == [[1.0, 0.0]]
    assert everything.argmax(0).tolist()[0][0] == 7  # 7.92 ms


@settings(max_examples=50, deadline=None)
@given(
    x=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20),
    tau=st.floats(0.01, 1e6),
    threshold=st.floats(1e-6, 0.99),
    dt=st.floats(0.01, 100),
    steps=st.integers(1, 50),
    curve=st.sampled_from(["charging", "linear"]),
)
def test_latency_gives_at_most_one_spike_and_larger_values_come_first(
    x: list[float], tau: float, threshold: float, dt: float, steps: int, curve: Any
) -> None:
    values = torch.tensor([sorted(x)])
    spikes = encoded(Latency(tau=tau, threshold=threshold, dt=dt, steps=steps, curve=curve), values)[:, 0]
    count = spikes.sum(0)
    assert ((count == 0) | (count == 1)).all()
    assert (count[values[0] <= threshold] == 0).all()
    step = torch.where(count > 0, spikes.argmax(0), steps)
    assert (step.diff() <= 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.0}, "wanted below 1"),
        ({"threshold": 0.0}, "curve 'linear'"),
        ({"tau": -1.0}, "above 0 ms"),
        ({"steps": 0}, "at least 1 steps"),
        ({"curve": "cubic"}, "one of charging, linear"),
    ],
)
def test_latency_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Latency(**options)


@pytest.mark.parametrize(
    ("series", "options", "expected"),
    [  # the examples in the documentation of snnTorch's spikegen.delta
        ([1, 2, 2.9, 3, 3.9], {"from_zero": True}, [1, 1, 0, 0, 0]),
        ([1, 2, 2.9, 3, 3.9], {}, [0, 1, 0, 0, 0]),
        ([1, 2, 0, 2, 2.9], {"from_zero": True, "off_spikes": True}, [1, 1, -1, 1, 0]),
        ([1, 2, 0, 2, 2.9], {"off_spikes": True}, [0, 1, -1, 1, 0]),
        ([1, 2, 0, 2, 2.9], {}, [0, 1, 0, 1, 0]),
    ],
)
def test_delta_gives_the_published_examples(
    series: list[float], options: dict[str, bool], expected: list[float]
) -> None:
    values = torch.tensor(series).view(1, -1, 1)
    assert encoded(Delta(threshold=1.0, **options), values).flatten().tolist() == expected


def test_delta_turns_samples_first_into_time_first() -> None:
    values = torch.zeros(2, 3, 4)
    values[1, 2, 3] = 1.0
    spikes = encoded(Delta(), values)
    assert spikes.shape == (3, 2, 4)
    assert spikes.nonzero().tolist() == [[2, 1, 3]]
    with pytest.raises(ValueError, match=r"wanted a sequence \[B, T, \.\.\.\]"):
        Delta().encode(torch.zeros(2, 3))


def test_population_tuning_curves() -> None:
    code = Population(neurons=5, width=0.5)  # preferred values 0, .25, .5, .75, 1; sigma .125
    activity = code.activity(torch.tensor([[0.5, 0.125]], dtype=torch.float64))
    assert activity.shape == (1, 2, 5)
    beside, between = math.exp(-2), math.exp(-0.5)
    assert activity[0, 0].tolist() == pytest.approx([math.exp(-8), beside, 1.0, beside, math.exp(-8)])
    assert activity[0, 1].tolist()[:3] == pytest.approx([between, between, math.exp(-4.5)])


def test_population_rates_follow_the_tuning_curves() -> None:
    code = Population(neurons=4, steps=20_000, max_rate=250.0, dt=2.0)
    x = torch.tensor([[0.1], [0.8]], dtype=torch.float64)
    p = code.activity(x) * 0.5
    rates = encoded(code, x).mean(0)
    assert ((rates - p).abs() <= 4 * (p * (1 - p) / 20_000).sqrt() + 1e-4).all()


@settings(max_examples=30, deadline=None)
@given(x=st.floats(0, 1), neurons=st.integers(2, 30))
def test_the_nearest_preferred_value_is_the_most_active(x: float, neurons: int) -> None:
    activity = Population(neurons=neurons).activity(torch.tensor([[x]], dtype=torch.float64))[0, 0]
    nearest = abs(x * (neurons - 1) - torch.arange(neurons)).min()
    winner = int(activity.argmax())
    assert abs(x * (neurons - 1) - winner) == pytest.approx(float(nearest), abs=1e-6)


def test_sequences_pass_through_time_first() -> None:
    values = torch.randn(3, 5, 2)
    assert torch.equal(Sequence().encode(values), values.transpose(0, 1))
    assert torch.equal(Sequence(gain=2.0, offset=1.0).encode(values), 2 * values.transpose(0, 1) + 1)
    assert Sequence().encode(values).is_contiguous()
    with pytest.raises(ValueError, match=r"Sequence: got values of shape \(3, 5\), wanted a sequence"):
        Sequence().encode(torch.zeros(3, 5))


def test_threshold_crossings_of_a_ramp() -> None:
    up = torch.linspace(0, 1, 11)
    values = torch.cat([up, up.flip(0)]).reshape(1, -1, 1)
    spikes = ThresholdCrossing(levels=9).encode(values)[:, 0, 0]  # levels at .1, .2, ... .9
    assert spikes.shape == (22, 18)
    assert spikes.sum(0).tolist() == [1.0] * 18  # each level is crossed once either way
    assert spikes[:11, 9:].sum() == spikes[11:, :9].sum() == 0
    first = ThresholdCrossing(levels=9).encode(torch.full((1, 2, 1), 0.55))[:, 0, 0]
    assert first[0].tolist() == [1.0] * 5 + [0.0] * 13  # from 0, before the first step
    assert first[1].sum() == 0


def test_a_thermometer_rises_with_the_value() -> None:
    values = torch.tensor([0.0, 0.19, 0.2, 0.5, 1.0]).reshape(1, -1, 1)
    spikes = Thermometer(levels=4).encode(values)[:, 0, 0]  # levels at .2, .4, .6, .8
    assert spikes.sum(1).tolist() == [0.0, 0.0, 1.0, 2.0, 4.0]
    assert spikes[3].tolist() == [1.0, 1.0, 0.0, 0.0]


def test_a_trace_is_what_a_synapse_makes_of_the_same_spikes() -> None:
    spikes = (torch.rand(4, 30, 3, generator=seeded()) < 0.2).double()
    trace = encoded(Trace(gain=0.5, tau=8.0, dt=2.0), spikes)
    synapse = SynapticLIF(tau_s=8.0, dt=2.0, threshold=1e9)
    state = synapse.initial()
    for step, seen in zip(0.5 * spikes.transpose(0, 1), trace, strict=True):
        state, _ = synapse.step(state, step)
        torch.testing.assert_close(state.i, seen)


def test_a_trace_that_lasts_counts_spikes() -> None:
    spikes = (torch.rand(4, 30, 3, generator=seeded()) < 0.2).float()
    trace = encoded(Trace(), spikes)
    assert torch.equal(trace[-1], spikes.sum(1))
    assert torch.equal(trace[1:] - trace[:-1], spikes.transpose(0, 1)[1:])
    assert (encoded(Trace(tau=1e9), spikes) - trace).abs().max() < 1e-5
