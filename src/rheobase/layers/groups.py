"""The groups of neurons of a recurrent layer, from what a user gives."""

from __future__ import annotations

from collections.abc import Mapping

from rheobase.kernels.groups import Group
from rheobase.layers.population import is_spiking
from rheobase.neurons.base import Neuron


def groups_of(neuron: Neuron | Mapping[str, tuple[Neuron, int]], size: int | None) -> list[Group]:
    """One unnamed group of a single model and its size, or those of a mixed population.

    Raises:
        ValueError: On sizes that are missing or too many, names that are no words, or groups that do not fit
            each other.

    >>> from rheobase.neurons.lif import LIF
    >>> [(g.name, g.size) for g in groups_of({"fast": (LIF(), 3), "slow": (LIF(tau_m=50.0), 2)}, None)]
    [('fast', 3), ('slow', 2)]
    """
    if isinstance(neuron, Neuron):
        if size is None or size < 1:
            raise ValueError(f"Recurrent: got size {size}, wanted the number of neurons, at least 1")
        return [Group("", neuron, size)]
    if size is not None:
        raise ValueError(
            f"Recurrent: got size {size} beside named groups, which have their own; leave it out"
        )
    groups = [Group(name, model, number) for name, (model, number) in neuron.items()]
    if not groups or any(group.size < 1 for group in groups):
        raise ValueError("Recurrent: got a group without neurons, wanted at least one neuron in each")
    if any(not name.isidentifier() for name in neuron):
        raise ValueError(
            f"Recurrent: got the group names {list(neuron)}, wanted words without dots or spaces"
        )
    steps = {group.neuron.dt for group in groups}
    if len(steps) > 1:
        raise ValueError(
            f"Recurrent: got groups with time steps of {sorted(steps)} ms, wanted one; set dt alike"
        )
    if len({is_spiking(group.neuron) for group in groups}) > 1:
        raise ValueError("Recurrent: got groups that spike beside groups that do not, wanted one kind")
    return groups
