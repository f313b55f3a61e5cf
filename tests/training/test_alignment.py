"""The angle between a rule's direction and the gradient, and that measuring it leaves no trace."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import noisy, small

from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.layers.neurons import Neurons
from rheobase.layers.over_time import OverTime
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.rules.base import Lesson
from rheobase.rules.bptt import BPTT
from rheobase.training.alignment import align, cosine, measured_at, worth_measuring
from rheobase.training.checkpoint import read_checkpoint
from rheobase.training.fit import fit


def rows(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def test_cosine_by_hand() -> None:
    a = {"x.w": torch.tensor([3.0, 0.0]), "y.w": torch.tensor([[4.0]])}
    b = {"x.w": torch.tensor([1.0, 1.0]), "y.w": torch.tensor([[-1.0]]), "z.w": torch.tensor([1.0])}
    assert cosine(a, b) == pytest.approx((3 - 4) / (5 * 2))
    assert cosine(a, b, "x.") == pytest.approx(math.sqrt(0.5))
    assert cosine(a, b, "y.") == -1.0
    assert cosine(a, b, "z.") is None  # a has no direction there
    assert cosine({"x.w": torch.zeros(2)}, b) is None


def test_the_points_are_the_first_the_last_and_evenly_between() -> None:
    for points in (2, 3, 20):
        steps = [step for step in range(1, 1001) if measured_at(step, 1000, points)]
        assert (len(steps), steps[0], steps[-1]) == (points, 1, 1000)
        gaps = [b - a for a, b in itertools.pairwise(steps[1:])]
        assert not gaps or max(gaps) - min(gaps) <= 1
    assert not any(measured_at(step, 100, 0) for step in range(1, 101))
    assert all(measured_at(step, 4, 50) for step in range(1, 5))  # more points than steps: every step
    assert worth_measuring(BPTT(truncation=3))
    assert not worth_measuring(BPTT())


def test_the_exact_gradient_has_cosine_one_and_nothing_is_left_behind() -> None:
    torch.manual_seed(0)
    net = Network(
        fc=Dense(4, 3),
        norm=OverTime(torch.nn.BatchNorm1d(3)),
        drop=OverTime(torch.nn.Dropout(0.5)),
        out=Neurons(LeakyIntegrator()),
    )
    lesson = Lesson(torch.rand(5, 6, 4), lambda record: record["out.v"][-1].square().sum(), ("out.v",))
    before = torch.get_rng_state()
    BPTT().accumulate(net, lesson, {})
    gradients = {name: p.grad for name, p in net.named_parameters()}
    copies = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    buffers = {name: b.clone() for name, b in net.named_buffers()}
    random = torch.get_rng_state()
    found = align(net, lesson, before)
    assert found.whole == pytest.approx(1.0, abs=1e-9)  # the same dropout as the rule saw
    assert found.layers == {"fc": pytest.approx(1.0, abs=1e-6), "norm": pytest.approx(1.0, abs=1e-9)}
    assert all(p.grad is gradients[name] for name, p in net.named_parameters())
    assert all(torch.equal(p.grad, copies[name]) for name, p in net.named_parameters() if p.grad is not None)
    assert all(torch.equal(b, buffers[name]) for name, b in net.named_buffers())
    assert torch.equal(torch.get_rng_state(), random)


def test_a_run_has_the_same_bits_with_cosines_and_without(tmp_path: Path) -> None:
    one = noisy().replace(rule=BPTT(truncation=2))
    fit(one, tmp_path / "without", progress=False)
    with_cosines = one.replace(training=one.training.replace(cosines=3))
    fit(with_cosines, tmp_path / "with", progress=False)
    a, b = (
        read_checkpoint(tmp_path / name / "checkpoint", "last").checkpoint.tensors
        for name in ("without", "with")
    )
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert rows(tmp_path / "without", "cosine") == []
    logged = rows(tmp_path / "with", "cosine")
    assert [row["step"] for row in logged] == [1, 5, 9]
    assert all(0.0 < row["whole"] < 1.0 for row in logged)
    assert set(logged[0]["layers"]) == {"dense1", "hidden1", "dense2", "readout"}


def test_an_exact_rule_is_not_compared_with_itself(tmp_path: Path) -> None:
    fit(small(epochs=1, cosines=3), tmp_path / "run", progress=False)
    assert rows(tmp_path / "run", "cosine") == []
