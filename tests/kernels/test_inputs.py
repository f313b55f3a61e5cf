"""Neurons with several inputs: who gets what, in sequences, layers, networks and recurrence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from rheobase.config import parameter
from rheobase.kernels.constant import Constant
from rheobase.kernels.groups import Group
from rheobase.kernels.recurrent import recurrent, to_inputs
from rheobase.kernels.sequence import Backend, kernel_source, sequence
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.layers.neurons import Neurons
from rheobase.layers.recurrent import Recurrent
from rheobase.networks.convolutional import Convolutional
from rheobase.networks.feed_forward import FeedForward
from rheobase.networks.recurrent import Recurrent as RecurrentNetwork
from rheobase.neurons.base import Inputs, Neuron, State
from rheobase.neurons.ei_conductance_lif import EIConductanceLIF
from rheobase.neurons.lif import LIF

backends = pytest.mark.parametrize("backend", ["torch", "numba"])


class Gated(Neuron):
    """Adds up value times gate, less a bias that it does not use otherwise."""

    inputs: ClassVar[tuple[str, ...]] = ("value", "gate", "unused")
    recurrence: ClassVar[Mapping[str, Any]] = {"value": "positive", "gate": "negative"}

    gain: Any = parameter(default=2.0, help="factor")

    def initial(self) -> State:
        return State(v=0.0)

    def step(self, state: State, current: Inputs) -> tuple[State, Any]:
        v = 0.5 * state.v + self.gain * current.value * current.gate
        return State(v=v), v


def expected(x: Tensor, gain: Tensor | float, n: int) -> Tensor:
    value, gate, _ = x.split(n, 2)
    v = torch.zeros_like(value[0])
    steps = []
    for a, b in zip(value, gate, strict=True):
        v = 0.5 * v + gain * a * b
        steps.append(v)
    return torch.stack(steps)


@backends
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("per_neuron", [False, True])
def test_each_neuron_gets_its_own_values(per_neuron: bool, batch: int, backend: Backend) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7, batch, 3 * 4, generator=generator, dtype=torch.float64).requires_grad_()
    gain = torch.linspace(1, 2, 4, dtype=torch.float64).requires_grad_() if per_neuron else 2.0
    run = sequence(Gated(gain=gain), x, backend=backend)
    wanted = expected(x, gain, 4)
    torch.testing.assert_close(run.output, wanted, rtol=1e-14, atol=1e-14)
    leaves = [x, gain] if isinstance(gain, Tensor) else [x]
    found = torch.autograd.grad(run.output.square().sum(), leaves)
    for a, b in zip(found, torch.autograd.grad(wanted.square().sum(), leaves), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    assert float(found[0][..., 8:].abs().max()) == 0.0  # an input without influence


@pytest.mark.parametrize(("backend", "every"), [("torch", None), ("numba", None), ("numba", 3)])
def test_an_input_that_does_not_change_in_time(every: int | None, backend: Backend) -> None:
    value = torch.randn(2, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gradients = []
    for form in (lambda v: Constant(v, 8), lambda v: v.expand(8, 2, 6)):
        leaf = value.clone().requires_grad_()
        run = sequence(Gated(), form(leaf), backend=backend, checkpoint_every=every)
        gradients.append(torch.autograd.grad(run.output.square().sum(), leaf)[0])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-12, atol=1e-12)


@backends
def test_images_have_the_inputs_along_their_channels(backend: Backend) -> None:
    x = torch.rand(5, 2, 6, 3, 4, generator=torch.Generator().manual_seed(2))
    run = sequence(Gated(), x, backend=backend)
    assert run.output.shape == (5, 2, 2, 3, 4)
    torch.testing.assert_close(run.output, expected(x, 2.0, 2))
    assert run.state["v"].shape == (2, 2, 3, 4)


def test_blocks_of_columns_and_threads() -> None:
    """More neurons than a block of columns holds, in more samples than one."""
    x = torch.randn(4, 3, 3 * 2500, generator=torch.Generator().manual_seed(3))
    fused = sequence(Gated(), x, backend="numba").output
    assert torch.equal(fused, sequence(Gated(), x, backend="torch").output)


def test_widths_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got 7 values .* multiple of 2: .* inputs excitatory, inhibitory"):
        sequence(EIConductanceLIF(), torch.zeros(5, 1, 7))
    with pytest.raises(ValueError, match=r"got 7 values .* multiple of 2"):
        Neurons(EIConductanceLIF())(torch.zeros(5, 1, 7))
    with pytest.raises(ValueError, match=r"state 'v': got shape \(1, 4\), wanted \(1, 2\)"):
        sequence(Gated(), torch.zeros(5, 1, 6), {"v": torch.zeros(1, 4)})
    with pytest.raises(ValueError, match=r"gain: got 6 values for neurons of shape \(2,\)"):
        sequence(Gated(gain=torch.ones(6)), torch.zeros(5, 1, 6))


def test_an_unknown_input_is_named() -> None:
    with pytest.raises(AttributeError, match="no input 'inhibition'; this neuron has excitatory, inhibitory"):
        _ = Inputs(excitatory=1.0, inhibitory=0.0).inhibition


def test_the_kernel_of_one_input_is_as_it_was() -> None:
    source = kernel_source(LIF())
    assert "current = current_all[t, r, a:b]" in source
    assert "size" not in source
    assert "in_inhibitory = current_all[t, r, size + a:size + b]" in kernel_source(EIConductanceLIF())
    assert "in_excitatory = current_all[t, r, a:b]" in kernel_source(EIConductanceLIF())


def test_torch_sees_the_right_shapes() -> None:
    from rheobase.kernels.plan import make_plan

    plan = make_plan(Gated(), ["gain"], constant=False, record=("v",))
    current = torch.randn(3, 2, 12, requires_grad=True)
    arguments = (current, [torch.zeros(2, 4)], [torch.ones(())], [], plan.key, 3, 0, True)
    torch.library.opcheck(torch.ops.rheobase.scan, arguments, test_utils=("test_schema", "test_faketensor"))


def test_a_layer_and_what_is_behind_it() -> None:
    """Also where one operation of neurons and read-out would serve neurons with one input."""
    torch.manual_seed(0)
    net = Network(
        front=Dense(10, 2 * 600),
        hidden=Neurons(EIConductanceLIF()),
        back=Dense(600, 3),
        readout=Neurons(LIF()),
    )
    x = 20 * torch.rand(60, 8, 10, generator=torch.Generator().manual_seed(4))
    record = net(x)
    spelt = net(x, record=["hidden.spikes", "hidden.g_i"])
    assert torch.equal(record.output, spelt.output)
    assert spelt["hidden.g_i"].shape == (60, 8, 600)
    assert bool(spelt["hidden.spikes"].any())
    record.output.sum().backward()


@pytest.mark.parametrize(
    ("architecture", "readout"),
    [
        (FeedForward(hidden=(6,)), EIConductanceLIF(threshold=-55.0)),
        (FeedForward(hidden=(6,), forward_delay=3.0), LIF()),
        (Convolutional(channels=(2,), kernel=3, hidden=(6,)), EIConductanceLIF(threshold=-55.0)),
        (RecurrentNetwork(hidden=(6,), adaptive=3), EIConductanceLIF(threshold=-55.0)),
        (RecurrentNetwork(hidden=(6,), excitatory=0.8, longest_delay=4.0), LIF()),
    ],
)
def test_networks_of_such_neurons(architecture: Any, readout: Neuron) -> None:
    net = architecture.build((1, 8, 8), 2, EIConductanceLIF(), readout)
    output = net(torch.rand(12, 3, 1, 8, 8)).output
    assert output.shape == (12, 3, 2)
    output.sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_signs_between_layers_are_refused_where_they_would_mean_nothing() -> None:
    with pytest.raises(ValueError, match=r"excitatory\) in front of neurons with several inputs"):
        FeedForward(hidden=(6, 6), excitatory=0.8).build((4,), 2, EIConductanceLIF(), LIF())


def test_recurrent_weights_by_input() -> None:
    groups = [Group("a", Gated(), 1), Group("b", LIF(), 2)]
    weight = torch.tensor([[1.0, -2.0, 3.0], [4.0, -5.0, 6.0], [7.0, 8.0, 9.0]])
    delay = torch.tensor([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    weights, delays = to_inputs(groups, weight, delay)
    assert weights.tolist() == [
        [1, 0, 3],  # value: the positive ones
        [0, 2, 0],  # gate: the negative ones
        [0, 0, 0],  # unused: none
        [4, -5, 6],
        [7, 8, 9],
    ]
    assert delays is not None
    assert delays.tolist() == [[1, 2, 3]] * 3 + [[4, 5, 6], [7, 8, 9]]
    with pytest.raises(ValueError, match=r"wanted \[T, B, 5\] \(one value per input of 3 neurons\)"):
        recurrent(groups, torch.zeros(4, 1, 3), weight)


def test_a_recurrent_layer_of_two_models_one_with_two_inputs() -> None:
    layer = Recurrent({"ei": (EIConductanceLIF(), 3), "lif": (LIF(), 2)}, signs=0.5)
    assert layer.columns == 8
    run = layer(torch.rand(10, 2, 8), record=["ei.g_e", "lif.v"])
    assert run.output.shape == (10, 2, 5)
    assert run.traces["ei.g_e"].shape == (10, 2, 3)


@pytest.mark.parametrize("every", [None, 4])
@pytest.mark.parametrize("delayed", [False, True])
@pytest.mark.parametrize("constant", [False, True])
def test_recurrence_fused_and_plain(delayed: bool, constant: bool, every: int | None) -> None:
    """Groups before and behind one with two inputs; per-neuron parameters; all gradients."""
    generator = torch.Generator().manual_seed(5)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    tau = torch.linspace(4, 8, 4, dtype=torch.float64).requires_grad_()
    groups = [
        Group("a", LIF(detach=False), 3),
        Group("ei", EIConductanceLIF(tau_e=tau, detach=False, refractory=2.0), 4),
        Group("b", LIF(tau_m=5.0), 2),
    ]
    weight = (2.0 * draw(9, 9)).requires_grad_()
    delay = torch.randint(1, 5, (9, 9), generator=generator) if delayed else None
    current = draw(5, 13) if constant else draw(14, 5, 13)
    current[..., 3:7] *= 8.0
    current.requires_grad_()
    x = Constant(current, 14) if constant else current
    record, results = ["ei.g_e", "ei.v", "b.v"], []
    for backend, chunk in (("torch", None), ("numba", every)):
        run = recurrent(groups, x, weight, delay, record=record, backend=backend, checkpoint_every=chunk)
        loss = run.output.square().sum() + sum(
            t.sin().sum() for t in (*run.traces.values(), *run.state.values())
        )
        results.append((run, torch.autograd.grad(loss, [current, weight, tau])))
    (plain, expected), (fused, found) = results
    spikes = plain.output.detach()
    assert all(0.02 < float(part.mean()) < 0.98 for part in spikes.split([3, 4, 2], -1)), "it tells nothing"
    assert torch.equal(fused.output, plain.output)
    for name, values in plain.traces.items():
        torch.testing.assert_close(fused.traces[name], values, rtol=1e-10, atol=1e-10)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
