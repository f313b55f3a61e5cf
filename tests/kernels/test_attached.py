"""Dense connections run along with recurrent neurons equal the same connections run apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import pytest
import torch
from torch import Tensor

from rheobase.kernels import (
    attached,
    recurrent_calls,
    recurrent_forms,
    recurrent_text,
    vectors,
)
from rheobase.kernels.attached import EVENTS, FEW, LIVELY, PARTS
from rheobase.kernels.sheaves import spread_sheaf
from rheobase.kernels.spread import spread_rows
from rheobase.layers import recurrent as layer_module
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.layers.neurons import Neurons
from rheobase.layers.recurrent import Recurrent
from rheobase.neurons.adaptive_lif import AdaptiveLIF
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.surrogate import Triangular

INPUTS, SIZE, OUTPUTS = 5, 21, 3  # none fills whole vectors
STEPS, BATCH = 14, 4 * PARTS + 5  # parts of one block and of two, and a block that is not full
TAPS, MIXED = (1.0, 4.0), {"fast": (LIF(tau_m=5.0), 9), "slow": (AdaptiveLIF(tau_m=5.0), 12)}

run_sheaf = numba.njit(lambda a, b, c, d, e, f, g: spread_sheaf(a, b, c, d, e, f, g))
run_spread = numba.njit(lambda a, b, c, d, e: spread_rows(a, b, c, d, e))


@dataclass(frozen=True)
class Case:
    delays: Any = None
    neuron: Any = None
    bias: bool = True
    checkpoint_every: int | None = None

    def network(self) -> Network:
        neuron = self.neuron or LIF(tau_m=5.0, surrogate=Triangular())
        with torch.random.fork_rng():
            torch.manual_seed(2)
            size = None if isinstance(neuron, dict) else SIZE
            return Network(
                front=Dense(INPUTS, SIZE, bias=self.bias, gain=4.0),
                hidden=Recurrent(
                    neuron, size, delays=self.delays, gain=2.0, checkpoint_every=self.checkpoint_every
                ),
                out=Dense(SIZE, OUTPUTS, bias=self.bias),
                readout=Neurons(LeakyIntegrator(tau_m=10.0)),
            ).double()


CASES = {
    "one delay": Case(),
    "no biases": Case(bias=False),
    "two steps": Case(delays=2.0),
    "many delays": Case(delays=TAPS),
    "mixed": Case(neuron=MIXED),
    "chunks": Case(checkpoint_every=4),
}


#: Each compiles several kernels more.
SLOW = ("mixed", "chunks")


@pytest.fixture(autouse=True)
def _everything_counts_as_large(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(attached, "SMALL", 0)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def inputs(silent: float = 0.4) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(STEPS, BATCH, INPUTS, generator=generator, dtype=torch.float64)
    return torch.where(x > silent, x, 0.0)


def results(network: Network, x: Tensor, record: tuple[str, ...] = ("hidden.spikes",)) -> dict[str, Tensor]:
    """What it did, and gradients of a loss on the output (and, if recorded, on the hidden spikes)."""
    network.zero_grad()
    run = network(x, record=list(record))
    loss = run.output.square().sum()
    for signal in record:
        loss = loss + run[signal].sum()
    loss.backward()
    grads = {f"by {name}": p.grad for name, p in network.named_parameters()}
    return {"output": run.output, **run.signals, **run.state["hidden"], **grads}


def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_module.Recurrent, "_takes", lambda *_: False)
    monkeypatch.setattr(layer_module.Recurrent, "_leads", lambda *_: False)
    monkeypatch.setattr(attached, "LIVELY", -1.0)


@pytest.mark.parametrize(
    ("name", "record"),
    [
        *((name, ("hidden.spikes",)) for name in CASES if name not in SLOW),
        *(pytest.param(name, ("hidden.spikes",), marks=pytest.mark.slow) for name in SLOW),
        ("one delay", ()),
    ],
)
def test_connections_run_along_equal_those_run_apart(
    name: str, record: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, x = CASES[name].network(), inputs()
    along = results(network, x, record)
    apart(monkeypatch)
    expected = results(network, x, record)
    assert expected["output"].abs().sum() > 0
    assert along.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(
            along[key], value, rtol=1e-10, atol=1e-12, msg=lambda m, k=key: f"{k}: {m}"
        )


def test_the_reference_agrees() -> None:
    network, x = Case().network(), inputs()
    along = results(network, x)
    for layer in (network.layers["hidden"], network.layers["readout"]):
        layer.backend = "torch"
    for key, value in results(network, x).items():
        torch.testing.assert_close(
            along[key], value, rtol=1e-10, atol=1e-12, msg=lambda m, k=key: f"{k}: {m}"
        )


@pytest.mark.parametrize("name", ["one delay", "many delays"])
def test_any_number_of_threads_gives_the_same_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rheobase.kernels.threads.SMALL", 0)
    network, x = CASES[name].network(), inputs()
    torch.set_num_threads(1)
    one = results(network, x)
    torch.set_num_threads(3)
    for key, value in results(network, x).items():
        assert torch.equal(one[key], value), key


def test_a_sequence_can_be_cut() -> None:
    network, x = CASES["many delays"].network(), inputs()
    with torch.no_grad():
        whole = network(x)
        first = network(x[:6], state={})
        second = network(x[6:], state=first.state)
    assert torch.equal(torch.cat([first.output, second.output]), whole.output)


def test_a_loss_on_the_spikes_alone() -> None:
    network, x = Case().network(), inputs()
    network(x, record=["hidden.spikes"])["hidden.spikes"].sum().backward()
    front, out = network.layers["front"], network.layers["out"]
    assert front.weight.grad.abs().sum() > 0
    assert out.weight.grad is None


def test_what_keeps_connections_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = Case().network(), inputs()
    front, out, hidden = (network.layers[name] for name in ("front", "out", "hidden"))
    assert isinstance(hidden, Recurrent)
    assert hidden._takes(front, x)
    assert hidden._leads(out, x)
    assert not hidden._takes(front, x.clone().requires_grad_())
    assert not hidden._takes(front, x.float())
    assert not hidden._leads(Dense(SIZE, FEW + 1).double(), x)
    monkeypatch.setattr(attached, "SMALL", STEPS * BATCH * SIZE + 1)
    assert not hidden._takes(front, x)
    assert not hidden._leads(out, x)
    monkeypatch.setattr(attached, "SMALL", 0)
    front.register_forward_hook(lambda *_: None)
    assert not hidden._takes(front, x)
    monkeypatch.setattr(hidden, "backend", "torch")
    assert not hidden._leads(out, x)


def test_a_hook_on_a_connection_still_sees_what_it_made() -> None:
    network, x = Case().network(), inputs()
    seen: list[Tensor] = []
    network.layers["out"].register_forward_hook(lambda _, __, y: seen.append(y))
    network(x)
    assert [tuple(y.shape) for y in seen] == [(STEPS, BATCH, OUTPUTS)]


def test_wrong_shapes_are_still_refused() -> None:
    network = Case().network()
    with pytest.raises(ValueError, match="got samples of 6 values, wanted 5"):
        network(torch.zeros(4, 2, 6, dtype=torch.float64))
    with pytest.raises(ValueError, match="got no time steps"):
        network(torch.zeros(0, 2, 5, dtype=torch.float64))
    wrong = Network(front=Dense(INPUTS, SIZE - 1), hidden=Recurrent(LIF(), SIZE)).double()
    with pytest.raises(ValueError, match=r"wanted \[T, B, 21\]"):
        wrong(inputs())


def test_many_busy_inputs_are_left_to_the_dense_product() -> None:
    x = torch.ones(3, 2, 2 * EVENTS)
    assert not attached.few_events(x)
    x[:, :, EVENTS // 2 :] = 0
    assert attached.few_events(x)


def test_gradients_of_lively_neurons_are_left_to_the_dense_product(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = Case().network(), inputs()
    expected = results(network, x)
    assert float((expected["hidden.spikes"] > 0).double().mean()) < LIVELY
    monkeypatch.setattr(attached, "LIVELY", 0.0)
    for key, value in results(network, x).items():
        torch.testing.assert_close(value, expected[key], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["one delay", "two steps", "chunks"])
def test_events_of_several_steps_are_summed_as_each_by_itself(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, x = CASES[name].network(), inputs()
    found = []
    for seldom in (1.0, -1.0):
        monkeypatch.setattr(attached, "SELDOM", seldom)
        found.append(results(network, x))
    each, together = found
    assert each["by layers.hidden.parametrizations.weight.original"].abs().sum() > 0
    for key, value in each.items():
        assert torch.equal(together[key], value), key


@pytest.mark.parametrize("name", ["one delay", "two steps", "chunks"])
def test_neurons_that_no_derivative_gets_into_are_left_out_in_the_same_bits(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, x = CASES[name].network(), inputs()
    front, hidden = network.layers["front"], network.layers["hidden"]
    with torch.no_grad():
        front.bias[SIZE // 3 : -2] -= 30.0  # far below the threshold, at all steps
    without = results(network, x, ())
    silent = without["by layers.front.bias"] == 0
    assert SIZE // 3 < int(silent.sum()) < SIZE
    monkeypatch.setattr(recurrent_text, "FEW", -1.0)  # no number of neurons is few: nobody is left out
    for made in (recurrent_calls.backward_call, recurrent_forms.backward_kernel):
        made.cache_clear()
    for key, value in results(network, x, ()).items():
        assert torch.equal(without[key], value), key
    for made in (recurrent_calls.backward_call, recurrent_forms.backward_kernel):
        made.cache_clear()
    assert isinstance(hidden, Recurrent)
    hidden.backend = "torch"
    if name == "chunks":
        hidden.checkpoint_every = None
    for key, value in results(network, x, ()).items():
        torch.testing.assert_close(without[key], value, rtol=1e-10, atol=1e-12)


def test_a_group_with_gates_beside_one_without() -> None:
    gated = LIF(tau_m=5.0, surrogate=Triangular(width=0.2))
    network = Case(neuron={"gated": (gated, 15), "open": (LIF(tau_m=8.0), SIZE - 15)}).network()
    x, front = inputs(), network.layers["front"]
    with torch.no_grad():
        front.bias[:9] -= 30.0
    along = results(network, x, ())
    assert int((along["by layers.front.bias"] == 0).sum()) == 9
    for layer in (network.layers["hidden"], network.layers["readout"]):
        layer.backend = "torch"
    for key, value in results(network, x, ()).items():
        torch.testing.assert_close(along[key], value, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("size", "columns", "count"), [(1, 1, 32), (40, 100, 50), (33, 145, 33), (5, 300, 7)]
)
def test_spread_sheaf_agrees_with_numpy(size: int, columns: int, count: int, dtype: Any) -> None:
    rng = np.random.default_rng(columns)
    itemsize = np.dtype(dtype).itemsize
    width = vectors.padded(columns, itemsize)
    values = np.where(rng.random((50, size)) < 0.4, rng.normal(size=(50, size)), 0.0).astype(dtype)
    given = np.zeros(60 * columns + vectors.BYTES, dtype)  # rows are read in whole vectors
    given[: 60 * columns] = rng.normal(size=60 * columns)
    out = rng.normal(size=(size + 1, width)).astype(dtype)
    pairs = rng.permutation(50)[:count], rng.permutation(60)[:count]
    sheaf = np.stack([pairs[0] * size, pairs[1] * columns])
    wanted = out[:, :columns].copy()
    rows = given[: 60 * columns].reshape(60, columns)
    for a, b in zip(*pairs, strict=True):
        wanted[:size] += np.outer(values[a], rows[b]).astype(dtype)
    words = np.zeros((2, size + 64), np.int32)
    run_sheaf(values, given, sheaf, count, words, size, out)
    rtol = 1e-5 if dtype is np.float32 else 1e-12
    np.testing.assert_allclose(out[:, :columns], wanted, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [1, 16, 40, 100, 145, 300])
def test_spread_rows_agrees_with_numpy(columns: int, dtype: Any) -> None:
    rng = np.random.default_rng(columns)
    width = vectors.padded(columns, np.dtype(dtype).itemsize)
    out, row = rng.normal(size=(7, width)).astype(dtype), rng.normal(size=width).astype(dtype)
    values = rng.normal(size=7).astype(dtype)
    found = np.array([1, 4, 6, 99], np.int32)
    wanted = out.copy()
    wanted[[1, 4, 6]] += values[[1, 4, 6], None] * row
    run_spread(found, 3, values, row, out)
    np.testing.assert_allclose(out, wanted, rtol=1e-12, atol=1e-6 if dtype is np.float32 else 1e-14)
