"""Fused kernel = reference, forward and backward, for every registered neuron and option.

A pairwise cover runs always; a large sample of the product of everything is marked slow.
"""

from __future__ import annotations

import pytest
import torch
from neuron_cases import STEPS, Stimulus, build, factors, gradients, parameters, run, stimulus, weights
from pairwise import Case, pairwise, sample

from rheobase.kernels.trace import trace
from rheobase.neurons.base import Neuron
from rheobase.neurons.spiking import SpikingNeuron
from rheobase.registry import catalogue

#: Of these, Numba's and torch's last bits differ.
TRANSCENDENTAL = {"exp", "log", "tanh", "atan", "erf", "pow"}

NEURONS = list(catalogue(Neuron))
COVER = pairwise([factors(name) for name in NEURONS])


def label(case: Case) -> str:
    return "-".join(str(value) for value in case.values())


def exact(neuron: Neuron) -> bool:
    """Whether the state update consists of operations that round alike everywhere."""
    t = trace(neuron)
    nodes = t.live([*t.new_states.values(), t.emitted])
    return not any(t.tape.varying[n] and t.tape.nodes[n].op in TRANSCENDENTAL for n in nodes)


def check(case: Case) -> None:
    neuron = build(case)
    given = stimulus(case, neuron)
    reference = run(case, neuron, given, "torch")
    kernel = run(case, neuron, given, "numba", case["every"])  # type: ignore[arg-type]
    bits = {"rtol": 0.0, "atol": 0.0}
    double = case["dtype"] == "float64"
    close = {"rtol": 1e-12, "atol": 1e-12} if double else {"rtol": 1e-5, "atol": 1e-5}
    tolerance = bits if exact(neuron) else close

    if isinstance(neuron, SpikingNeuron):
        assert set(reference.output.unique().tolist()) == {0.0, 1.0}, "the case tells nothing"
        torch.testing.assert_close(kernel.output, reference.output, **bits)
    torch.testing.assert_close(kernel.output, reference.output, **tolerance)
    assert list(kernel.traces) == list(reference.traces)
    for name, trace_ in reference.traces.items():
        torch.testing.assert_close(kernel.traces[name], trace_, **tolerance, msg=name)
    assert set(kernel.state) == set(reference.state)
    for name, last in reference.state.items():
        torch.testing.assert_close(kernel.state[name], last, **tolerance, msg=name)

    leaves = [*given.leaves(), *parameters(neuron).values()]
    names = ["current", *(given.start or {}), *parameters(neuron)]
    expected = gradients(reference, leaves, weights)
    found = gradients(kernel, leaves, weights)
    assert float(expected[0].abs().max()) > 0
    for name, want, got in zip(names, expected, found, strict=True):
        # Relative to the gradient's own size: sums over time cancel.
        scale = max(1.0, float(want.abs().max()))
        error = float((got - want).abs().max()) / scale
        assert error <= (1e-10 if double else 2e-4), f"gradient by {name}: relative error {error:.2e}"

    if case["every"] is not None:
        check_recomputation(case, neuron, given)


def check_recomputation(case: Case, neuron: Neuron, given: Stimulus) -> None:
    """Keeping less for the backward pass changes no bit, but where sums over time are split."""
    leaves = [*given.leaves(), *parameters(neuron).values()]
    sums = {id(x) for x in parameters(neuron).values()} | ({id(given.current)} if given.constant else set())
    whole = run(case, neuron, given, "numba")
    expected = gradients(whole, leaves, weights)
    for every in (1, 5, STEPS, 100):
        parts = run(case, neuron, given, "numba", every)
        assert torch.equal(parts.output, whole.output)
        assert all(torch.equal(parts.traces[n], whole.traces[n]) for n in whole.traces)
        assert all(torch.equal(parts.state[n], whole.state[n]) for n in whole.state)
        for leaf, want, got in zip(leaves, expected, gradients(parts, leaves, weights), strict=True):
            if id(leaf) not in sums or every >= STEPS:
                assert torch.equal(got, want)
            else:  # added up part by part, in another order
                size = max(1.0, float(want.abs().max()))
                tolerance = 1e-12 if want.dtype is torch.float64 else 1e-5
                torch.testing.assert_close(got, want, rtol=0, atol=tolerance * size)


@pytest.mark.parametrize("case", COVER, ids=label)
def test_pairwise_cover(case: Case) -> None:
    check(case)


@pytest.mark.slow
@pytest.mark.parametrize("name", NEURONS)
def test_sample_of_the_product(name: str) -> None:
    # The whole product is above a million cases for one model, each to be compiled.
    for case in sample(factors(name), 300, seed=0):
        try:
            check(case)
        except AssertionError as error:
            raise AssertionError(f"{case}: {error}") from error


def test_cover_is_small_and_knows_every_neuron() -> None:
    assert {case["neuron"] for case in COVER} == set(NEURONS)
    assert len(COVER) <= 12 * len(NEURONS)
    assert len({label(case) for case in COVER}) == len(COVER)
