"""A population in one kernel = the ordinary network, member after member: spikes, membranes, reductions.

A pairwise cover of neurons x reset x timing x refractoriness x read-out x connections x input. Weights and
inputs are multiples of 1/64, so that their sums are exact in whatever order an ordinary product makes them.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pytest
import torch
from neuron_cases import perturbed, spiking_neurons
from pairwise import Case, few_of, pairwise
from torch import Tensor, nn
from torch.func import functional_call

from rheobase.kernels.constant import Constant
from rheobase.kernels.reduction import Reduction
from rheobase.layers.dense import Dense
from rheobase.layers.members import batch_for, run_members, unsuited
from rheobase.layers.network import Network
from rheobase.layers.neurons import Neurons
from rheobase.layers.recurrent import Recurrent
from rheobase.neurons.base import Neuron
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.neurons.synaptic_integrator import SynapticIntegrator
from rheobase.registry import find, name_of

STEPS, BATCH, INPUTS, HIDDEN, OUTPUTS, MEMBERS = 23, 19, 5, 7, 3, 3

FACTORS: dict[str, list[Hashable]] = {
    "neuron": [name_of(cls) for cls in spiking_neurons()],
    "reset": ["subtract", "value", "none"],
    "timing": ["immediate", "delayed", "old", "late"],
    "refractory": [0.0, 2.0],
    "readout": ["lif", "leaky_integrator", "synaptic_integrator"],
    "hidden": ["alone", "recurrent", "delayed", "beside LIF"],
    "input": ["spikes", "values", "constant"],
    "own": ["all", "weights"],
}
COVER = pairwise([FACTORS])
#: What is left of each signal.
WAYS: dict[str, list[str]] = {"spikes": ["sum", "first"], "v": ["max", "last"]}


def chosen() -> list[Any]:
    """The cover; but for a few cases in which each choice occurs, all are slow (each compiles a kernel)."""
    few = few_of(COVER)
    return [
        pytest.param(case, id=label(case), marks=() if case in few else pytest.mark.slow) for case in COVER
    ]


def label(case: Case) -> str:
    return "-".join(str(value) for value in case.values())


def grid(x: Tensor) -> Tensor:
    return (x * 64).round() / 64


def scale(neuron: Any) -> float:
    return max(abs(float(neuron.threshold) - float(neuron.v_rest)), 0.1)


def build(case: Case) -> Network:
    """2-layer networks whose hidden neurons are driven from far too weak to far too strong."""
    cls, trained = find(Neuron, str(case["neuron"])), case["own"] == "all"
    names = cls.parameter_names()
    options: dict[str, Any] = {name: case[name] for name in ("reset", "timing", "refractory")}
    neuron = cls(**options)
    moved = [name for name in names if perturbed(cls, name, getattr(neuron, name)) != 0.0]
    trainable = moved if trained else []
    size, ports = HIDDEN, len(neuron.inputs)
    hidden: nn.Module
    if case["hidden"] == "alone":
        hidden = Neurons(neuron, trainable=trainable, size=size)
    else:
        own = {"plain": (LIF(), 2), "own": (neuron, size - 2)} if case["hidden"] == "beside LIF" else neuron
        number = None if case["hidden"] == "beside LIF" else size
        delays = 3.0 if case["hidden"] == "delayed" else None
        hidden = Recurrent(own, number, delays=delays, trainable=trainable if number else ())
    columns = 2 + ports * (size - 2) if case["hidden"] == "beside LIF" else ports * size
    readouts: dict[str, Neuron] = {
        "lif": LIF(),
        "leaky_integrator": LeakyIntegrator(),
        "synaptic_integrator": SynapticIntegrator(),
    }
    net = Network(
        fc=Dense(INPUTS, columns),
        hidden=hidden,
        out=Dense(size, OUTPUTS),
        readout=Neurons(readouts[str(case["readout"])]),
    )
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith(("weight", "bias")):
                spread = scale(neuron) if "out" not in name else 1.0
                parameter.copy_(grid(spread * torch.randn(parameter.shape)))
                parameter += grid(0.5 * spread * torch.ones(())) if name == "layers.fc.weight" else 0.0
    return net


def own_values(net: Network) -> dict[str, Tensor]:
    """Parameters of three members: connections anew on the grid, those of neurons near the network's."""
    values = {}
    for name, parameter in net.named_parameters():
        drawn = torch.randn(MEMBERS, *parameter.shape)
        if name.endswith(("weight", "bias")):
            values[name] = grid(parameter.detach() * (1 + 0.3 * drawn))
        else:
            values[name] = parameter.detach() * (1 + 0.02 * drawn)
    return values


def stimulus(case: Case) -> Tensor | Constant:
    if case["input"] == "spikes":
        return (torch.rand(STEPS, BATCH, INPUTS) < 0.4).float()
    if case["input"] == "constant":
        return Constant(grid(torch.rand(BATCH, INPUTS)), STEPS)
    return grid(torch.rand(STEPS, BATCH, INPUTS))


@pytest.mark.parametrize("case", chosen())
def test_same_as_the_network_step_by_step(case: Case) -> None:
    torch.manual_seed(5)
    net = build(case)
    inputs, values = stimulus(case), own_values(net)
    assert unsuited(net, inputs) is None
    layer = net.neurons()["readout"]
    names = [*(["spikes"] if layer.spiking else []), "v"]
    reductions = [Reduction(name, how) for name in names for how in WAYS[name]]  # type: ignore[arg-type]
    batch = batch_for(net, inputs)
    # Spikes as blocks of samples, or for a few neurons written out; and as lists.
    batches = [batch, batch.listed()] if batch.feed == "spikes" else [batch]
    results = [run_members(net, values, given, reductions, names) for given in batches]
    rates = []
    for module in (net.layers["hidden"], layer):
        module.backend = "torch"  # type: ignore[assignment]
    assert unsuited(net, inputs) == "layer 'hidden' asks for backend 'torch'"
    for member in range(MEMBERS):
        own = {name: value[member] for name, value in values.items()}
        record = ["hidden.spikes", *(f"readout.{name}" for name in names)]
        with torch.no_grad():
            expected = functional_call(net, own, (inputs,), {"record": record})
        rates.append(float(expected["hidden.spikes"].mean()))
        for reduced, whole in results:
            for name, got in zip(names, whole, strict=True):
                assert torch.equal(got[member], expected[f"readout.{name}"])
            for reduction, got in zip(reductions, reduced, strict=True):
                assert torch.equal(got[member], reduction.of(expected[f"readout.{reduction.signal}"]))
    assert 0.005 < sum(rates) / MEMBERS < 0.95, "the case tells nothing"
