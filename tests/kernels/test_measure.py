"""Measuring kernels: what is counted, and that a wrong kernel is refused."""

from __future__ import annotations

from typing import Any

import pytest

from rheobase.kernels import measure as module
from rheobase.kernels.measure import Measurement, measure
from rheobase.neurons.lif import LIF


def test_rates_follow_from_the_times() -> None:
    m = Measurement("lif", kernel_ms=2.0, reference_ms=30.0, updates=1000, differing=0.0, compile_seconds=0.0)
    assert m.updates_per_second == 500_000.0
    assert m.speed_up == 15.0


def test_counts_updates_and_compares_both_backends() -> None:
    m = measure(LIF(), steps=4, batch=3, size=5, repeats=1)
    assert (m.neuron, m.updates, m.differing) == ("lif", 60, 0.0)
    assert m.kernel_ms > 0
    assert m.reference_ms > 0


def test_a_wrong_kernel_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    true_sequence = module.sequence

    def wrong(neuron: LIF, current: Any, *, backend: Any) -> Any:
        threshold = 1.5 if backend == "numba" else 1.0
        return true_sequence(neuron.replace(threshold=threshold), current, backend=backend)

    monkeypatch.setattr(module, "sequence", wrong)
    with pytest.raises(ValueError, match="LIF: the kernel and the reference differ in"):
        measure(LIF(), steps=20, batch=3, size=5, repeats=1)


@pytest.mark.parametrize("name", ["steps", "batch", "size", "repeats"])
def test_sizes_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: got 0, wanted at least 1"):
        measure(LIF(), **{name: 0})
