"""What layers that know time have in common: state that the caller holds.

    run = layer(x, state, record)        run.output, run.state, run.traces

A network runs each of them in this one way, and every other layer on each time step alone.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rheobase.kernels.constant import Constant
from rheobase.kernels.sequence import Run
from rheobase.layers.connection import trained_weight
from rheobase.layers.dense import Dense
from rheobase.neurons.base import Neuron
from rheobase.neurons.spiking import SpikingNeuron

#: What a layer emitted, among the signals that can be recorded.
SPIKES = "spikes"


class Joint(NamedTuple):
    """What a layer did together with connections around it.

    Attributes:
        output: What the connection behind made, or what the layer emitted, `[T, B, N]`.
        joined: Whether the connection behind was run.
        state: The layer's final state.
        signals: What was recorded.
    """

    output: Tensor
    joined: bool
    state: dict[str, Tensor]
    signals: dict[str, Tensor]


def signals_of(run: Run, record: Sequence[str]) -> dict[str, Tensor]:
    """The recorded signals of a run, with what was emitted if it is among them."""
    return run.traces | ({SPIKES: run.output} if SPIKES in record else {})


def joins(dense: Dense, x: Tensor | Constant) -> bool:
    """Whether a kernel may run this connection: all there is to it are the weights, of the input's type."""
    weight = trained_weight(dense)
    return not (
        weight is None  # others stand in for its own (`torch.func.functional_call`)
        or torch.compiler.is_compiling()
        or dense._forward_hooks  # what a dense layer does besides would be left out
        or dense._forward_pre_hooks
        or weight.dtype != x.dtype  # that of the trained values: the weights need not be worked out for that
    )


class Stateful(nn.Module, ABC):
    """A layer whose output at a step depends on earlier steps.

    A subclass writes `forward`: the output at all steps, from `state` (at rest and silent if None), with the
    state to go on from, and `record`ed state variables after each step.
    """

    @property
    @abstractmethod
    def states(self) -> tuple[str, ...]:
        """The names of the state variables that can be recorded."""

    @abstractmethod
    def forward(
        self, x: Tensor | Constant, state: Mapping[str, Tensor] | None = None, record: Sequence[str] = ()
    ) -> Run:
        """Run over all time steps of `x`, `[T, B, ...]`."""

    def join(
        self,
        before: Dense | None,
        x: Tensor | Constant,
        behind: Dense | None,
        state: Mapping[str, Tensor] | None = None,
        record: Sequence[str] = (),
    ) -> Joint:
        """Run the layer with the connection in front of it, and the one behind too where that saves work.

        A layer whose kernel can run connections along overrides this; here they are run apart.

        Args:
            before: What makes the layer's input from `x`; None if `x` is the input.
            x: `[T, B, ...]`.
            behind: The connection behind, which may be left to the caller.
            state: The layer's state.
            record: Of `states`, and "spikes" for what was emitted.
        """
        given = x if before is None else before(x)
        run: Run = self(given, state, [name for name in record if name != SPIKES])
        return Joint(run.output, joined=False, state=run.state, signals=signals_of(run, record))


class NeuronLayer(Stateful):
    """A layer of neurons: it may spike, be recorded, be the read-out."""

    @property
    @abstractmethod
    def spiking(self) -> bool:
        """Whether its output are spikes."""

    @property
    def signals(self) -> tuple[str, ...]:
        """The names of all that can be recorded of it: spikes, if it spikes, and its state variables."""
        return (SPIKES, *self.states) if self.spiking else self.states

    @property
    @abstractmethod
    def dt(self) -> float:
        """Duration of one time step in ms."""

    def alone(
        self, x: Tensor | Constant, state: Mapping[str, Tensor] | None = None, record: Sequence[str] = ()
    ) -> Run:
        """`forward`, but no derivative passes from one neuron of the layer to another.

        What a neuron gets from others counts as given; weights of connections within the layer still have
        the derivative that is their own.
        """
        run: Run = self(x, state, record)
        return run

    @abstractmethod
    def models(self) -> tuple[tuple[Neuron, slice], ...]:
        """The models as they were given, and which of the neurons are of each."""

    @functools.cached_property
    def refractory_steps(self) -> int:
        """The longest refractory period in steps."""
        steps = [model.refractory_steps for model, _ in self.models() if isinstance(model, SpikingNeuron)]
        return max(steps, default=0)
