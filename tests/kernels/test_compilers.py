"""torch's own tools take the kernels: opcheck, torch.compile, torch.export, checkpointing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rheobase.kernels.constant import Constant
from rheobase.kernels.plan import carry_out, make_plan
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network, Record
from rheobase.layers.neurons import Neurons
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def network(*, trainable: bool) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        hidden = Neurons(LIF(), trainable=["tau_m", "threshold"] if trainable else [], size=6)
        return Network(
            dense1=Dense(4, 6, gain=4.0),
            hidden=hidden,
            dense2=Dense(6, 2),
            readout=Neurons(LeakyIntegrator()),
        )


def inputs() -> Tensor:
    return torch.rand(8, 3, 4, generator=torch.Generator().manual_seed(0))


def gradients(module: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    names = dict(module.named_parameters())
    return dict(zip(names, torch.autograd.grad(loss, list(names.values())), strict=True))


@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize("constant", [False, True])
def test_compiled_in_one_graph(trainable: bool, constant: bool) -> None:
    torch.compiler.reset()
    net = network(trainable=trainable)
    x = Constant(inputs()[0], 8) if constant else inputs()
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    expected: Record = net(x, record=["hidden.spikes", "hidden.v"])
    found: Record = compiled(x, record=["hidden.spikes", "hidden.v"])
    assert expected["hidden.spikes"].detach().any()
    assert torch.equal(found.output, expected.output)
    for name in expected.signals:
        assert torch.equal(found[name], expected[name])
    want = gradients(net, expected.output.square().sum())
    got = gradients(net, found.output.square().sum())
    assert set(want) == set(got)
    for name, gradient in want.items():
        assert gradient.abs().sum() > 0
        torch.testing.assert_close(got[name], gradient, msg=name)


class OutputOnly(nn.Module):
    """A network as a function of tensors to a tensor."""

    def __init__(self, net: Network) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.net(x).output
        return output


@pytest.mark.parametrize("trainable", [False, True])
def test_exported(trainable: bool) -> None:
    net = OutputOnly(network(trainable=trainable))
    exported = torch.export.export(net, (inputs(),), strict=False)
    assert torch.equal(exported.module()(inputs()), net(inputs()))
    assert "rheobase.scan" in str(exported.graph)


def test_a_network_is_exported_with_its_record() -> None:
    net = network(trainable=False)
    exported = torch.export.export(net, (inputs(),), strict=False)
    assert torch.equal(exported.module()(inputs()).output, net(inputs()).output)


@pytest.mark.parametrize("every", [0, 3])
@pytest.mark.parametrize("constant", [False, True])
def test_opcheck(constant: bool, every: int) -> None:
    tau = torch.linspace(5.0, 20.0, 4, dtype=torch.float64).requires_grad_()
    plan = make_plan(LIF(tau_m=tau), ["tau_m"], constant=constant, record=("v",))
    slots = carry_out(plan, {"tau_m": tau})
    coefficients = [slots[n] for n in plan.coefficients]
    tensors = [coefficients[j].detach().requires_grad_() for j in plan.tensors]
    numbers = [c for j, c in enumerate(coefficients) if j not in plan.tensors]
    shape = (2, 4) if constant else (7, 2, 4)
    current = torch.rand(shape, dtype=torch.float64).requires_grad_()
    state = [torch.rand(2, 4, dtype=torch.float64).requires_grad_() for _ in plan.states]
    args = (current, state, tensors, numbers, plan.key, 7, every, True)
    torch.library.opcheck(torch.ops.rheobase.scan.default, args)


def test_torch_checkpointing_gives_the_same_gradients() -> None:
    from torch.utils.checkpoint import checkpoint

    net = network(trainable=True)
    expected = gradients(net, net(inputs()).output.sum())
    output = checkpoint(lambda x: net(x).output, inputs(), use_reentrant=False)
    found = gradients(net, output.sum())
    assert all(torch.equal(found[name], expected[name]) for name in expected)
