"""What `sequence` accepts and refuses, and what it hands back."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rheobase.kernels.constant import Constant
from rheobase.kernels.sequence import Backend, sequence
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.neurons.synaptic_lif import SynapticLIF

X = torch.ones(4, 2, 3)
backends = pytest.mark.parametrize("backend", ["torch", "numba"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"current": torch.ones(0, 2, 3)}, r"current: got no time steps \(shape \(0, 2, 3\)\)"),
        ({"current": torch.ones(4, 3)}, r"current: got shape \(4, 3\), wanted \[T, B, N\]"),
        ({"current": Constant(torch.ones(3), 5)}, r"current: got shape \(5, 3\), wanted"),
        ({"state": {"v": torch.ones(2, 4)}}, r"state 'v': got shape \(2, 4\), wanted \(2, 3\)"),
        ({"state": {"u": torch.ones(2, 3)}}, r"state: got the variables \['u'\], wanted \['v'\]"),
        ({"state": {}}, r"state: got the variables \[\], wanted \['v'\]"),
        ({"record": ["u"]}, r"unknown state variable 'u'.*Known: v"),
        ({"checkpoint_every": 0}, "checkpoint_every: got 0, wanted at least 1"),
        ({"checkpoint_every": -3}, "checkpoint_every: got -3, wanted at least 1"),
        ({"checkpoint_every": 2, "backend": "torch"}, "checkpoint_every is a feature of the fused kernel"),
        ({"backend": "fast"}, "backend: got 'fast', wanted 'auto', 'numba' or 'torch'"),
        ({"neuron": LIF(tau_m=[5.0, 6.0])}, r"tau_m: got 2 values for neurons of shape \(3,\)"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"neuron": LIF(), "current": X, **options}
    with pytest.raises(ValueError, match=message):
        sequence(given.pop("neuron"), given.pop("current"), **given)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused_by_the_kernel_and_runs_on_the_reference(dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match=r"float32 or float64; got torch\.b?float16.*backend='torch'"):
        sequence(LIF(), X.to(dtype), backend="numba")
    assert sequence(LIF(), X.to(dtype)).output.dtype is dtype
    assert sequence(LIF(), X.to(dtype)).output.any()


def test_a_constant_has_at_least_one_step() -> None:
    with pytest.raises(ValueError, match=r"Constant\.steps: got 0"):
        Constant(torch.ones(2, 3), 0)


def test_constant_stands_for_a_sequence() -> None:
    constant = Constant(torch.arange(6.0).reshape(2, 3), 4)
    assert constant.shape == (4, 2, 3)
    assert constant.dtype is torch.float32
    assert constant.expand().stride(0) == 0
    assert torch.equal(constant.expand()[3], constant.value)
    assert torch.equal(constant.map(lambda x: 2 * x).value, 2 * constant.value)


@backends
def test_nan_stays_visible(backend: Backend) -> None:
    x = torch.full((5, 1, 3), 0.5)
    x[2, 0, 1] = float("nan")
    run = sequence(LIF(refractory=2.0), x, record=["v"], backend=backend)
    nan = run.traces["v"][:, 0].isnan()
    assert nan.tolist() == [[False, t >= 2, False] for t in range(5)]
    assert run.state["v"][0].isnan().tolist() == [False, True, False]
    readout = sequence(LeakyIntegrator(), x, backend=backend).output[:, 0].isnan()
    assert torch.equal(readout, nan)


@backends
def test_infinity_stays_visible(backend: Backend) -> None:
    x = torch.zeros(3, 1, 1)
    x[1] = float("-inf")
    run = sequence(LIF(), x, record=["v"], backend=backend)
    assert run.traces["v"].flatten().tolist() == [0.0, float("-inf"), float("-inf")]


@backends
def test_one_step_and_one_neuron(backend: Backend) -> None:
    run = sequence(LIF(), torch.full((1, 1, 1), 1.5), record=["v"], backend=backend)
    assert run.output.tolist() == [[[1.0]]]
    assert run.state["v"].tolist() == [[0.5]]


@backends
def test_more_dimensions_than_three(backend: Backend) -> None:
    x = torch.rand(6, 2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    tau = torch.linspace(5, 20, 60)
    run = sequence(LIF(tau_m=tau), x, record=["v"], backend=backend)
    flat = sequence(LIF(tau_m=tau), x.flatten(2), record=["v"], backend=backend)
    assert run.output.shape == x.shape
    assert torch.equal(run.output.flatten(2), flat.output)
    assert torch.equal(run.traces["v"].flatten(2), flat.traces["v"])


@backends
def test_strides_do_not_matter(backend: Backend) -> None:
    x = 2 * torch.rand(3, 2, 8, generator=torch.Generator().manual_seed(0))
    batch_major = x.transpose(0, 2).contiguous().transpose(0, 2)
    assert not batch_major.is_contiguous()
    assert torch.equal(
        sequence(LIF(), batch_major, backend=backend).output, sequence(LIF(), x, backend=backend).output
    )


@backends
def test_arguments_are_left_alone(backend: Backend) -> None:
    x, v, i = torch.rand(5, 2, 3), torch.rand(2, 3), torch.rand(2, 3)
    before = [t.clone() for t in (x, v, i)]
    sequence(SynapticLIF(), x, {"v": v, "i": i}, backend=backend)
    assert all(torch.equal(a, b) for a, b in zip(before, (x, v, i), strict=True))


@backends
def test_record_holds_what_was_asked_for_in_that_order(backend: Backend) -> None:
    run = sequence(SynapticLIF(), X, record=["i", "v"], backend=backend)
    assert list(run.traces) == ["i", "v"]
    assert torch.equal(run.traces["i"][-1], run.state["i"])
    assert sequence(SynapticLIF(), X, backend=backend).traces == {}


@pytest.mark.parametrize("constant", [False, True])
def test_auto_is_the_kernel(constant: bool) -> None:
    x = Constant(X[0], 4) if constant else X
    run = sequence(LIF(tau_m=torch.tensor(5.0, requires_grad=True)), x)
    assert "scan" in str(run.output.grad_fn).lower()


def test_per_neuron_values_for_a_batch_of_one() -> None:
    tau = torch.linspace(2.0, 40.0, 1100, dtype=torch.float64).requires_grad_()
    x = torch.rand(7, 1, 1100, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    found = []
    for backend in ("torch", "numba"):
        run = sequence(LIF(tau_m=tau), x, record=["v"], backend=backend)  # type: ignore[arg-type]
        found.append([run.output, run.traces["v"], *torch.autograd.grad(run.traces["v"].sum(), tau)])
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    torch.testing.assert_close(found[0][2], found[1][2], rtol=1e-10, atol=1e-12)
