"""What connections and states a recurrent layer takes (see `rheobase.kernels.recurrent`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rheobase.kernels.constant import Constant
from rheobase.kernels.groups import HISTORY, Group


def check_connections(
    groups: Sequence[Group],
    drive: Sequence[int],
    weight: Tensor,
    delay: Tensor | None,
    *,
    given: bool = False,
) -> None:
    """Refuse weights and delays that do not fit the neurons and the `drive`, the currents' shape.

    Where a state is `given`, spikes of before arrive, and delays may be longer than the sequence.
    """
    size, columns = sum(g.size for g in groups), sum(g.columns for g in groups)
    steps, shape = drive[0], tuple(drive[2:])
    if shape != (columns,):
        several = "" if columns == size else f" (one value per input of {size} neurons)"
        raise ValueError(f"current: got shape {tuple(drive)}, wanted [T, B, {columns}]{several}")
    if weight.dim() not in (2, 3) or tuple(weight.shape[-2:]) != (size, size):
        raise ValueError(
            f"weight: got shape {tuple(weight.shape)}, wanted ({size}, {size}) or (taps, {size}, {size}): "
            "to each neuron (first) from each neuron (last)"
        )
    if delay is None:
        return
    if delay.shape != weight.shape or delay.dtype != torch.int64:
        raise ValueError(
            f"delay: got {delay.dtype} of shape {tuple(delay.shape)}, wanted int64 of the weight's shape "
            f"{tuple(weight.shape)}"
        )
    low, high = int(delay.min()), int(delay.max())
    if low < 1:
        raise ValueError(f"delay: got {low} steps, wanted at least 1: a spike takes effect in a later step")
    if high > steps and not given:
        raise ValueError(
            f"delay: got {high} steps, longer than the sequence of {steps}: no such spike could arrive; "
            "use shorter delays or a longer sequence"
        )


def check_state(
    groups: Sequence[Group], current: Tensor | Constant, state: Mapping[str, Tensor], depth: int
) -> None:
    """Refuse a state that does not fit the neurons and the batch."""
    batch, size = current.shape[1], sum(g.size for g in groups)
    shapes: dict[str, tuple[int, ...]] = {
        g.label(v): (batch, g.size) for g in groups for v in g.neuron.initial()
    }
    shapes[HISTORY] = (depth, batch, size)
    if set(state) != set(shapes):
        raise ValueError(f"state: got the variables {sorted(state)}, wanted {sorted(shapes)}")
    for name, shape in shapes.items():
        if tuple(state[name].shape) != shape:
            raise ValueError(f"state '{name}': got shape {tuple(state[name].shape)}, wanted {shape}")
