"""SuperSpike's window in one kernel: the spikes of the layers, and the sums of the general path."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from rheobase.coding.filters import DoubleExponential
from rheobase.kernels.linear import respond
from rheobase.kernels.online import at_rest, events_of, run_window, serves
from rheobase.kernels.sequence import sequence
from rheobase.neurons.lif import LIF
from rheobase.neurons.synaptic_lif import SynapticLIF
from rheobase.rules.backward_sums import carried, no_traces
from rheobase.rules.membrane import membrane, sensitivity

INPUTS, STEPS, WINDOWS = 20, 400, 3
ALPHA = DoubleExponential(scheme="euler").system(0.1)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-10), (torch.float32, 2e-3)])
@pytest.mark.parametrize("cutoff", [None, 8.0])
def test_is_the_general_path(outputs: int, dtype: torch.dtype, rtol: float, cutoff: float | None) -> None:
    neuron = SynapticLIF.preset("superspike", refractory=2.0)
    generator = torch.Generator().manual_seed(0)
    steps = STEPS * WINDOWS
    x = (torch.rand(steps, INPUTS, generator=generator) < 0.02).to(dtype)
    x[:, 0] *= 0.5  # inputs need not be spikes
    targets = (torch.rand(steps, outputs, generator=generator) < 0.005).to(dtype)
    weights = (25.0 * torch.rand(outputs, INPUTS, generator=generator) - 5.0).to(dtype)
    carry = at_rest(neuron, outputs, INPUTS, dtype)
    state = error = traces = None
    fired = 0
    for w in range(WINDOWS):
        part = slice(w * STEPS, (w + 1) * STEPS)
        found = run_window(neuron, 0.98, 0.99, cutoff, events_of(x[part]), weights, targets[part], carry)
        carry = found.carry
        current = (x[part] @ weights.t()).unsqueeze(1)
        run = sequence(neuron, current, state, record=["v"])
        assert torch.equal(found.spikes, run.output[:, 0])
        torch.testing.assert_close(found.membranes, run.traces["v"][:, 0], rtol=1e-5, atol=0)
        gate = sensitivity(neuron, run.traces, state, cutoff)
        state = run.state
        e, error = respond(ALPHA, (targets[part] - found.spikes).unsqueeze(1), error)
        arriving = x[part].unsqueeze(1)
        traces = traces or no_traces(membrane(neuron), ALPHA, gate, arriving)
        total, traces = carried(membrane(neuron), ALPHA, gate, e, arriving, traces)
        scale = float(total.abs().max())
        torch.testing.assert_close(found.total, total, rtol=rtol, atol=rtol * scale)
        # The general path has the membrane first, as the model's state has.
        torch.testing.assert_close(carry.presynaptic.flip(0), traces.presynaptic, rtol=rtol, atol=rtol)
        torch.testing.assert_close(carry.eligibility, traces.eligibility, rtol=rtol, atol=rtol * 1e-2)
        torch.testing.assert_close(carry.state[:, 3:].t(), error[:, 0], rtol=rtol, atol=rtol * 1e-3)
        fired += int(found.spikes.sum())
    assert fired > 2 * outputs


def test_shapes_and_models_are_checked() -> None:
    assert not serves(LIF())
    assert not serves(SynapticLIF.preset("superspike", timing="old"))
    assert not serves(SynapticLIF.preset("superspike", tau_m=torch.tensor([10.0])))
    neuron = SynapticLIF.preset("superspike")
    events = events_of(torch.zeros(5, 3))
    with pytest.raises(ValueError, match=r"wanted \(5, 2\) and 3"):
        run_window(
            neuron,
            0.9,
            0.9,
            None,
            events,
            torch.zeros(2, 3),
            torch.zeros(4, 2),
            at_rest(neuron, 2, 3, torch.float32),
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("steps", "inputs"), [(0, 3), (1, 1), (7, 1), (33, 7), (10, 64), (300, 5)])
@pytest.mark.parametrize("share", [0.0, 0.003, 0.3, 1.0])
def test_events_are_all_that_is_not_zero(dtype: torch.dtype, steps: int, inputs: int, share: float) -> None:
    generator = torch.Generator().manual_seed(steps)
    fires = torch.rand(steps, inputs, generator=generator) < share
    x = torch.where(fires, torch.randn(steps, inputs, generator=generator), -0.0).to(dtype)
    found = events_of(x.t().contiguous().t())  # in whatever order the memory is
    times, senders = torch.nonzero(x, as_tuple=True)
    assert found.senders.tolist() == senders.tolist()
    assert found.sizes.tolist() == x[times, senders].tolist()
    assert found.inputs == inputs
    assert [b - a for a, b in pairwise(found.starts.tolist())] == fires.sum(1).tolist()


def test_no_number_is_overlooked() -> None:
    x = torch.zeros(1, 200)
    for j in range(200):
        x[0, j] = torch.nan if j % 3 else torch.inf
        assert events_of(x).senders.tolist() == [j]
        x[0, j] = 0.0
