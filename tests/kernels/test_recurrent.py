"""Recurrent sequences: when spikes arrive, what is refused, and what results do not depend on."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rheobase.kernels.constant import Constant
from rheobase.kernels.groups import Group
from rheobase.kernels.recurrent import recurrent
from rheobase.neurons.adaptive_lif import AdaptiveLIF
from rheobase.neurons.lif import LIF
from rheobase.surrogate import Triangular

BACKENDS = ["torch", "numba"]
KICKED = LIF(tau_m=1.0, surrogate=Triangular())  # fires when kicked by 1.5, and forgets


def two(delay: int | list[list[int]], steps: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    """Neuron 0 kicked at step 0 and connected to neuron 1: currents, weights, delays."""
    current = torch.zeros(steps, 1, 2, dtype=torch.float64)
    current[0, 0, 0] = 1.5
    weight = torch.tensor([[0.0, 0.0], [1.5, 0.0]], dtype=torch.float64)
    delays = torch.tensor(delay) if isinstance(delay, list) else torch.full((2, 2), delay)
    return current, weight, delays


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("delay", [1, 2, 5, 8])
def test_an_impulse_and_its_gradient_arrive_exactly_after_the_delay(
    backend: Any, mixed: bool, delay: int
) -> None:
    other = 3 if delay != 3 else 4
    delays: int | list[list[int]] = [[other, other], [delay, other]] if mixed else delay
    current, weight, steps = two(delays)
    current.requires_grad_()
    run = recurrent([Group("", KICKED, 2)], current, weight, steps, backend=backend)
    assert run.output[:, 0, 1].nonzero().flatten().tolist() == [delay]
    (by_current,) = torch.autograd.grad(run.output[delay, 0, 1], current)
    # Neuron 1 at its time, and neuron 0 when it was kicked: through both spikes, by the chain rule.
    assert by_current[:, 0, 1].nonzero().flatten().tolist()[-1] == delay
    assert by_current[:, 0, 0].nonzero().flatten().tolist() == [0]
    slope = [KICKED.surrogate.derivative(torch.tensor(0.5, dtype=torch.float64)) for _ in range(2)]
    assert float(by_current[0, 0, 0]) == pytest.approx(float(slope[0] * 1.5 * slope[1]), abs=1e-12)


def test_old_and_new_membrane_are_told_apart() -> None:
    # v = i without leak; threshold 1. Kicked at step 0: the new membrane fires at once, the old one a step
    # later; so the neuron behind it, over one step of delay, fires at step 1 or 3 (it too is late by one).
    current, weight, _ = two(1)
    for timing, first, second in (("immediate", 0, 1), ("old", 1, 3)):
        neuron = LIF(tau_m=1e9, timing=timing, reset="value")
        for backend in BACKENDS:
            run = recurrent([Group("", neuron, 2)], current, weight, backend=backend)  # type: ignore[arg-type]
            assert run.output[:, 0, 0].nonzero().flatten().tolist() == [first]
            assert run.output[:, 0, 1].nonzero().flatten().tolist() == [second]


def network(steps: int = 40, batch: int = 9, size: int = 37) -> tuple[list[Group], Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    groups = [
        Group("plain", LIF(refractory=2.0), 20),
        Group("adaptive", AdaptiveLIF(tau_a=30.0, refractory=1.0), size - 20),
    ]
    current = 0.5 * torch.rand(steps, batch, size, generator=generator, dtype=torch.float64)
    weight = torch.randn(size, size, generator=generator, dtype=torch.float64) / size**0.5
    delay = torch.randint(1, 7, (size, size), generator=generator)
    return groups, current, weight, delay


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(1, 39), delayed=st.booleans())
def test_a_sequence_can_be_cut_anywhere(cut: int, delayed: bool) -> None:
    groups, current, weight, delay = network()
    delays = delay if delayed else None
    whole = recurrent(groups, current, weight, delays)
    resting = recurrent(groups, current[:20], weight, delays).state
    state = {name: torch.zeros_like(value) for name, value in resting.items()}
    first = recurrent(groups, current[:cut], weight, delays, state)
    second = recurrent(groups, current[cut:], weight, delays, first.state)
    assert torch.equal(torch.cat([first.output, second.output]), whole.output)
    for name, value in whole.state.items():
        assert torch.equal(second.state[name], value), name


@pytest.mark.parametrize("delayed", [False, True])
def test_results_do_not_depend_on_threads_or_on_other_samples(delayed: bool) -> None:
    groups, current, weight, delay = network(steps=60, batch=19, size=64)
    delays = delay if delayed else None
    before, results = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        leaf, leaf_weight = current.clone().requires_grad_(), weight.clone().requires_grad_()
        run = recurrent(groups, leaf, leaf_weight, delays)
        results.append((run.output, *torch.autograd.grad(run.output.square().sum(), [leaf])))
    torch.set_num_threads(before)
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)
    alone = recurrent(groups, current[:, 5:6], weight, delays).output
    assert torch.equal(alone, results[0][0][:, 5:6])


def test_constant_input_is_one_copy_with_the_same_result() -> None:
    groups, current, weight, delay = network()
    value = current[0].clone().requires_grad_()
    spread = current[0].clone().requires_grad_()
    one = recurrent(groups, Constant(value, 40), weight, delay)
    other = recurrent(groups, spread.expand(40, -1, -1), weight, delay)
    assert torch.equal(one.output, other.output)
    (a,) = torch.autograd.grad(one.output.sum(), value)
    (b,) = torch.autograd.grad(other.output.sum(), spread)
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"delay": torch.zeros(2, 2, dtype=torch.int64)}, "delay: got 0 steps, wanted at least 1"),
        ({"delay": torch.full((2, 2), 10)}, "longer than the sequence of 9"),
        ({"delay": torch.ones(3, 2, dtype=torch.int64)}, "wanted int64 of the weight's shape"),
        ({"weight": torch.zeros(3, 2).double()}, r"weight: got shape \(3, 2\)"),
        ({"current": torch.zeros(9, 1, 3).double()}, r"wanted \[T, B, 2\]"),
        ({"state": {"v": torch.zeros(1, 2).double()}}, "wanted .*history"),
        ({"record": ["w"]}, "unknown state variable 'w'"),
        ({"checkpoint_every": 0}, "checkpoint_every: got 0"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    current, weight, delay = two(1)
    arguments = {"current": current, "weight": weight, "delay": delay, **change}
    with pytest.raises(ValueError, match=message):
        recurrent([Group("", KICKED, 2)], **arguments)


LONG = """
import resource, torch
import rheobase as rb
torch.manual_seed(0)
net = rb.Network(input=rb.Dense(20, 200), hidden=rb.Recurrent(rb.AdaptiveLIF(), 200, checkpoint_every=100))
x = (torch.rand({steps}, 4, 20) < 0.05).float()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
net(x).output.mean().backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_of_a_long_sequence_is_little_more_than_what_goes_in_and_out() -> None:
    steps = 3000
    text = LONG.format(steps=steps)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    array = steps * 4 * 200 * 4 / 1024  # one float32 per neuron, sample and step, in KiB
    # Currents, spikes and the derivatives by both; states and what they need are kept for 100 steps only.
    assert int(done.stdout) < 7.5 * array + 60_000
