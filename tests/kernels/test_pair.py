"""Neurons and the dense connection behind them as one operation equal the two apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from rheobase.kernels import threads
from rheobase.kernels.constant import Constant
from rheobase.kernels.pair import FEW, LONG, PARTS, SMALL
from rheobase.layers import neurons as layer_module
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.layers.neurons import Neurons
from rheobase.neurons.base import Neuron
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.neurons.spiking import SpikingNeuron
from rheobase.neurons.synaptic_lif import SynapticLIF

SIZE, OUTPUTS = 70, 7  # neither fills the kernel's vectors
RICH = LIF(tau_m=8.0, reset="value", v_reset=-0.1, timing="delayed", detach=False, refractory=2.0)
MUTE = SynapticLIF(timing="old", refractory=2.0, refractory_mode="mute")


@dataclass(frozen=True)
class Case:
    neuron: Neuron
    trained: str = "none"  # "none", "shared", "per neuron"
    constant: bool = False
    bias: bool = True
    input_trained: bool = True
    outputs: int = OUTPUTS
    dtype: torch.dtype = torch.float64

    def layer(self, backend: str) -> Neurons:
        names = self.neuron.parameter_names() if self.trained != "none" else ()
        size = SIZE if self.trained == "per neuron" else None
        layer = Neurons(self.neuron, trainable=names, size=size, backend=backend)  # type: ignore[arg-type]
        layer = layer.to(self.dtype)
        with torch.no_grad():
            for value in layer.parameters():
                # No 0, so that every parameter has an influence.
                value.add_(0.03 + 0.02 * torch.rand(value.shape, generator=seeded(1), dtype=value.dtype))
        return layer


CASES = [
    pytest.param(Case(RICH, "per neuron"), id="value-delayed-refractory-per_neuron"),
    pytest.param(Case(RICH, "per neuron", bias=False, input_trained=False), id="input_not_trained"),
    pytest.param(Case(MUTE, "shared", constant=True, bias=False), id="synaptic-mute-shared-constant"),
    pytest.param(Case(LeakyIntegrator(), "per neuron", outputs=20), id="no_spikes-more_than_one_group"),
    pytest.param(
        Case(LIF(timing="delayed"), constant=True, outputs=FEW, dtype=torch.float32), id="single-many_outputs"
    ),
]


@pytest.fixture(autouse=True)
def _everything_counts_as_large(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(layer_module, "SMALL", 0)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def dense(outputs: int = OUTPUTS, inputs: int = SIZE, bias: bool = True) -> Dense:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Dense(inputs, outputs, bias=bias).double()


def drive(steps: int, batch: int, size: int = SIZE) -> Tensor:
    """From far too weak to far too strong, so that there is silence and there are spikes."""
    noise = torch.randn(steps, batch, size, generator=seeded(0), dtype=torch.float64) + 0.5
    return noise * torch.logspace(-1.0, 1.0, size, dtype=torch.float64)


def results(case: Case, fused: bool, steps: int = 11, batch: int = PARTS + 3) -> dict[str, Tensor]:
    """Output, final state and all gradients, by name."""
    layer = case.layer("numba" if fused else "torch")
    connection = dense(case.outputs, bias=case.bias).to(case.dtype)
    current = drive(steps, batch)[0] if case.constant else drive(steps, batch)
    current = current.to(case.dtype, copy=True).requires_grad_(case.input_trained)
    x = Constant(current, steps) if case.constant else current
    state = {
        name: torch.rand(batch, SIZE, generator=seeded(5), dtype=case.dtype).requires_grad_()
        for name in layer.states
    }
    if fused:
        run = layer.into(connection, x, state)
        assert run is not None
        output, last = run.output, run.state
        assert run.traces == {}
    else:
        apart = layer(x, state)
        emitted = apart.output.detach()
        if isinstance(case.neuron, SpikingNeuron):
            assert 0.02 < float(emitted.mean()) < 0.98, "the case tells nothing"
        output, last = connection(apart.output), apart.state
    pieces = [output, *last.values()]
    loss = torch.stack(
        [(p * torch.randn(p.shape, generator=seeded(9), dtype=p.dtype)).sum() for p in pieces]
    ).sum()
    leaves = {f"initial {name}": value for name, value in state.items()}
    leaves |= {f"neurons' {name}": value for name, value in layer.named_parameters()}
    leaves |= {f"connection's {name}": value for name, value in connection.named_parameters()}
    leaves |= {"input": current} if case.input_trained else {}
    found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    gradients = {
        f"gradient by {name}": torch.zeros_like(leaf) if g is None else g
        for (name, leaf), g in zip(leaves.items(), found, strict=True)
    }
    return {"output": output.detach(), **{f"final {n}": v.detach() for n, v in last.items()}, **gradients}


def check(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for name, want in expected.items():
        assert found[name].shape == want.shape, name
        if name.startswith("final"):
            assert torch.equal(found[name], want), f"{name}: other bits"
        scale = max(float(want.abs().max()), 1e-3)
        bound = 1e-10 if want.dtype == torch.float64 else 1e-5
        assert float((found[name] - want).abs().max()) <= bound * scale, name


@pytest.mark.parametrize("case", CASES)
def test_equals_separate_operations(case: Case) -> None:
    expected = results(case, fused=False)
    check(results(case, fused=True), expected)
    for name in ("input", "connection's weight", "connection's bias", "neurons' tau_m", "neurons' threshold"):
        if (gradient := expected.get(f"gradient by {name}")) is not None:
            assert float(gradient.abs().max()) > 1e-3, name


@pytest.mark.parametrize("batch", [1, 2])
def test_a_long_sequence_whose_sums_are_made_sample_by_sample(batch: int) -> None:
    case = Case(RICH, "per neuron")
    check(results(case, True, steps=400, batch=batch), results(case, False, steps=400, batch=batch))


@pytest.mark.parametrize("case", [CASES[0], CASES[2]])
def test_the_number_of_threads_changes_no_bit(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "SMALL", 0)
    found = []
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        found.append(results(case, fused=True))
    for other in found[1:]:
        for name, value in found[0].items():
            assert torch.equal(other[name], value), name


def test_at_rest_without_a_given_state_and_without_gradients() -> None:
    case = Case(MUTE, "shared", constant=True)
    x = Constant(drive(1, 4)[0], 9)
    connection = dense(bias=False)
    with torch.no_grad():
        run = case.layer("auto").into(connection, x)
        apart = case.layer("torch")(x)
        assert run is not None
        torch.testing.assert_close(run.output, connection(apart.output), rtol=1e-12, atol=1e-12)
        assert all(torch.equal(run.state[name], apart.state[name]) for name in ("v", "i", "refractory"))


def test_going_on_from_a_state_equals_never_stopping() -> None:
    layer, connection, x = Case(RICH, "per neuron").layer("numba"), dense(), drive(12, 3)
    whole, first = layer.into(connection, x), layer.into(connection, x[:5])
    assert whole is not None
    assert first is not None
    second = layer.into(connection, x[5:], first.state)
    assert second is not None
    torch.testing.assert_close(torch.cat([first.output, second.output]), whole.output, rtol=1e-12, atol=1e-12)
    assert all(torch.equal(second.state[name], whole.state[name]) for name in whole.state)


def test_state_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"state 'v': got shape \(3, 5\), wanted \(3, 70\)"):
        Neurons(LIF()).into(dense(), drive(4, 3), {"v": torch.zeros(3, 5)})


class Asked:
    """Stands in for the fused operation, and tells whether it was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        monkeypatch.setattr(layer_module, "run_into_dense", self)

    def __call__(self, *args: Any) -> str:
        self.times += 1
        return "asked"


@pytest.mark.parametrize(
    ("options", "shape", "outputs", "used"),
    [
        ({}, (4, 2, 6), 3, True),
        ({}, (4, 2, 6), FEW, True),
        ({}, (4, 2, 6), FEW + 1, False),
        ({}, (LONG, 1, 6), 3, True),
        ({}, (LONG + 1, 1, 6), 3, False),
        ({}, (4, 2, 2, 3), 3, True),
        ({}, (4, 2, 5), 3, False),
        ({"backend": "numba"}, (4, 2, 6), 3, True),
        ({"backend": "torch"}, (4, 2, 6), 3, False),
        ({"checkpoint_every": 2}, (4, 2, 6), 3, False),
    ],
)
@pytest.mark.parametrize("constant", [False, True])
def test_where_it_is_used(
    options: dict[str, Any],
    shape: tuple[int, ...],
    outputs: int,
    used: bool,
    constant: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = Asked(monkeypatch)
    zeros = torch.zeros(shape, dtype=torch.float64)
    x = Constant(zeros[0], shape[0]) if constant else zeros
    result = Neurons(LIF(), **options).into(dense(outputs, 6), x)
    assert (result is not None, asked.times) == (used, int(used))


@pytest.mark.parametrize("constant", [False, True])
def test_small_layers_are_left_alone(constant: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_module, "SMALL", SMALL)
    asked = Asked(monkeypatch)
    # All steps count, for an input that does not change as well.
    for batch, used in ((SMALL // 64 - 1, 0), (SMALL // 64, 1)):
        x = torch.zeros(8, batch, 8, dtype=torch.float64)
        Neurons(LIF()).into(dense(3, 8), Constant(x[0], 8) if constant else x)
        assert asked.times == used


def test_half_precision_is_left_alone() -> None:
    assert Neurons(LIF()).into(dense(3, 6), torch.zeros(4, 2, 6, dtype=torch.bfloat16)) is None


def test_mixed_precision_is_left_alone() -> None:
    assert Neurons(LIF()).into(dense(3, 6), torch.zeros(4, 2, 6, dtype=torch.float32)) is None


def network() -> Network:
    return Network(
        dense1=dense(SIZE, 5),
        hidden=Neurons(RICH, trainable=RICH.parameter_names(), size=SIZE).double(),
        dense2=dense(),
        readout=Neurons(LeakyIntegrator(), backend="torch"),
    )


@pytest.mark.parametrize(
    ("record", "used"),
    [
        ((), 1),
        (("readout.v",), 1),
        (("hidden.spikes",), 0),
        (("hidden.v",), 0),
        (("hidden.refractory", "readout.v"), 0),
    ],
)
def test_a_network_uses_it_unless_the_layer_is_recorded(
    record: tuple[str, ...], used: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    original = layer_module.run_into_dense

    def counted(*args: Any) -> Any:
        calls.append(args)
        return original(*args)

    monkeypatch.setattr(layer_module, "run_into_dense", counted)
    net = network()
    net.layers["hidden"].backend = "auto" if used else "torch"  # type: ignore[assignment]
    with torch.no_grad():
        found = net(4.0 * drive(10, 3, 5), record=record)
    assert len(calls) == used
    assert list(found.signals) == list(record)


def test_recording_hidden_spikes_changes_the_readout_in_rounding_only() -> None:
    net, x = network(), 4.0 * drive(10, 3, 5)
    with torch.no_grad():
        plain = net(x, record=["readout.v"])
        watched = net(x, record=["hidden.spikes", "readout.v"])
        assert 0.02 < float(watched["hidden.spikes"].mean()) < 0.98
        assert list(plain.state) == list(watched.state) == ["hidden", "readout"]
        for name, value in watched.state["hidden"].items():
            assert torch.equal(plain.state["hidden"][name], value), name
        torch.testing.assert_close(plain["readout.v"], watched["readout.v"], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(plain.output, watched.output, rtol=1e-12, atol=1e-12)
        # From a state, likewise.
        on, watched_on = net(x, plain.state), net(x, watched.state, record=["hidden.spikes"])
        torch.testing.assert_close(on.output, watched_on.output, rtol=1e-12, atol=1e-12)


def test_a_dense_connection_that_does_not_fit_is_refused_as_ever() -> None:
    net = Network(hidden=Neurons(LIF(), backend="torch"), dense=dense(3, 6))
    with pytest.raises(ValueError, match="Dense: got samples of 5 values, wanted 6"):
        net(torch.zeros(4, 2, 5, dtype=torch.float64))
