"""A step that is replayed = the same step that is run, to the last bit: every neuron, every loss.

Where a loss looks at values, its steps are run and not replayed; their results are compared all the same.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rheobase.coding.losses.base import Loss
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network, Record
from rheobase.layers.neurons import Neurons
from rheobase.layers.replay import Replay
from rheobase.neurons.base import Neuron
from rheobase.neurons.lif import LIF
from rheobase.registry import catalogue, find

STEPS, BATCH, INPUTS, SIZE = 10, 4, 5, 6


def compare(
    network: Network, loss: Callable[..., Tensor], target: Callable[[], Tensor], record: tuple[str, ...]
) -> list[str]:
    """Whether five steps are the same in a copy of the network; why they are not replayed."""
    other, step = copy.deepcopy(network), Replay(network, loss)
    for _ in range(5):
        x, y = torch.randn(STEPS, BATCH, INPUTS), target()
        found, seen = step(x, y, record=record)
        run = other(x, record=record)
        expected = loss(run, y)
        expected.backward()
        assert torch.equal(found, expected)
        assert torch.equal(seen.output, run.output)
        both = zip(network.parameters(), other.parameters(), strict=True)
        for ours, theirs in both:
            assert (ours.grad is None) == (theirs.grad is None)
            assert ours.grad is None or theirs.grad is None or torch.equal(ours.grad, theirs.grad)
        for one in (network, other):
            with torch.no_grad():
                for p in one.parameters():
                    p -= 0.1 * (0.0 if p.grad is None else p.grad)
            one.zero_grad()
    return step.refused


@pytest.mark.parametrize("name", list(catalogue(Neuron)))
def test_every_neuron(name: str) -> None:
    torch.manual_seed(0)
    neuron = find(Neuron, name)()
    columns = SIZE * len(neuron.inputs)
    network = Network(fc=Dense(INPUTS, columns, gain=5.0), layer=Neurons(neuron))

    def loss(record: Record, y: Tensor) -> Tensor:
        return (record.output.sum(0) - y).square().mean()

    assert compare(network, loss, lambda: torch.rand(BATCH, SIZE), ()) == []


@pytest.mark.parametrize("trainable", [["tau_m"], ["tau_m", "threshold"]])
def test_parameters_of_neurons(trainable: list[str]) -> None:
    torch.manual_seed(0)
    layer = Neurons(LIF(tau_m=5.0), trainable=trainable, size=SIZE)
    network = Network(fc=Dense(INPUTS, SIZE, gain=5.0), layer=layer)

    def loss(record: Record, y: Tensor) -> Tensor:
        return (record["layer.v"] - y).square().mean()

    assert compare(network, loss, lambda: torch.rand(BATCH, SIZE), ("layer.v",)) == []


@pytest.mark.parametrize("name", list(catalogue(Loss)))
def test_every_loss(name: str) -> None:
    torch.manual_seed(0)
    network = Network(fc=Dense(INPUTS, SIZE, gain=5.0), readout=Neurons(LIF(tau_m=5.0)))
    loss = find(Loss, name)()
    signal = f"readout.{loss.signal}"

    def target() -> Tensor:
        if loss.trains_only:
            return (torch.rand(STEPS, BATCH, SIZE) < 0.2).float()
        return torch.randint(SIZE, (BATCH,)) if loss.labels_only else torch.rand(BATCH, SIZE)

    compare(network, lambda record, y: loss(record[signal], y), target, (signal,))
