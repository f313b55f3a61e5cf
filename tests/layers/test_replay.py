"""Steps that are replayed: the same bits as steps that are run, and when they are not replayed."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rheobase as rb
from rheobase.coding.losses import CrossEntropyLast, CrossEntropyMax, CrossEntropyMean, CrossEntropySum
from rheobase.layers import replay
from rheobase.layers.network import Record
from rheobase.layers.replay import Replay
from rheobase.rules.base import Lesson

STEPS, BATCH, INPUTS, HIDDEN, CLASSES = 12, 6, 9, 20, 3


def _feed_forward() -> rb.Network:
    return rb.Network(
        fc=rb.Dense(INPUTS, HIDDEN, gain=4.0),
        hidden=rb.Neurons(rb.LIF(tau_m=5.0)),
        out=rb.Dense(HIDDEN, CLASSES),
        readout=rb.Neurons(rb.LeakyIntegrator()),
    )


def _wide() -> rb.Network:
    """Its hidden layer and read-out are one kernel."""
    return rb.Network(
        fc=rb.Dense(INPUTS, 600, gain=4.0),
        hidden=rb.Neurons(rb.LIF(tau_m=5.0)),
        out=rb.Dense(600, CLASSES),
        readout=rb.Neurons(rb.LeakyIntegrator()),
    )


def _recurrent(size: int = HIDDEN, **options: Any) -> rb.Network:
    return rb.Network(
        fc=rb.Dense(INPUTS, size, gain=4.0),
        hidden=rb.Recurrent(rb.AdaptiveLIF(), size, **options),
        out=rb.Dense(size, CLASSES),
        readout=rb.Neurons(rb.LeakyIntegrator()),
    )


def _mixed() -> rb.Network:
    groups = {"fast": (rb.LIF(), 12), "slow": (rb.AdaptiveLIF(), 8)}
    return rb.Network(
        fc=rb.Dense(INPUTS, HIDDEN, gain=4.0),
        hidden=rb.Recurrent(groups, signs=0.8, density=0.5),
        out=rb.Dense(HIDDEN, CLASSES),
        readout=rb.Neurons(rb.LeakyIntegrator()),
    )


NETWORKS: dict[str, Callable[[], rb.Network]] = {
    "feed-forward": _feed_forward,
    "wide": _wide,
    "recurrent": _recurrent,
    "recurrent, in one kernel": lambda: _recurrent(1000),
    "recurrent, sparse, with signs": lambda: _recurrent(1000, signs=0.8, density=0.3),
    "mixed": _mixed,
    "checkpoints": lambda: _recurrent(checkpoint_every=4),
}


def _loss(record: Record, y: Tensor) -> Tensor:
    return CrossEntropySum()(record["readout.v"], y)


def _steps(network: rb.Network, number: int, constant: bool, dtype: torch.dtype) -> list[list[Tensor]]:
    """Losses, read-outs and gradients of steps on new data, each of which changes the weights."""
    draw = torch.Generator().manual_seed(3)
    step, found = Replay(network, _loss), []
    for _ in range(number):
        network.zero_grad()
        shape = (BATCH, INPUTS) if constant else (STEPS, BATCH, INPUTS)
        x, y = (
            torch.rand(shape, generator=draw, dtype=dtype),
            torch.randint(CLASSES, (BATCH,), generator=draw),
        )
        loss, record = step(rb.Constant(x, STEPS) if constant else x, y, record=["readout.v"])
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        found.append([loss, record.output, record["readout.v"], *(g.clone() for g in gradients)])
        with torch.no_grad():
            for p in network.parameters():
                if p.grad is not None:
                    p -= 0.01 * p.grad
    assert not step.refused
    return found


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("constant", [False, True], ids=["sequence", "constant"])
def test_same_bits_as_steps_that_are_run(name: str, constant: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]()
    other = copy.deepcopy(network)
    replayed = _steps(network, 5, constant, torch.float32)
    monkeypatch.setattr(replay, "TAPES", 0)  # nothing is recorded
    run = _steps(other, 5, constant, torch.float32)
    assert any(float(g.abs().sum()) > 0 for g in run[0][3:])
    for ours, expected in zip(replayed, run, strict=True):
        assert len(ours) == len(expected)
        assert all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True))


def test_same_bits_in_double_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = _recurrent().double()
    other = copy.deepcopy(network)
    replayed = _steps(network, 4, False, torch.float64)
    monkeypatch.setattr(replay, "TAPES", 0)
    for ours, expected in zip(replayed, _steps(other, 4, False, torch.float64), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True))


def _counting(network: rb.Network) -> list[int]:
    """How often the network is run, which it is not when a step is replayed."""
    runs = [0]
    forward = network.forward

    def counted(*args: Any, **options: Any) -> Record:
        runs[0] += 1
        return forward(*args, **options)

    network.forward = counted  # type: ignore[method-assign]
    return runs


def _again(step: Replay, number: int = 1, *, batch: int = BATCH, record: tuple[str, ...] = ()) -> None:
    for _ in range(number):
        step(torch.rand(STEPS, batch, INPUTS), torch.zeros(batch).long(), record=["readout.v", *record])


@pytest.fixture
def trained() -> tuple[rb.Network, Replay, list[int]]:
    torch.manual_seed(0)
    network = _feed_forward()
    return network, Replay(network, _loss), _counting(network)


def test_the_third_step_of_a_kind_is_the_first_to_be_replayed(
    trained: tuple[rb.Network, Replay, list[int]],
) -> None:
    _, step, runs = trained
    _again(step, 5)
    assert runs == [2]
    _again(step, 5, batch=4)
    assert runs == [4]
    _again(step, 5, record=("hidden.spikes",))
    assert runs == [6]
    assert step.refused == []


def test_gradients_add_up(trained: tuple[rb.Network, Replay, list[int]]) -> None:
    network, step, _ = trained
    x, y = torch.rand(STEPS, BATCH, INPUTS), torch.zeros(BATCH).long()
    weight = network.layers["fc"].weight
    for _ in range(5):
        network.zero_grad()
        step(x, y, record=["readout.v"])
    once = weight.grad.clone()
    step(x, y, record=["readout.v"])
    step(x, y, record=["readout.v"])
    assert torch.equal(weight.grad, once + once + once)
    network.zero_grad(set_to_none=False)
    step(x, y, record=["readout.v"])
    assert torch.equal(weight.grad, once)


def test_what_was_handed_out_stays_as_it_was(trained: tuple[rb.Network, Replay, list[int]]) -> None:
    network, step, _ = trained
    kept = []
    for _ in range(6):
        network.zero_grad()
        loss, record = step(torch.rand(STEPS, BATCH, INPUTS), torch.zeros(BATCH).long(), record=["readout.v"])
        own = [loss, record.output, record["readout.v"], record.state["hidden"]["v"]]
        own += [p.grad for p in network.parameters() if p.grad is not None]
        kept.append((own, [t.clone() for t in own]))
    for own, copies in kept:
        assert all(torch.equal(a, b) for a, b in zip(own, copies, strict=True))


@pytest.mark.parametrize(
    "change",
    [
        lambda net: net.layers.update({"out": rb.Dense(HIDDEN, CLASSES)}),
        lambda net: setattr(net.layers["fc"], "bias", None),
        lambda net: setattr(net.layers["fc"], "weight", nn.Parameter(torch.rand(HIDDEN, INPUTS))),
        lambda net: setattr(net.layers["fc"].weight, "data", torch.rand(HIDDEN, INPUTS)),
        lambda net: net.layers["fc"].weight.requires_grad_(False),
        lambda net: net.eval(),
    ],
    ids=["layer", "no bias", "parameter", "memory", "frozen", "mode"],
)
def test_a_network_that_changed_is_recorded_anew(
    change: Callable[[rb.Network], object], trained: tuple[rb.Network, Replay, list[int]]
) -> None:
    network, step, runs = trained
    _again(step, 3)
    change(network)
    network.zero_grad()
    x, y = torch.rand(STEPS, BATCH, INPUTS), torch.zeros(BATCH).long()
    step(x, y, record=["readout.v"])
    assert runs == [3]
    found = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    network.zero_grad()
    _loss(network(x, record=["readout.v"]), y).backward()
    expected = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    runs[0] = 0
    _again(step, 3)
    assert runs == [0]


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("Noise", {"noise": rb.Noise(std=0.1)}),
        ("OverTime", {"plain": rb.OverTime(nn.Linear(CLASSES, CLASSES))}),
        ("Delayed", {"late": rb.Delayed(CLASSES, CLASSES, delays=2.0)}),
    ],
)
def test_other_layers_are_run_as_ever(name: str, layers: dict[str, nn.Module]) -> None:
    network = rb.Network(fc=rb.Dense(INPUTS, CLASSES), **layers, readout=rb.Neurons(rb.LeakyIntegrator()))
    step, runs = Replay(network, _loss), _counting(network)
    _again(step, 4)
    assert runs == [4]
    assert len(step.refused) == 1
    assert name in step.refused[0]


def test_what_looks_at_values_is_run_as_ever(trained: tuple[rb.Network, Replay, list[int]]) -> None:
    network, _, runs = trained

    def loss(record: Record, y: Tensor) -> Tensor:
        return _loss(record, y) * (1.0 + record["readout.v"].mean().item())

    step = Replay(network, loss)
    _again(step, 4)
    assert runs == [4]
    assert "looks at a value" in step.refused[0]


def test_hooks_are_called(trained: tuple[rb.Network, Replay, list[int]]) -> None:
    network, step, runs = trained
    _again(step, 3)
    called = []
    network.layers["fc"].register_forward_hook(lambda *_: called.append(1))
    _again(step, 3)
    assert len(called) == 3
    assert runs == [5]
    assert "hooks" in step.refused[0]


def test_a_choice_that_comes_out_otherwise_is_taken() -> None:
    torch.manual_seed(0)
    network = rb.Network(fc=rb.Dense(784, 600), hidden=rb.Neurons(rb.LeakyIntegrator()))
    step, runs = Replay(network, lambda r: r.output.square().sum()), _counting(network)
    dense, thin = torch.rand(32, 784), torch.rand(32, 784) * (torch.rand(32, 784) < 0.05)
    for x, run in ((dense, 2), (thin, 4), (dense, 4), (thin, 4)):
        for _ in range(3):
            network.zero_grad()
            step(rb.Constant(x, 5))
        assert runs[0] <= run
        found = network.layers["fc"].weight.grad.clone()
        network.zero_grad()
        network(rb.Constant(x, 5)).output.square().sum().backward()
        runs[0] -= 1
        assert torch.equal(network.layers["fc"].weight.grad, found)


def test_labels_are_checked_when_replayed(trained: tuple[rb.Network, Replay, list[int]]) -> None:
    _, step, _ = trained
    _again(step, 4)
    with pytest.raises(ValueError, match=r"labels from 3 to 3, wanted 0 to 2"):
        step(torch.rand(STEPS, BATCH, INPUTS), torch.full((BATCH,), 3), record=["readout.v"])


@pytest.mark.parametrize("loss", [CrossEntropyMean(), CrossEntropyMax(), CrossEntropyLast()])
def test_other_losses(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    network = _feed_forward()
    step, runs = Replay(network, lambda record, y: loss(record["readout.v"], y)), _counting(network)
    x, y = torch.rand(STEPS, BATCH, INPUTS), torch.arange(BATCH) % CLASSES
    losses = [step(x, y, record=["readout.v"])[0] for _ in range(4)]
    assert runs == [2]
    assert step.refused == []
    assert all(torch.equal(a, losses[0]) for a in losses)


def test_large_steps_are_run_as_ever(
    monkeypatch: pytest.MonkeyPatch, trained: tuple[rb.Network, Replay, list[int]]
) -> None:
    monkeypatch.setattr(replay, "MOST", 1 << 10)
    _, step, runs = trained
    _again(step, 4)
    assert runs == [4]
    assert "more than" in step.refused[0]


def test_tapes_share_the_memory_that_a_network_may_keep(
    monkeypatch: pytest.MonkeyPatch, trained: tuple[rb.Network, Replay, list[int]]
) -> None:
    _, step, runs = trained
    _again(step, 3)
    (kind,) = step._steps._kinds.values()
    monkeypatch.setattr(replay, "MOST", kind.takes[0].tape.bytes * 3 // 2)
    _again(step, 4, batch=BATCH + 1)  # the second of these shapes has half of that left
    assert runs == [6]
    assert len(step.refused) == 1
    assert "more than" in step.refused[0]


def test_backpropagation_replays_by_itself_and_forgets_with_the_network() -> None:
    network, loss = _feed_forward(), CrossEntropySum()
    runs = _counting(network)

    def judge(record: Record, y: Tensor) -> Tensor:
        return loss(record["readout.v"], y)

    y = torch.zeros(BATCH).long()
    lesson = Lesson(
        torch.rand(STEPS, BATCH, INPUTS),
        lambda record: judge(record, y),
        ("readout.v",),
        judge=judge,
        judged_with=(y,),
    )
    losses = [rb.BPTT().accumulate(network, lesson, {}).loss for _ in range(4)]
    assert runs == [2]
    assert all(torch.equal(a, losses[0]) for a in losses)
    del network.forward  # the counting one, which holds the network
    gone = weakref.ref(network)
    del network
    gc.collect()
    assert gone() is None
