"""DECOLLE: the local losses' gradients, by autograd with all else detached, and by the paper's traces."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from rheobase.kernels.constant import Constant
from rheobase.layers.network import Network, Record
from rheobase.networks.base import Architecture
from rheobase.networks.feed_forward import FeedForward
from rheobase.networks.recurrent import Recurrent
from rheobase.neurons.adaptive_lif import AdaptiveLIF
from rheobase.neurons.base import Neuron
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.neurons.synaptic_lif import SynapticLIF
from rheobase.rules.base import Lesson
from rheobase.rules.decolle import Decolle, local_error
from rheobase.rules.stages import stages
from rheobase.surrogate import Arctan

TARGETS = torch.tensor([0, 1, 2, 0])


def built(architecture: Architecture, neuron: Neuron) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return architecture.build((5,), 3, neuron, LeakyIntegrator()).double()


def inputs(steps: int = 9) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(steps, 4, 5, generator=generator, dtype=torch.float64)


def objective(record: Record) -> Tensor:
    loss = torch.nn.functional.cross_entropy(record["readout.v"].mean(0), TARGETS)
    return loss + 0.1 * record["hidden1.spikes"].square().mean()


def gradients(net: Network, x: Any, targets: Tensor | None = TARGETS) -> tuple[dict[str, Tensor], Any]:
    net.zero_grad()
    memory = Decolle(scale=3.0).begin(net, torch.Generator().manual_seed(1))
    lesson = Lesson(x, objective, ("readout.v", "hidden1.spikes"), targets)
    Decolle(scale=3.0).accumulate(net, lesson, memory)
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}, memory


@pytest.mark.parametrize(
    ("architecture", "neuron"),
    [
        (FeedForward(hidden=(7, 6), gain=4.0, train_neurons=("tau_m",)), LIF(surrogate=Arctan())),
        (Recurrent(hidden=(7, 6), gain=4.0, longest_delay=2.0), AdaptiveLIF(surrogate=Arctan())),
    ],
    ids=["two layers", "recurrent"],
)
def test_gradients_are_those_of_the_local_losses(architecture: Architecture, neuron: Neuron) -> None:
    """By autograd, with what passes from layer to layer and between neurons of a layer cut loose."""
    net = built(architecture, neuron)
    own, memory = gradients(net, inputs())
    net.zero_grad()
    x: Any = inputs()
    total = torch.zeros((), dtype=torch.float64)
    signals: dict[str, Tensor] = {}
    for stage in stages(net, "test"):
        current, _ = stage.current(x)
        run = stage.neurons.alone(current, None, ["v"] if stage.readout else [])
        if stage.readout:
            signals["readout.v"] = run.traces["v"]
        else:
            reads = memory[f"reads.{stage.name}"].double()
            total = total + local_error(run.output @ reads.t(), TARGETS)
            signals[f"{stage.name}.spikes"] = run.output
        x = run.output.detach()
    (total + objective(Record(x, signals, {}))).backward()
    exact = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    assert own.keys() == exact.keys()
    for name, gradient in exact.items():
        torch.testing.assert_close(own[name], gradient)
        assert gradient.abs().sum() > 0


@pytest.mark.parametrize("neuron", [LIF(tau_m=5.0, surrogate=Arctan()), SynapticLIF(surrogate=Arctan())])
def test_the_papers_traces(neuron: Any) -> None:
    """dE/dw_ji = sum_t (G^T (softmax(y) - target))_j phi'(v_j) P_i, P the filtered presynaptic activity."""
    net = built(FeedForward(hidden=(6,), gain=5.0), neuron)
    x = inputs()
    net.zero_grad()
    memory = Decolle().begin(net, torch.Generator().manual_seed(1))
    lesson = Lesson(x, lambda record: record["readout.v"].mean(), ("readout.v",), TARGETS)
    Decolle().accumulate(net, lesson, memory)
    hidden: Any = net.layers["hidden1"]
    with torch.no_grad():
        run = hidden(net.layers["dense1"](x), None, ["v"])
        # P: the membrane of a neuron that gets one input through a weight of 1, and never fires.
        quiet = type(hidden)(neuron.replace(threshold=1e9)).double()
        traces = quiet(x, None, ["v"]).traces["v"]
        moved = run.traces["v"] + run.output  # the membrane before the reset by subtraction
        read = run.output @ memory["reads.hidden1"].double().t()
        error = (read.softmax(-1) - torch.eye(3, dtype=torch.float64)[TARGETS]) / (len(x) * 4)
        signal = error @ memory["reads.hidden1"].double() * neuron.surrogate.derivative(moved - 1.0)
        wanted = torch.einsum("tbj,tbi->ji", signal, traces)
    assert run.output.sum() > 20
    torch.testing.assert_close(net.layers["dense1"].weight.grad, wanted)


def test_values_and_classes_in_time() -> None:
    read = torch.tensor([[[1.0, 3.0]], [[2.0, 0.0]]])
    assert local_error(read, torch.tensor([[1.0, 1.0]])) == pytest.approx((0 + 4 + 1 + 1) / 4)
    assert local_error(read, torch.zeros(2, 1, 2)) == pytest.approx((1 + 9 + 4) / 4)
    steps = local_error(read, torch.tensor([[1], [0]]))  # right at both, by 2
    assert steps == pytest.approx(float(torch.log1p(torch.exp(torch.tensor(-2.0)))))


def test_a_lesson_without_targets_is_refused() -> None:
    net = built(FeedForward(hidden=(6,)), LIF())
    with pytest.raises(ValueError, match="decolle: got a lesson without targets"):
        gradients(net, Constant(inputs()[0], 4), None)
