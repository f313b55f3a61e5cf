"""E-prop: feedback, windows, memory. Its directions are tested in `conformance/test_eligibility.py`."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from rheobase.kernels.constant import Constant
from rheobase.layers.network import Network, Record
from rheobase.networks.base import Architecture
from rheobase.networks.convolutional import Convolutional
from rheobase.networks.feed_forward import FeedForward
from rheobase.networks.recurrent import Recurrent
from rheobase.neurons.base import Neuron
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.rules.base import LearningRule, Lesson, Memory, Outcome
from rheobase.rules.bptt import BPTT
from rheobase.rules.eprop import Eprop
from rheobase.surrogate import Arctan

NEURON = LIF(surrogate=Arctan())
STEPS = 12


def built(
    architecture: Architecture, readout: Neuron | None = None, shape: tuple[int, ...] = (5,)
) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return architecture.build(shape, 3, NEURON, readout or LeakyIntegrator()).double()


def recurrent(**options: Any) -> Network:
    return built(Recurrent(hidden=(8,), gain=3.0, longest_delay=3.0, **options))


def inputs(steps: int = STEPS, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 2.0 * torch.rand(steps, 4, *(shape or (5,)), generator=generator, dtype=torch.float64)


def objective(record: Record) -> Tensor:
    """A sum over steps, so that it may be taken in parts."""
    return (record.output - 0.3).square().sum() + 0.1 * sum(s.sum() for s in record.signals.values())


def learn(rule: LearningRule, net: Network, x: Any, memory: Memory) -> Outcome:
    return rule.accumulate(net, Lesson(x, objective, tuple(f"{n}.spikes" for n in net.spiking)), memory)


def gradients(rule: LearningRule, net: Network, x: Any, memory: Memory | None = None) -> dict[str, Tensor]:
    net.zero_grad()
    learn(rule, net, x, rule.begin(net, torch.Generator().manual_seed(1)) if memory is None else memory)
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


def close(got: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert set(got) == set(wanted)
    for name, value in wanted.items():
        torch.testing.assert_close(got[name], value, rtol=1e-11, atol=1e-11, msg=name)


@pytest.mark.parametrize("readout", [LeakyIntegrator(), NEURON])
def test_without_recurrence_it_is_backpropagation(readout: Neuron) -> None:
    net = built(FeedForward(hidden=(8, 7), gain=3.0, train_neurons=("tau_m", "threshold")), readout)
    for x in (inputs(), Constant(inputs()[0], STEPS)):
        close(gradients(Eprop(), net, x), gradients(BPTT(), net, x))


def test_it_trains_convolutions() -> None:
    net = built(Convolutional(channels=(2, 3), hidden=(6,)), shape=(1, 8, 8))
    x = inputs(STEPS, 1, 8, 8)
    close(gradients(Eprop(), net, x), gradients(BPTT(), net, x))


@pytest.mark.parametrize("feedback", ["symmetric", "random", "adaptive"])
def test_parts_of_a_sequence_add_up_to_the_whole(feedback: Any) -> None:
    net, x = recurrent(noise=0.2), inputs()
    whole = gradients(Eprop(feedback=feedback, feedback_decay=0.0), net, x)
    close(gradients(Eprop(feedback=feedback, feedback_decay=0.0, window=5), net, x), whole)
    for window in (None, 2):
        rule = Eprop(feedback=feedback, window=window, continuous=True, feedback_decay=0.0)
        memory, losses = rule.begin(net, torch.Generator().manual_seed(1)), []
        net.zero_grad()
        for low, high in ((0, 2), (2, 7), (7, STEPS)):  # the first is shorter than the longest delay
            outcome = learn(rule, net, x[low:high], memory)
            memory, losses = outcome.memory, [*losses, outcome.loss]
        close({n: p.grad for n, p in net.named_parameters() if p.grad is not None}, whole)
        with torch.no_grad():
            record = net(x, record=("hidden1.spikes",))
        torch.testing.assert_close(torch.stack(losses).sum(), objective(record))
        assert torch.equal(memory["state.hidden1/v"], record.state["hidden1"]["v"])


def test_several_hidden_layers_get_random_feedback_each_in_windows_too() -> None:
    net, x = built(FeedForward(hidden=(8, 7), gain=3.0, forward_delay=None)), inputs()
    rule = Eprop(feedback="random")
    memory = rule.begin(net, torch.Generator().manual_seed(1))
    assert {name: tuple(b.shape) for name, b in memory.items()} == {
        "feedback.hidden1": (3, 8),
        "feedback.hidden2": (3, 7),
    }
    close(gradients(Eprop(feedback="random", window=5), net, x), gradients(rule, net, x))


def test_with_the_read_outs_own_weights_random_feedback_is_symmetric() -> None:
    net, x = recurrent(), inputs()
    memory = {"feedback.hidden1": net.layers["dense2"].weight.detach()}
    close(gradients(Eprop(feedback="random"), net, x, memory), gradients(Eprop(), net, x))


def test_adaptive_feedback_follows_the_read_outs_weights_and_decays() -> None:
    net, x = recurrent(), inputs()
    rule = Eprop(feedback="adaptive", feedback_decay=0.25)
    memory = rule.begin(net, torch.Generator().manual_seed(1))
    start = memory["feedback.hidden1"].clone()
    memory = learn(rule, net, x, memory).memory
    torch.testing.assert_close(memory["feedback.hidden1"], 0.75 * start)
    step = torch.full((3, 8), 0.5, dtype=torch.float64)
    net.layers["dense2"].weight.data += step
    memory = learn(rule, net, x, memory).memory
    torch.testing.assert_close(memory["feedback.hidden1"], 0.75 * (0.75 * start + step))


def test_with_decay_adaptive_feedback_comes_to_agree_with_the_read_out() -> None:
    """W' = W + g - d W in the optimizer, B' = (1 - d)(B + W' - W): what they differ in at first is lost."""
    net, x = recurrent(), inputs()
    rule = Eprop(feedback="adaptive", feedback_decay=0.05)
    memory = rule.begin(net, torch.Generator().manual_seed(1))
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    agreement = []
    for _ in range(60):
        net.zero_grad()
        memory = learn(rule, net, x, memory).memory
        optimizer.step()
        flat = [w.flatten() for w in (memory["feedback.hidden1"], net.layers["dense2"].weight.detach())]
        agreement.append(float(torch.cosine_similarity(*flat, dim=0)))
    assert agreement[-1] > agreement[0] + 0.3


@pytest.mark.parametrize(
    ("net", "options", "culprit"),
    [
        (built(FeedForward(hidden=(8, 7))), {"window": 3}, "'hidden1' \\(Neurons\\) .* one hidden layer"),
        (built(FeedForward(), NEURON), {"window": 3}, "'readout' \\(Neurons\\) .* only integrates"),
        (built(FeedForward(train_neurons=("tau_m",))), {"continuous": True}, "'hidden1'.*\\(tau_m\\) stay"),
        (built(Convolutional(hidden=()), shape=(1, 8, 8)), {"window": 3}, "'conv1' \\(OverTime\\)"),
        (built(FeedForward(forward_delay=2.0)), {"window": 3}, "'dense2' \\(Delayed\\) .* Dense in front"),
        (built(Recurrent(longest_delay=3.0, learn_delays=True)), {"window": 3}, "delays that stay"),
        (
            built(FeedForward(hidden=(8, 7))),
            {"feedback": "adaptive"},
            "adaptive feedback to .* hidden1, hidden2",
        ),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(net: Network, options: dict[str, Any], culprit: str) -> None:
    with pytest.raises(ValueError, match=culprit):
        Eprop(**options).begin(net, torch.Generator())


def test_another_number_of_sequences_cannot_go_on() -> None:
    net, rule = recurrent(), Eprop(continuous=True)
    memory = learn(rule, net, inputs(), {}).memory
    with pytest.raises(ValueError, match="batch of 3 sequences to go on with 4"):
        learn(rule, net, inputs()[:, :3], memory)


LONG = """
import resource, torch
import rheobase as rb
from rheobase.rules.base import Lesson
from rheobase.rules.eprop import Eprop
torch.manual_seed(0)
net = rb.Network(a=rb.Dense(20, 60), hidden=rb.Recurrent(rb.AdaptiveLIF(), 60), b=rb.Dense(60, 2),
                 readout=rb.Neurons(rb.LeakyIntegrator()))
rule = Eprop(continuous=True)
memory = rule.begin(net, torch.Generator())
for part in range(100):
    x = (torch.rand(1000, 1, 20) < 0.05).float()
    memory = rule.accumulate(net, Lesson(x, lambda r: r.output.square().mean()), memory).memory
    if part in (9, 99):  # T = 10,000 and T = 100,000
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow  # as tests/rules/test_memory_over_time.py, at 100,000 steps
def test_a_sequence_ten_times_as_long_takes_no_more_memory() -> None:
    done = subprocess.run([sys.executable, "-c", LONG], capture_output=True, text=True, check=True)
    short, long = (int(line) for line in done.stdout.split())
    kept = 90_000 * 60 * 4 / 1024  # one float32 per neuron and further step, in KiB
    assert long - short < 0.1 * kept
