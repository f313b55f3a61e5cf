"""Groups of neurons within a recurrent layer, and the names of their state variables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rheobase.neurons.base import Neuron

HISTORY = "history"


class Group(NamedTuple):
    """Neurons of one model within a recurrent layer.

    Attributes:
        name: Stands before the names of its state variables ("name.v"); "" for a layer's only group.
        neuron: The model; parameters that are tensors (one number, or one per neuron) get gradients.
        size: The number of neurons.

    >>> from rheobase.neurons.lif import LIF
    >>> Group("regular", LIF(), 120).columns
    120
    """

    name: str
    neuron: Neuron
    size: int

    @property
    def columns(self) -> int:
        """The number of input values per time step: one per neuron and input."""
        return self.size * len(self.neuron.inputs)

    def label(self, variable: str) -> str:
        """The name of a state variable within the layer.

        >>> from rheobase.neurons.lif import LIF
        >>> Group("fast", LIF(), 3).label("v"), Group("", LIF(), 3).label("v")
        ('fast.v', 'v')
        """
        return f"{self.name}.{variable}" if self.name else variable


def state_names(groups: Sequence[Group]) -> tuple[str, ...]:
    """The names of all state variables of the groups, in order; "history" is not among them."""
    return tuple(g.label(variable) for g in groups for variable in g.neuron.initial())
