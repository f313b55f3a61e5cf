"""What a rule keeps in its memory to go on, in the next batch, where this one ends."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from rheobase.kernels.constant import Constant
from rheobase.kernels.groups import HISTORY
from rheobase.layers.network import NetworkState
from rheobase.rules.base import Memory


def check_batch(rule: str, state: NetworkState, inputs: Tensor | Constant) -> None:
    """Refuse a batch of another size than the one that `state` is from."""
    for values in state.values():
        for name, value in values.items():
            batch = value.shape[1] if name == HISTORY else value.shape[0] if value.dim() else inputs.shape[1]
            if batch != inputs.shape[1]:
                raise ValueError(
                    f"{rule}: got a batch of {inputs.shape[1]} sequences to go on with {batch}, wanted as "
                    "many; use a batch_size that divides the number of samples"
                )


def nested(memory: Memory, prefix: str) -> dict[str, dict[str, Tensor]]:
    """What is kept under "<prefix><layer>/<name>", by layer and name."""
    found: dict[str, dict[str, Tensor]] = {}
    for key, value in memory.items():
        if key.startswith(prefix):
            layer, name = key[len(prefix) :].split("/", 1)
            found.setdefault(layer, {})[name] = value
    return found


def flat(prefix: str, values: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The memory of which `nested` makes `values` again.

    >>> import torch
    >>> memory = flat("state.", {"hidden": {"v": torch.zeros(2)}})
    >>> list(memory), list(nested(memory, "state."))
    (['state.hidden/v'], ['hidden'])
    """
    return {f"{prefix}{layer}/{name}": x.detach() for layer, s in values.items() for name, x in s.items()}
