"""Ours: the layers as a user writes them, on the fused kernels."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmarks import lif
from benchmarks.interface import Data, Forms, Outputs, Runner
from benchmarks.torch_training import layer_gradient, training_step
from benchmarks.workloads import w1
from rheobase.kernels.constant import Constant
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.layers.neurons import Neurons
from rheobase.neurons.base import time_constant
from rheobase.neurons.lif import LIF
from rheobase.surrogate import FastSigmoid

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


def _w1(data: Data) -> Runner:
    network: Network | None = None

    def forward(linear1: nn.Linear, linear2: nn.Linear, x: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        nonlocal network
        if network is None:
            network = Network(
                dense1=_dense(linear1), hidden=_neurons(), dense2=_dense(linear2), readout=_neurons()
            )
        # As in training: nobody asks for the hidden spikes, so they need not be kept.
        membrane = network(Constant(x, steps), record=["readout.v"])["readout.v"]
        return membrane, membrane

    def hidden_spikes() -> Any:
        if network is None:
            raise RuntimeError("step first")
        x = torch.from_numpy(data["x"])
        with torch.no_grad():
            return network(Constant(x, w1.STEPS), record=["hidden.spikes"])["hidden.spikes"].numpy() > 0

    runner = training_step(data, forward)

    def check() -> Outputs:
        if runner.check is None:
            raise RuntimeError("nothing to check")
        gradients = runner.check().gradients  # evaluated from the data's weights, which it leaves in place
        return Outputs(hidden_spikes(), gradients)

    return Runner(runner.step, check)


def _w7(data: Data) -> Runner:
    neurons = _neurons()

    def forward(linear: nn.Linear, x: Tensor) -> Tensor:
        return cast(Any, neurons(_dense(linear)(x))).output

    return layer_gradient(data, forward)


WORKLOADS: dict[str, Forms] = {"w1": {"layers": _w1}, "w7": {"layers": _w7}}
