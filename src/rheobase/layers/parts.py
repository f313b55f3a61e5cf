"""What a network is made of, which a recorded step takes for granted, and whether it can be recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList, type_before_parametrizations

from rheobase.layers.connection import Constraint
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.layers.neurons import Neurons
from rheobase.layers.recurrent import Recurrent


@dataclass(frozen=True)
class Parts:
    """What a network is made of: what a recording takes for granted.

    Attributes:
        members: Parameters, buffers and modules, where they are held and by which name.
        lengths: How many there are where they are held.
        tensors: Where parameters and buffers lie, and whether they want gradients.
        hooks: Where a module keeps what is called besides.
        modes: Where modules say whether they are in training, and that. Not the modules: the network's steps
            are forgotten with it (`rheobase.rules.bptt`), if they do not hold it.
    """

    members: list[tuple[Mapping[str, Any], str, Any]]
    lengths: list[tuple[Mapping[str, Any], int]]
    tensors: list[tuple[Tensor, int, bool]]
    hooks: list[Mapping[Any, Any]]
    modes: list[tuple[Mapping[str, Any], bool]]

    @classmethod
    def of(cls, network: Network) -> Parts:
        modules = list(network.modules())
        holders: list[Mapping[str, Any]] = []
        for m in modules:
            holders += [m._parameters, m._buffers, m._modules]
        members = [(holder, name, held) for holder in holders for name, held in holder.items()]
        return cls(
            members,
            [(holder, len(holder)) for holder in holders],
            [(t, t.data_ptr(), t.requires_grad) for _, _, t in members if isinstance(t, Tensor)],
            [h for m in modules for h in _hooks(m)],
            [(vars(m), m.training) for m in modules],
        )

    def hold(self) -> bool:
        """Whether nothing has changed."""
        return (
            all(holder.get(name) is held for holder, name, held in self.members)
            and all(len(holder) == number for holder, number in self.lengths)
            and all(t.data_ptr() == at and t.requires_grad == wants for t, at, wants in self.tensors)
            and not any(self.hooks)
            and all(module["training"] == mode for module, mode in self.modes)
        )


def _hooks(module: nn.Module) -> list[Mapping[Any, Any]]:
    return [
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    ]


def unsettled(network: Network, given: Sequence[Tensor]) -> str:
    """Why a step of this network on this is not recorded; empty if it may be."""
    for name, layer in network.layers.items():
        kind = type_before_parametrizations(layer)
        if kind not in (Dense, Neurons, Recurrent):
            return f"layer '{name}' is a {kind.__name__}"
    for module in network.modules():
        if any(_hooks(module)):
            return f"a {type(module).__name__} has hooks"
        if isinstance(module, ParametrizationList) and not all(
            isinstance(part, Constraint) for part in module
        ):
            return "a weight is made of others"
        if isinstance(module, Recurrent) and module.read_apart:
            return "connections are read in a way of their own"
    if any(p._backward_hooks or p._post_accumulate_grad_hooks for p in network.parameters()):
        return "a parameter has hooks"
    if any(t.requires_grad for t in given) or not torch.is_grad_enabled():
        return "what is given wants a gradient, or nothing does"
    if any(t.device.type != "cpu" for t in (*given, *network.parameters())):
        return "it is not on the CPU"
    return ""
