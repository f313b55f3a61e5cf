"""OTTT against a plain loop over steps, and what it says it cannot do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from rheobase.layers.network import Network, Record
from rheobase.networks.base import Architecture
from rheobase.networks.feed_forward import FeedForward
from rheobase.networks.recurrent import Recurrent
from rheobase.neurons.adaptive_lif import AdaptiveLIF
from rheobase.neurons.base import Neuron, time_constant
from rheobase.neurons.conductance_lif import ConductanceLIF
from rheobase.neurons.ei_conductance_lif import EIConductanceLIF
from rheobase.neurons.integrate_and_fire import IntegrateAndFire
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.neurons.synaptic_lif import SynapticLIF
from rheobase.rules.base import Lesson, Memory, Outcome
from rheobase.rules.bptt import BPTT
from rheobase.rules.ottt import Ottt, response
from rheobase.surrogate import Arctan

STEPS, BATCH = 11, 3
LEAK, KEEP = 0.7, 0.8  # of hidden neurons and read-out
LAMBDA = LIF(tau_m=time_constant(LEAK), surrogate=Arctan())
READOUT = LeakyIntegrator(tau_m=time_constant(KEEP))


def built(architecture: Architecture, neuron: Neuron = LAMBDA) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return architecture.build((5,), 2, neuron, READOUT).double()


def inputs(steps: int = STEPS) -> Tensor:
    x = torch.rand(steps, BATCH, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (x < 0.5).double()


def objective(record: Record) -> Tensor:
    return (record["readout.v"] - 0.5).square().sum() + 0.3 * record["hidden1.spikes"].sum(0).square().sum()


SIGNALS = ("readout.v", "hidden1.spikes")


def learn(net: Network, x: Tensor, memory: Memory, rule: Ottt | None = None) -> Outcome:
    return (rule or Ottt()).accumulate(net, Lesson(x, objective, SIGNALS), memory)


def gradients(net: Network) -> dict[str, Tensor]:
    found = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    net.zero_grad()
    return found


@pytest.mark.parametrize("recurrent", [False, True])
def test_is_the_trace_times_the_error_of_the_step(recurrent: bool) -> None:
    kind: Any = Recurrent if recurrent else FeedForward
    net, x = built(kind(hidden=(8, 7), gain=3.0)), inputs()
    learn(net, x, {})
    got = gradients(net)
    layers = [net.layers[f"dense{i}"] for i in (1, 2, 3)]
    between = [net.layers[f"hidden{i}"].weight.detach() for i in (1, 2)] if recurrent else [None, None]
    with torch.no_grad():
        signals = net(x, record=SIGNALS)
        error = 2.0 * (signals["readout.v"] - 0.5)
        price = 0.6 * signals["hidden1.spikes"].sum(0)
        sizes, decays = (5, 8, 7), (LEAK, LEAK, KEEP)
        v = [torch.zeros(BATCH, n).double() for n in (8, 7)]
        z = [torch.zeros(BATCH, n).double() for n in (8, 7)]
        a = [torch.zeros(BATCH, n).double() for n in sizes]
        own = [torch.zeros(BATCH, n).double() for n in (8, 7)]
        one = [torch.zeros(BATCH, 1).double() for _ in sizes]
        wanted = {name: torch.zeros_like(g) for name, g in got.items()}
        for t in range(STEPS):
            came, slope = x[t], []
            for i, decay in enumerate(decays):
                a[i] = decay * a[i] + came
                one[i] = decay * one[i] + 1.0
                if i == 2:
                    break
                current = came @ layers[i].weight.t() + layers[i].bias
                if recurrent:
                    current = current + z[i] @ between[i].t()
                    own[i] = LEAK * own[i] + z[i]
                v[i] = LEAK * v[i] + current
                z[i] = (v[i] > 1.0).double()
                slope.append(Arctan().derivative(v[i] - 1.0))
                v[i] = v[i] - z[i]
                came = z[i]
            delta = error[t]
            for i in (2, 1, 0):
                if i < 2:
                    delta = ((delta @ layers[i + 1].weight) + (price if i == 0 else 0.0)) * slope[i]
                wanted[f"layers.dense{i + 1}.weight"] += delta.t() @ a[i]
                wanted[f"layers.dense{i + 1}.bias"] += (delta.t() @ one[i])[:, 0]
                if recurrent and i < 2:
                    wanted[f"layers.hidden{i + 1}.parametrizations.weight.original"] += (
                        delta.t() @ own[i]
                    ).fill_diagonal_(0.0)
    for name, value in wanted.items():
        torch.testing.assert_close(got[name], value, rtol=1e-10, atol=1e-10, msg=name)


def test_parts_of_a_sequence_add_up_to_the_whole() -> None:
    net, x = built(Recurrent(hidden=(8,), adaptive=3, gain=3.0), SynapticLIF(surrogate=Arctan())), inputs()

    def steps_sum(record: Record) -> Tensor:
        return (record["readout.v"] - 0.5).square().sum() + record["hidden1.spikes"].sum()

    Ottt().accumulate(net, Lesson(x, steps_sum, SIGNALS), {})
    whole, rule = gradients(net), Ottt(continuous=True)
    memory: Memory = {}
    for low, high in ((0, 1), (1, 6), (6, STEPS)):
        memory = rule.accumulate(net, Lesson(x[low:high], steps_sum, SIGNALS), memory).memory
    for name, value in gradients(net).items():
        torch.testing.assert_close(value, whole[name], rtol=1e-11, atol=1e-11, msg=name)
    kept = [(n, m.shape[-1]) for n, m in memory.items() if n.startswith("trace.hidden1/input.regular")]
    assert kept == [("trace.hidden1/input.regular.v.0", 5), ("trace.hidden1/input.regular.i.0", 5)]


def test_the_read_out_learns_its_exact_gradient() -> None:
    net, x = built(FeedForward(hidden=(8,), gain=3.0), ConductanceLIF(beta=0.0, surrogate=Arctan())), inputs()
    learn(net, x, {})
    got = gradients(net)
    BPTT().accumulate(net, Lesson(x, objective, SIGNALS), {})
    wanted = gradients(net)
    for name in ("layers.dense2.weight", "layers.dense2.bias"):
        torch.testing.assert_close(got[name], wanted[name], rtol=1e-11, atol=1e-11)
    assert got["layers.dense1.weight"].abs().sum() > 0


def test_a_membrane_that_does_not_reset_learns_what_backpropagation_does_but_for_the_read_outs_past() -> None:
    """Without resets, traces leave nothing out; a read-out without memory does not either."""
    neuron = SynapticLIF(reset="none", surrogate=Arctan())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = FeedForward(hidden=(8,), gain=3.0).build((5,), 2, neuron, LeakyIntegrator(tau_m=1e-3)).double()
    x = inputs()
    learn(net, x, {})
    got = gradients(net)
    BPTT().accumulate(net, Lesson(x, objective, SIGNALS), {})
    for name, value in gradients(net).items():
        torch.testing.assert_close(got[name], value, rtol=1e-9, atol=1e-9, msg=name)


def test_linear_responses() -> None:
    assert response(IntegrateAndFire()).step["v"]["v"] == 1.0
    assert response(AdaptiveLIF()).states == ("v",)
    two = response(ConductanceLIF(tau_m=10.0, tau_s=5.0, resistance=2.0))
    assert two.states == ("v", "s")
    assert two.drive["s"] == [0.0, 1.0]
    torch.testing.assert_close(torch.tensor(two.drive["v"]), torch.tensor([0.2, 0.2]))
    torch.testing.assert_close(two.step["v"]["s"], 0.2 * 0.8)


@pytest.mark.parametrize(
    ("architecture", "neuron", "culprit"),
    [
        (FeedForward(train_neurons=("tau_m",)), LAMBDA, "'hidden1' .*\\(tau_m\\) stay"),
        (FeedForward(), EIConductanceLIF(), "'hidden1' .* linear between spikes \\(EIConductanceLIF"),
        (FeedForward(), LIF(tau_m=torch.linspace(5.0, 9.0, 1000)), "tau_m is the same for all"),
        (Recurrent(longest_delay=4.0), LAMBDA, "'hidden1' .* without delays"),
        (FeedForward(forward_delay=2.0), LAMBDA, "'dense1' \\(Delayed\\), wanted Dense"),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(
    architecture: Architecture, neuron: Neuron, culprit: str
) -> None:
    with pytest.raises(ValueError, match=culprit):
        Ottt().begin(built(architecture, neuron), torch.Generator())
