"""Ours: the layers as a user writes them, on the fused kernels."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmarks import adaptive, lif
from benchmarks.interface import Data, Forms, Outputs, Runner
from benchmarks.torch_recurrent import Network as RecurrentNetwork
from benchmarks.torch_recurrent import Parameters, adding, gradient_with, last_error, sequences
from benchmarks.torch_training import layer_gradient, training_step, training_with
from benchmarks.workloads import w1, w4, w5
from rheobase.coding.losses import CrossEntropyCount, CrossEntropyMean, CrossEntropySum
from rheobase.kernels.constant import Constant
from rheobase.kernels.online import Window, at_rest, events_of, run_window
from rheobase.layers.dense import Dense
from rheobase.layers.members import batch_for, run_members
from rheobase.layers.network import Network
from rheobase.layers.neurons import Neurons
from rheobase.layers.recurrent import Recurrent
from rheobase.layers.replay import Replay
from rheobase.neurons.adaptive_lif import AdaptiveLIF
from rheobase.neurons.base import time_constant
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.neurons.synaptic_lif import SynapticLIF
from rheobase.rules.base import Lesson
from rheobase.rules.superspike import Superspike
from rheobase.surrogate import FastSigmoid, Triangular

NAME = "rheobase"
KIND = "ours"
VERSION = version("rheobase")


def _neurons() -> Neurons:
    return Neurons(
        LIF(
            tau_m=time_constant(lif.BETA),
            threshold=lif.THRESHOLD,
            timing="delayed",
            surrogate=FastSigmoid(slope=lif.SLOPE),
        )
    )


def _dense(linear: nn.Linear) -> Dense:
    dense = Dense(linear.in_features, linear.out_features)
    dense.weight, dense.bias = linear.weight, linear.bias
    return dense


def _w1_network(linear1: nn.Linear, linear2: nn.Linear) -> Network:
    return Network(dense1=_dense(linear1), hidden=_neurons(), dense2=_dense(linear2), readout=_neurons())


def _w1(data: Data) -> Runner:
    network: Network | None = None

    def forward(linear1: nn.Linear, linear2: nn.Linear, x: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        nonlocal network
        if network is None:
            network = _w1_network(linear1, linear2)
        # As in training: nobody asks for the hidden spikes, so they need not be kept.
        membrane = network(Constant(x, steps), record=["readout.v"])["readout.v"]
        return membrane, membrane

    runner = training_step(data, forward, CrossEntropySum())
    return _with_hidden_spikes(runner, lambda: network, Constant(torch.from_numpy(data["x"]), w1.STEPS))


def _w1_replayed(data: Data) -> Runner:
    """The same, its steps recorded once and replayed: as in training, where backpropagation does so."""
    network: Network | None = None
    step: Replay | None = None
    loss = CrossEntropySum()

    def gradient(linear1: nn.Linear, linear2: nn.Linear, x: Tensor, y: Tensor) -> Tensor:
        nonlocal network, step
        if network is None or step is None:
            network = _w1_network(linear1, linear2)
            step = Replay(network, lambda record, y: loss(record["readout.v"], y))
        return step(Constant(x, w1.STEPS), y, record=["readout.v"])[1].output

    runner = training_with(data, gradient)
    return _with_hidden_spikes(runner, lambda: network, Constant(torch.from_numpy(data["x"]), w1.STEPS))


def _with_hidden_spikes(
    runner: Runner, network: Callable[[], Network | None], x: Tensor | Constant
) -> Runner:
    """The same, but that the hidden spikes, which a step does not keep, are recorded for the check."""

    def check() -> Outputs:
        if runner.check is None:
            raise RuntimeError("nothing to check")
        gradients = runner.check().gradients  # evaluated from the data's weights, which it leaves in place
        trained = network()
        if trained is None:
            raise RuntimeError("step first")
        with torch.no_grad():
            spikes = trained(x, record=["hidden.spikes"])["hidden.spikes"]
        return Outputs(spikes.numpy() > 0, gradients)

    return Runner(runner.step, check)


def _w7(data: Data) -> Runner:
    neurons = _neurons()

    def forward(linear: nn.Linear, x: Tensor) -> Tensor:
        return cast(Any, neurons(_dense(linear)(x))).output

    return layer_gradient(data, forward)


def _recurrent_network(p: Parameters, checkpoint_every: int | None) -> Network:
    neurons, inputs = p["w_in"].shape
    neuron = AdaptiveLIF.preset(
        "eprop",
        tau_m=adaptive.TAU_M,
        tau_a=adaptive.TAU_A,
        threshold=adaptive.THRESHOLD,
        beta=adaptive.BETA,
        detach=True,
        surrogate=Triangular(damping=adaptive.GAMMA),
    )
    hidden = Recurrent(neuron, neurons, checkpoint_every=checkpoint_every)
    network = Network(
        dense1=Dense(inputs, neurons),
        hidden=hidden,
        dense2=Dense(neurons, len(p["w_out"])),
        readout=Neurons(LeakyIntegrator(tau_m=adaptive.TAU_READOUT)),
    )
    for layer, weight, bias in (("dense1", "w_in", "b_in"), ("dense2", "w_out", "b_out")):
        dense = cast(Dense, network.layers[layer])
        dense.weight, dense.bias = p[weight], p[bias]
    hidden.parametrizations.weight.original = p["w_rec"]  # type: ignore[union-attr]
    return network


def _sequences(data: Data, network: RecurrentNetwork) -> Runner:
    return sequences(data, network, CrossEntropyMean())


def _recurrent(
    task: Callable[[Data, RecurrentNetwork], Runner], checkpoint_every: int | None = None
) -> Callable[[Data], Runner]:
    def factory(data: Data) -> Runner:
        network: Network | None = None

        def forward(p: Parameters, x: Tensor) -> tuple[Tensor, Tensor]:
            nonlocal network
            if network is None:
                network = _recurrent_network(p, checkpoint_every)
            membranes = network(x).output  # as in training: nobody asks for the hidden spikes
            return membranes, membranes

        return _with_hidden_spikes(task(data, forward), lambda: network, torch.from_numpy(data["x"]))

    return factory


def _recurrent_replayed(data: Data) -> Runner:
    """W2, its steps recorded once and replayed."""
    network: Network | None = None
    step: Replay | None = None

    def gradient(p: Parameters, x: Tensor, y: Tensor) -> Tensor:
        nonlocal network, step
        if network is None or step is None:
            network = _recurrent_network(p, None)
            step = Replay(network, lambda record, y: last_error(record.output, y))
        return step(x, y)[1].output

    runner = gradient_with(data, gradient)
    return _with_hidden_spikes(runner, lambda: network, torch.from_numpy(data["x"]))


def _w4_neuron() -> SynapticLIF:
    return SynapticLIF.preset("superspike")


def _w4_kernel(hoisted: bool) -> Callable[[Data], Runner]:
    """The kernel of a window, with the input's events listed beforehand, or not."""

    def factory(data: Data) -> Runner:
        neuron = _w4_neuron()
        x, y, w = (torch.from_numpy(data[name]) for name in ("x", "y", "w"))
        rest = at_rest(neuron, w4.NEURONS, w4.INPUTS, torch.float32)
        listed = events_of(x)

        def step() -> Window:
            events = listed if hoisted else events_of(x)
            return run_window(neuron, w4.RISE, w4.DECAY, None, events, w, y, rest)

        def check() -> Outputs:
            found = step()
            return Outputs(found.spikes.numpy()[:, None] > 0, {"w": found.total.numpy()})

        return Runner(step, check)

    return factory


def _w4_rule(data: Data) -> Runner:
    """The rule on a network, as in training."""
    x, y = (torch.from_numpy(data[name]).unsqueeze(1) for name in ("x", "y"))
    network = Network(dense=Dense(w4.INPUTS, w4.NEURONS, bias=False), readout=Neurons(_w4_neuron()))
    layer = cast(Dense, network.layers["dense"])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(data["w"]))
    rule = Superspike(continuous=True)
    lesson = Lesson(x, lambda record: torch.zeros(()), (), y)

    def step() -> Tensor:
        layer.weight.grad = None
        return rule.accumulate(network, lesson, {}).record.output

    def check() -> Outputs:
        spikes = step()
        assert layer.weight.grad is not None
        return Outputs(spikes.numpy() > 0, {"w": -w4.STEPS * layer.weight.grad.numpy()})

    return Runner(step, check)


@torch.no_grad()
def _w5(data: Data) -> Runner:
    p = {name: torch.from_numpy(data[name]) for name in w5.PARAMETERS}
    x, y = torch.from_numpy(data["x"]), torch.from_numpy(data["y"])
    neurons = LIF(tau_m=time_constant(w5.BETA), threshold=w5.THRESHOLD, timing="delayed")
    network = Network(
        dense1=Dense(p["w1"].shape[2], p["w1"].shape[1]),
        hidden=Neurons(neurons),
        dense2=Dense(p["w2"].shape[2], p["w2"].shape[1]),
        readout=Neurons(neurons),
    )
    names = {"w1": "dense1.weight", "b1": "dense1.bias", "w2": "dense2.weight", "b2": "dense2.bias"}
    values = {f"layers.{name}": p[key] for key, name in names.items()}
    loss = CrossEntropyCount()

    def step() -> Tensor:
        (counts,), _ = run_members(network, values, batch_for(network, x), [loss.reduction])
        return loss.of_members(counts, y)

    def check() -> Outputs:
        few = {name: value[: w5.CHECKED] for name, value in values.items()}
        _, (spikes,) = run_members(network, few, batch_for(network, x), (), ["spikes"])
        return w5.outputs(spikes.transpose(0, 1).numpy(), data, step().numpy())

    return Runner(step, check)


WORKLOADS: dict[str, Forms] = {
    "w1": {"layers": _w1, "layers, steps replayed": _w1_replayed},
    "w2": {"layers": _recurrent(adding), "layers, steps replayed": _recurrent_replayed},
    "w3": {"layers": _recurrent(_sequences)},
    "w3-long": {"layers, checkpoints every 100 steps": _recurrent(_sequences, 100)},
    "w4": {
        "one kernel, events listed beforehand": _w4_kernel(True),
        "one kernel": _w4_kernel(False),
        "the rule on a network": _w4_rule,
    },
    "w5": {"members together": _w5},
    "w7": {"layers": _w7},
}
