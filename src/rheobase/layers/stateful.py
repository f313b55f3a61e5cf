"""What layers that know time have in common: state that the caller holds.

    run = layer(x, state, record)        run.output, run.state, run.traces

A network runs each of them in this one way, and every other layer on each time step alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from rheobase.kernels.constant import Constant
from rheobase.kernels.sequence import Run
from rheobase.layers.dense import Dense
from rheobase.neurons.base import Neuron


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

    def into(
        self, dense: Dense, x: Tensor | Constant, state: Mapping[str, Tensor] | None = None
    ) -> Run | None:
        """This layer and the dense connection behind it in one, or None where it gains nothing."""
        return None


class NeuronLayer(Stateful):
    """A layer of neurons: it may spike, be recorded, be the read-out."""

    @property
    @abstractmethod
    def spiking(self) -> bool:
        """Whether its output are spikes."""

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
