"""Neurons of one model as a torch module: its parameters, trained or fixed, with their bounds."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from rheobase.config import fields_of
from rheobase.kernels.trace import trace
from rheobase.layers.projection import projected
from rheobase.neurons.base import Neuron
from rheobase.registry import unknown


class Population(nn.Module):
    """A neuron model whose parameters are this module's parameters and buffers, under their own names.

    Args:
        neuron: The model. Parameters may be one number or one value per neuron.
        trainable: Names of parameters to train. Before each use they are put back within the model's
            bounds, should a step of the optimizer have left them (projected gradient descent); an open
            bound is kept at a thousandth of the initial distance.
        size: Number of neurons; with it, trainable parameters are one per neuron, else one number.

    Attributes:
        neuron: The model as it was given.

    >>> from rheobase.neurons.lif import LIF
    >>> population = Population(LIF(), trainable=["tau_m"], size=3)
    >>> population.tau_m.shape, population.bound().tau_m is population.tau_m
    (torch.Size([3]), True)
    """

    neuron: Neuron

    def __init__(self, neuron: Neuron, *, trainable: Collection[str] = (), size: int | None = None) -> None:
        super().__init__()
        names = neuron.parameter_names()
        for name in trainable:
            if name not in names:
                raise ValueError(unknown(f"parameter of {type(neuron).__name__}", name, names))
        self.neuron = neuron
        self.trainable = tuple(name for name in names if name in trainable)
        for name in names:
            value = getattr(neuron, name)
            if name in self.trainable:
                tensor = torch.as_tensor(value, dtype=torch.get_default_dtype()).detach().clone()
                tensor = tensor.expand(size).clone() if size and not tensor.dim() else tensor
                setattr(self, name, nn.Parameter(tensor))
            elif isinstance(value, Tensor):
                self.register_buffer(name, value)
        self._bounds = {name: _bounds(neuron, name, getattr(self, name)) for name in self.trainable}
        self._tensors = tuple(n for n in names if isinstance(getattr(self, n, None), Tensor))
        self._states = tuple(neuron.initial())
        self._spiking = is_spiking(neuron)

    @property
    def states(self) -> tuple[str, ...]:
        """The names of the state variables, which can be recorded."""
        return self._states

    @property
    def spiking(self) -> bool:
        """Whether what the model emits are spikes."""
        return self._spiking

    @property
    def dt(self) -> float:
        """Duration of one time step in ms."""
        return self.neuron.dt

    def models(self) -> tuple[tuple[Neuron, slice], ...]:
        """The model as it was given, which all neurons are of."""
        return ((self.neuron, slice(None)),)

    def tensors(self) -> dict[str, Tensor]:
        """The parameters that are tensors: the trained ones, and those with a value per neuron."""
        return self.bounded({name: getattr(self, name) for name in self._tensors})

    def bounded(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Values of parameters, those that are trained put back within the model's bounds."""
        return {
            name: projected(value, *self._bounds[name]) if name in self._bounds else value
            for name, value in values.items()
        }

    def bound(self) -> Neuron:
        """The model with this module's own (trained, moved, cast) parameters in it."""
        return self.neuron.bind(self.tensors()) if self._tensors else self.neuron

    def extra_repr(self) -> str:
        trained = f", trainable={', '.join(self.trainable)}" if self.trainable else ""
        return f"{self.neuron}{trained}"


def _bounds(neuron: Neuron, name: str, initial: Tensor) -> tuple[float, float]:
    """The closed interval in which a trained parameter stays."""
    metadata = next(f.metadata for f in fields_of(type(neuron)) if f.name == name)
    low, high = metadata["at_least"], metadata["at_most"]
    if metadata["above"] is not None:
        low = metadata["above"] + 1e-3 * float((initial.detach() - metadata["above"]).min())
    return (-math.inf if low is None else low, math.inf if high is None else high)


def is_spiking(neuron: Neuron) -> bool:
    """Whether what the model emits are spikes (and not, say, a read-out's membrane).

    >>> from rheobase.neurons.leaky_integrator import LeakyIntegrator
    >>> from rheobase.neurons.lif import LIF
    >>> is_spiking(LIF(refractory=2.0, timing="late")), is_spiking(LeakyIntegrator())
    (True, False)
    """
    t = trace(neuron)
    nodes = t.tape.nodes

    def binary(n: int) -> bool:  # a spike that is kept as a state variable is emitted all the same
        op, args = nodes[n].op, nodes[n].args
        if op == "where":
            return binary(args[1]) and binary(args[2])
        return op == "spike" or (op == "const" and nodes[n].value in (0.0, 1.0))

    fires = any(nodes[n].op == "spike" for n in t.live([t.emitted]))
    return fires and (t.emitted not in t.new_states.values() or binary(t.emitted))
