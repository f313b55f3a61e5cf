"""Feedback alignment: with transposed weights it is backpropagation; otherwise errors take the other path."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rheobase.layers.network import Network, Record
from rheobase.networks.base import Architecture
from rheobase.networks.convolutional import Convolutional
from rheobase.networks.feed_forward import FeedForward
from rheobase.networks.recurrent import Recurrent
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.rules.base import LearningRule, Lesson, Memory
from rheobase.rules.bptt import BPTT
from rheobase.rules.feedback_alignment import FeedbackAlignment
from rheobase.surrogate import Arctan

NEURON = LIF(surrogate=Arctan())
LABELS = torch.tensor([0, 1, 2, 0])


def lesson(net: Network, shape: tuple[int, ...]) -> Lesson:
    generator = torch.Generator().manual_seed(0)
    x = 2.0 * torch.rand(12, 4, *shape, generator=generator, dtype=torch.float64)
    hidden = tuple(f"{name}.spikes" for name in net.neurons() if name != "readout")

    def objective(record: Record) -> Tensor:
        loss = torch.nn.functional.cross_entropy(record["readout.v"].amax(0), LABELS)
        return loss + 0.1 * sum(record[name].sum(0).square().mean() for name in hidden)

    return Lesson(x, objective, ("readout.v", *hidden))


def built(architecture: Architecture, shape: tuple[int, ...], readout: LIF | LeakyIntegrator) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return architecture.build(shape, 3, NEURON, readout).double()


def gradients(rule: LearningRule, net: Network, given: Lesson, memory: Memory) -> dict[str, Tensor]:
    net.zero_grad()
    rule.accumulate(net, given, memory)
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


def weight(net: Network, name: str) -> Tensor:
    owner, _, last = name.rpartition(".")
    found = getattr(net.layers.get_submodule(owner), last)
    assert isinstance(found, Tensor)
    return found.detach()


@pytest.mark.parametrize(
    ("architecture", "shape", "readout"),
    [
        (FeedForward(hidden=(8, 7), gain=3.0, train_neurons=("tau_m",)), (5,), NEURON),
        (
            Recurrent(
                hidden=(8, 7),
                adaptive=3,
                gain=3.0,
                noise=0.1,
                forward_delay=3.0,
                longest_delay=4.0,
                learn_delays=True,
                excitatory=0.7,
            ),
            (5,),
            LeakyIntegrator(),
        ),
        (Convolutional(channels=(4, 3), hidden=(6,)), (1, 12, 12), LeakyIntegrator()),
    ],
)
def test_feedback_by_the_forward_weights_is_backpropagation(
    architecture: Architecture, shape: tuple[int, ...], readout: LIF | LeakyIntegrator
) -> None:
    net = built(architecture, shape, readout)
    rule, given = FeedbackAlignment(), lesson(net, shape)
    drawn = rule.begin(net, torch.Generator().manual_seed(1))
    memory = {name: weight(net, name.removeprefix("feedback.")) for name in drawn}
    wanted = gradients(BPTT(), net, given, {})
    got = gradients(rule, net, given, memory)
    assert set(got) == set(wanted)
    for name, value in wanted.items():
        torch.testing.assert_close(got[name], value, rtol=1e-12, atol=1e-12, msg=name)


@pytest.mark.parametrize("kind", ["layerwise", "direct"])
def test_random_feedback_changes_hidden_layers_only(kind: str) -> None:
    net = built(FeedForward(hidden=(8, 7), gain=3.0), (5,), LeakyIntegrator())
    rule, given = FeedbackAlignment(feedback=kind), lesson(net, (5,))  # type: ignore[arg-type]
    exact = gradients(BPTT(), net, given, {})
    one = gradients(rule, net, given, rule.begin(net, torch.Generator().manual_seed(1)))
    same = gradients(rule, net, given, rule.begin(net, torch.Generator().manual_seed(1)))
    other = gradients(rule, net, given, rule.begin(net, torch.Generator().manual_seed(2)))
    torch.testing.assert_close(one["layers.dense3.weight"], exact["layers.dense3.weight"])
    for layer in ("layers.dense1.weight", "layers.dense2.weight"):
        assert torch.equal(one[layer], same[layer])
        assert not torch.allclose(one[layer], other[layer])
        assert not torch.allclose(one[layer], exact[layer])


def test_direct_feedback_with_the_read_outs_weights_is_backpropagation_for_the_last_hidden_layer() -> None:
    net = built(FeedForward(hidden=(8,), gain=3.0), (5,), LeakyIntegrator())
    rule, given = FeedbackAlignment(feedback="direct"), lesson(net, (5,))
    memory = {"feedback.hidden1": net.layers["dense2"].weight.detach()}
    assert rule.begin(net, torch.Generator()).keys() == memory.keys()
    wanted, got = gradients(BPTT(), net, given, {}), gradients(rule, net, given, memory)
    for name, value in wanted.items():
        torch.testing.assert_close(got[name], value, rtol=1e-12, atol=1e-12)


def test_feedback_keeps_the_signs_of_the_connection() -> None:
    net = built(FeedForward(hidden=(9, 8), excitatory=0.6), (5,), LeakyIntegrator())
    memory = FeedbackAlignment().begin(net, torch.Generator().manual_seed(0))
    assert torch.equal(memory["feedback.dense2.weight"].sign(), weight(net, "dense2.weight").sign())


def test_direct_feedback_through_convolutions_is_refused() -> None:
    net = built(Convolutional(channels=(2,), hidden=(4,)), (1, 8, 8), LeakyIntegrator())
    with pytest.raises(ValueError, match="'pool1' \\(OverTime\\) behind 'neurons1'"):
        FeedbackAlignment(feedback="direct").begin(net, torch.Generator())
