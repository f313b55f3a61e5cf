"""The adaptive neuron by hand-computed traces: when b changes, what the spike sees, what the reset takes."""

from __future__ import annotations

import math

import pytest
import torch

from rheobase.kernels.sequence import Backend, sequence
from rheobase.neurons.adaptive_lif import AdaptiveLIF

backends = pytest.mark.parametrize("backend", ["torch", "numba"])

#: Halves everything at each step: tau = dt / ln 2.
HALF = 1.0 / math.log(2.0)


def trace(neuron: AdaptiveLIF, inputs: list[float], backend: Backend = "torch") -> list[list[float]]:
    """Spikes, membrane and adaptation of one neuron, rounded: exp(-ln 2) need not be one half."""
    current = torch.tensor(inputs, dtype=torch.float64).reshape(-1, 1, 1)
    run = sequence(neuron, current, record=["v", "b"], backend=backend)
    return [[round(x, 9) for x in y.flatten().tolist()] for y in (run.output, *run.traces.values())]


@backends
@pytest.mark.parametrize(
    ("timing", "spikes", "membrane", "adaptation"),
    [
        # Threshold 1, +.5 per unit of b; v and b halve at each step. Input 2, 2, 2, 2, 0.
        # From the new membrane: 2 > 1 fires; (2 - 1)/2 + 2 = 2.5 > 1.5 fires; 1.5/2 + 2 = 2.75 > 1.75 ...
        ("immediate", [1, 1, 1, 1, 0], [1, 1.5, 1.75, 1.875, 0.9375], [1, 1.5, 1.75, 1.875, 0.9375]),
        # The same spikes; the recorded membrane shows the crossing, b the spikes before this step.
        ("delayed", [1, 1, 1, 1, 0], [2, 2, 2, 2, 0], [0, 1, 1.5, 1.75, 1.875]),
        # From the old membrane, so nothing at the first step: 2 > 1; 2 > 1.5; 2 > 1.75; 2 > 1.875.
        ("old", [0, 1, 1, 1, 1], [2, 2, 2, 2, 0], [0, 1, 1.5, 1.75, 1.875]),
        # From the old membrane, reset a step later: old 2, 3, 2.5, 2.25 against 1, 1.5, 1.75, 1.875.
        ("late", [0, 1, 1, 1, 1], [2, 3, 2.5, 2.25, 0.125], [0, 0, 1, 1.5, 1.75]),
    ],
)
def test_each_order(
    timing: str, spikes: list[float], membrane: list[float], adaptation: list[float], backend: Backend
) -> None:
    neuron = AdaptiveLIF(tau_m=HALF, tau_a=HALF, beta=0.5, timing=timing)
    assert trace(neuron, [2.0, 2.0, 2.0, 2.0, 0.0], backend) == [spikes, membrane, adaptation]


@backends
@pytest.mark.parametrize(
    ("subtract", "membrane"),
    [
        # v = 2, then reset; b is 1 after the first spike, 1.5 after the second, so the thresholds are
        # 1, 1.5, 1.75. Taken off at the first spike: 1 (base), 1 (crossed), 1.5 (adapted).
        ("base", [1.0, 1.5, 0.75]),
        ("crossed", [1.0, 1.0, 0.5]),
        ("adapted", [0.5, 0.5, 0.25]),
    ],
)
def test_which_threshold_the_reset_takes_off(subtract: str, membrane: list[float], backend: Backend) -> None:
    neuron = AdaptiveLIF(tau_m=HALF, tau_a=HALF, beta=0.5, subtract=subtract)
    spikes, v, _ = trace(neuron, [2.0, 2.0, 0.0], backend)
    assert spikes == [1, 1, 0]
    assert v == membrane


def test_old_and_new_membrane_tell_apart() -> None:
    """One pulse, threshold 1: the new membrane fires with it, the old one a step later."""
    pulse = [2.0, 0.0, 0.0, 0.0]
    spikes = {
        timing: trace(AdaptiveLIF(tau_m=HALF, tau_a=HALF, beta=0.5, timing=timing), pulse)[0]
        for timing in ("immediate", "delayed", "old", "late")
    }
    assert spikes["immediate"] == spikes["delayed"] == [1, 0, 0, 0]
    assert spikes["old"] == [0, 1, 0, 0]
    assert spikes["late"] == [0, 1, 0, 0]


@backends
def test_srnn_by_hand(backend: Backend) -> None:
    """v = v/2 + i/2 - z thr, b = b/2 + z/2, thr = 1 + b; z of the old v, thr of the new b.

    step   i   b     thr    v = v/2 + i/2 - z thr      z: old v > thr
    1      4   0     1      0   + 2 - 0    = 2         0    > 1     no
    2      4   0     1      1   + 2 - 0    = 3         2    > 1     yes
    3      4   .5    1.5    1.5 + 2 - 1.5  = 2         3    > 1.5   yes
    4      4   .75   1.75   1   + 2 - 1.75 = 1.25      2    > 1.75  yes
    5      0   .875  1.875  .625 + 0 - 1.875 = -1.25   1.25 > 1.875 no
    6      0   .4375 1.4375 -.625                      -1.25        no
    """
    neuron = AdaptiveLIF.preset("srnn", tau_m=HALF, tau_a=HALF, beta=1.0, threshold=1.0)
    spikes, v, b = trace(neuron, [4.0, 4.0, 4.0, 4.0, 0.0, 0.0], backend)
    assert v == [2, 3, 2, 1.25, -1.25, -0.625]
    assert spikes == [0, 1, 1, 1, 0, 0]
    assert b == [0, 0, 0.5, 0.75, 0.875, 0.4375]


@backends
def test_lsnn_is_silent_for_five_steps_while_its_membrane_moves_on(backend: Backend) -> None:
    """With v halved by each step and input 2: v goes to 1, 1.5, 1.5 - thr/2, ...; a spike every 6 steps."""
    neuron = AdaptiveLIF.preset("lsnn", tau_m=HALF, beta=0.0, threshold=0.25)
    spikes, v, _ = trace(neuron, [2.0] * 14, backend)
    assert [t for t, z in enumerate(spikes) if z] == [1, 7, 13]
    assert v[:5] == [1.0, 1.5, 1.5, 1.75, 1.875]  # 1.75 - .25 at the step after the spike


@backends
def test_eprop_by_hand(backend: Backend) -> None:
    """v = v/2 + i - z/2, b = b/2 + z, thr = 1/2, beta = 1/4; z of the new v over 1/2 + b/4.

    step   i    b      v                       1/2 + b/4   z
    1      1    0      1                       .5          1
    2      1    1      .5 + 1 - .5 = 1         .75         1
    3      1    1.5    .5 + 1 - .5 = 1         .875        1
    4      0    1.75   .5 + 0 - .5 = 0         .9375       0
    5      .75  .875   .75                     .71875      1
    """
    neuron = AdaptiveLIF.preset("eprop", tau_m=HALF, tau_a=HALF, beta=0.25, threshold=0.5)
    spikes, v, b = trace(neuron, [1.0, 1.0, 1.0, 0.0, 0.75], backend)
    assert v == [1, 1, 1, 0, 0.75]
    assert b == [0, 1, 1.5, 1.75, 0.875]
    assert spikes == [1, 1, 1, 0, 1]


@backends
def test_adding_by_hand(backend: Backend) -> None:
    """v = v/2 + 2 i/2, fires at 1 + b/10 (not only above), is set to 0; b = b/2 + z/2.

    step   i     v             1 + b/10 before   z    v after   b after
    1      1     1             1                 1    0         .5
    2      1     1             1.05              0    1         .25
    3      .6    .5 + .6 = 1.1 1.025             1    0         .625
    """
    # Euler with tau = 2 steps halves exactly, so that v meets the threshold.
    neuron = AdaptiveLIF.preset("adding", scheme="euler", tau_m=2.0, tau_a=2.0)
    assert trace(neuron, [1.0, 1.0, 0.6], backend) == [[1, 0, 1], [0, 1, 0], [0.5, 0.25, 0.625]]


def test_settings_of_the_adding_preset() -> None:
    neuron = AdaptiveLIF.preset("adding")
    assert (neuron.tau_m, neuron.resistance, neuron.threshold, neuron.beta) == (20.0, 2.0, 1.0, 0.1)
    assert math.exp(-neuron.dt / neuron.tau_a) == math.exp(-1.0)
    assert (neuron.reset, neuron.detach, neuron.strict) == ("value", False, False)
    assert neuron.refractory_steps == 0


@backends
def test_beta_of_zero_is_an_ordinary_neuron(backend: Backend) -> None:
    beta = torch.tensor([0.0, 0.0, 1.0])
    current = 0.8 * torch.rand(50, 2, 3, generator=torch.Generator().manual_seed(0))
    current[:, :, 2] = current[:, :, 1]
    mixed = sequence(AdaptiveLIF(beta=beta), current, backend=backend).output
    plain = sequence(AdaptiveLIF(beta=0.0), current, backend=backend).output
    assert torch.equal(mixed[..., :2], plain[..., :2])
    assert 0 < float(mixed[..., 2].sum()) < float(plain[..., 2].sum())


def test_gradient_flows_through_the_adaptation_though_the_reset_is_detached() -> None:
    """A spike raises the threshold of the next step: input 1 has a negative effect on spike 2."""
    gradients = []
    for beta in (0.0, 0.5):
        current = torch.tensor([1.1, 0.9], dtype=torch.float64).reshape(2, 1, 1).requires_grad_()
        neuron = AdaptiveLIF(tau_m=HALF, beta=beta, surrogate="triangular", reset="value")
        run = sequence(neuron, current, backend="torch")
        assert run.output.flatten().tolist() == [1, 0]
        (gradient,) = torch.autograd.grad(run.output[1].sum(), current)
        gradients.append(gradient.flatten().tolist())
    slope = 0.3 * 0.9  # triangular, at a distance of .1 from the threshold
    assert gradients[0] == pytest.approx([0.0, slope])
    # dz2/dI1 = dz2/db . dz1/dI1 = -beta slope2 . slope, slope2 at a distance of .9 - 1.5.
    assert gradients[1] == pytest.approx([-0.5 * 0.3 * 0.4 * slope, 0.3 * 0.4])


def test_euler_adaptation() -> None:
    """b' = b + dt/tau_a (z - b) with jump "leak"; b' = b + dt/tau_a (-b) + z with "unit"."""
    for jump, expected in (("leak", [0.25, 0.1875]), ("unit", [1.0, 0.75])):
        neuron = AdaptiveLIF(tau_m=2.0, tau_a=4.0, scheme="euler", jump=jump, reset="value")
        assert trace(neuron, [1.5, 0.0])[2] == expected


@pytest.mark.parametrize(
    ("preset", "tau_a"), [("srnn", None), ("lsnn", None), ("eprop", None), ("adding", 100.0)]
)
def test_adaptation_slows_firing_down(preset: str, tau_a: float | None) -> None:
    neuron = AdaptiveLIF.preset(preset, **({} if tau_a is None else {"tau_a": tau_a}))
    current = torch.full((400, 1, 1), 2.0 * neuron.threshold)
    counts = [
        float(sequence(neuron.replace(beta=neuron.beta * factor), current).output.sum())
        for factor in (0.0, 1.0, 10.0)
    ]
    assert counts[0] >= counts[1] > counts[2]


def test_the_adding_preset_has_forgotten_its_adaptation_before_it_could_matter() -> None:
    """As run there, tau_a is a single step: the threshold is back before the membrane is."""
    current = torch.full((400, 1, 1), 2.0)
    neuron = AdaptiveLIF.preset("adding")
    assert torch.equal(sequence(neuron, current).output, sequence(neuron.replace(beta=0.0), current).output)
