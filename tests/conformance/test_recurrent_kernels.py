"""Recurrent kernel = step-by-step reference, forward and backward.

A pairwise cover of neurons x delays x refractoriness x mixed populations x what else varies. But for some
cases in which each choice occurs, all are slow: each compiles two or three kernels.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pytest
import torch
from neuron_cases import gradients, perturbed, spiking_neurons, weights
from pairwise import Case, few_of, pairwise
from torch import Tensor

from rheobase.kernels.constant import Constant
from rheobase.kernels.groups import HISTORY, Group, state_names
from rheobase.kernels.recurrent import recurrent
from rheobase.kernels.sequence import Run
from rheobase.neurons.base import Neuron
from rheobase.registry import find, name_of

STEPS, SIZE, BESIDE = 14, 11, 6

FACTORS: dict[str, list[Hashable]] = {
    "neuron": [name_of(cls) for cls in spiking_neurons()],
    "delays": ["none", "three", "drawn", "two taps"],
    "refractory": [0.0, 2.0],
    "population": ["alone", "beside LIF"],
    "detach": [False, True],
    "parameters": ["numbers", "per neuron"],
    "input": ["sequence", "constant"],
    "batch": [3, 19],
    "start": ["rest", "given"],
    "record": ["v", "nothing"],
    "every": [None, 5],
    "cut": [False, True],
}
COVER = pairwise([FACTORS])


def label(case: Case) -> str:
    return "-".join(str(value) for value in case.values())


def chosen() -> list[Any]:
    few = few_of(COVER)
    return [
        pytest.param(case, id=label(case), marks=() if case in few else pytest.mark.slow) for case in COVER
    ]


def model(name: str, size: int, case: Case) -> Neuron:
    cls = find(Neuron, name)
    options: dict[str, Any] = {"refractory": case["refractory"], "detach": case["detach"]}
    if case["parameters"] == "per neuron":
        for parameter in cls.parameter_names():
            value = perturbed(cls, parameter, getattr(cls(), parameter))
            spread = torch.linspace(0.98, 1.02, size, dtype=torch.float64)
            options[parameter] = (value * spread).requires_grad_()
    return cls(**options)


def populations(case: Case) -> list[Group]:
    name = str(case["neuron"])
    if case["population"] == "alone":
        return [Group("", model(name, SIZE, case), SIZE)]
    return [Group("plain", model("lif", BESIDE, case), BESIDE), Group("own", model(name, SIZE, case), SIZE)]


def connections(case: Case, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
    taps = (2,) if case["delays"] == "two taps" else ()
    weight = torch.randn(*taps, size, size, generator=generator, dtype=torch.float64)
    weight[torch.rand(weight.shape, generator=generator) < 0.2] = 0.0
    delay = None
    if case["delays"] == "three":
        delay = torch.full(weight.shape, 3)
    elif case["delays"] != "none":
        delay = torch.randint(1, 5, weight.shape, generator=generator)
    return weight.requires_grad_(), delay


def scale(group: Group) -> float:
    """The distance from rest to threshold, in which currents are measured."""
    neuron: Any = group.neuron
    resting, threshold = (torch.as_tensor(x).mean().item() for x in (neuron.v_rest, neuron.threshold))
    return max(abs(threshold - resting), 0.1)


@pytest.mark.parametrize("case", chosen())
def test_same_as_reference(case: Case) -> None:
    generator = torch.Generator().manual_seed(3)
    groups = populations(case)
    size, batch = sum(g.size for g in groups), int(str(case["batch"]))
    weight, delay = connections(case, size, generator)
    widths = [torch.full((g.columns,), scale(g), dtype=torch.float64) for g in groups]
    shape = (batch, sum(g.columns for g in groups))
    drive = torch.rand(*((STEPS,) if case["input"] == "sequence" else ()), *shape, generator=generator)
    current = (2.0 * drive.double() * torch.cat(widths)).requires_grad_()
    start: dict[str, Tensor] | None = None
    if case["start"] == "given":
        depth = 1 if delay is None else int(delay.max())
        history = torch.rand(depth, batch, size, generator=generator) < 0.3
        resting = recurrent(
            groups, torch.zeros(1, *shape).double(), weight.detach() * 0.0, backend="torch"
        ).state
        start = {n: x.detach().clone().requires_grad_() for n, x in resting.items() if n != HISTORY}
        start[HISTORY] = history.double().requires_grad_()
    record = [n for n in state_names(groups) if n.endswith("v")] if case["record"] == "v" else []

    def run(backend: Any, every: Any = None) -> Run:
        given = Constant(current, STEPS) if case["input"] == "constant" else current
        options = {"record": record, "backend": backend, "checkpoint_every": every, "cut": bool(case["cut"])}
        return recurrent(groups, given, weight, delay, start, **options)

    parameters = [
        value
        for g in groups
        for name in g.neuron.parameter_names()
        if isinstance(value := getattr(g.neuron, name), Tensor)
    ]
    leaves = [current, weight, *(start or {}).values(), *parameters]
    reference, kernel = run("torch"), run("numba", case["every"])
    assert 0.01 < float(reference.output.detach().mean()) < 0.99, "the case tells nothing"
    assert torch.equal(kernel.output, reference.output)
    assert list(kernel.traces) == list(reference.traces)
    assert set(kernel.state) == set(reference.state)
    close = {"rtol": 1e-11, "atol": 1e-11}
    for name, expected in reference.traces.items():
        torch.testing.assert_close(kernel.traces[name], expected, **close)
    for name, expected in reference.state.items():
        torch.testing.assert_close(kernel.state[name], expected, **close)
    wanted, got = gradients(reference, leaves, weights), gradients(kernel, leaves, weights)
    for i, (a, b) in enumerate(zip(wanted, got, strict=True)):
        error = float((a - b).detach().abs().max()) / max(1.0, float(a.detach().abs().max()))
        assert error <= 1e-10, f"leaf {i}: relative error {error:.1e}"
