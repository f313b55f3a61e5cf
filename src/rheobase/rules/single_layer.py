"""A window of SuperSpike for one layer of few neurons: `rheobase.kernels.online` behind the rule's memory."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rheobase.kernels.linear import LinearSystem
from rheobase.kernels.online import Carry, at_rest, events_of, run_window, serves
from rheobase.layers.network import Record
from rheobase.neurons.synaptic_lif import SynapticLIF
from rheobase.rules.base import Lesson, Memory
from rheobase.rules.synapses import Layer

#: Neurons up to which one kernel per neuron is faster than filters over all of them.
FEW = 8


class Single(NamedTuple):
    """What a window came to: the loss, the record, and the direction `[I, J]`."""

    loss: Tensor
    record: Record
    gradient: Tensor


def in_one_kernel(layer: Layer, lesson: Lesson) -> bool:
    """Whether the kernel can do this layer, and what is asked for of it."""
    stage = layer.stage
    known = {f"{layer.name}.spikes", f"{layer.name}.v"}
    return (
        layer.bias is None
        and layer.outputs <= FEW
        and not stage.noise
        and serves(layer.neuron)
        and layer.weight.device.type == "cpu"
        and layer.weight.dtype in (torch.float32, torch.float64)
        and lesson.inputs.dtype == layer.weight.dtype
        and set(lesson.record) <= known
    )


def run_single(
    layer: Layer,
    inputs: Tensor,
    targets: Tensor,
    lesson: Lesson,
    memory: Memory,
    alpha: LinearSystem,
    cutoff: float | None,
) -> tuple[Single, dict[str, Tensor]]:
    """One window.

    Args:
        layer: The layer, for which `in_one_kernel` is true.
        inputs: What arrives at the synapses, `[T, 1, J]`.
        targets: Target trains, `[T, 1, I]`.
        lesson: The batch.
        memory: The rule's.
        alpha: The error's filter.
        cutoff: See `Superspike`.
    """
    neuron, name = layer.neuron, layer.name
    assert isinstance(neuron, SynapticLIF)
    weights = layer.weight.detach()
    parts = ("state", "presynaptic", "eligibility")
    if f"{name}.state" in memory:
        carry = Carry(*(memory[f"{name}.{part}"] for part in parts))
    else:
        carry = at_rest(neuron, layer.outputs, layer.inputs, weights.dtype)
    found = run_window(
        neuron,
        alpha.matrix[0][0],
        alpha.matrix[1][1],
        cutoff,
        events_of(inputs[:, 0]),
        weights,
        targets[:, 0].to(weights.dtype).contiguous(),
        carry,
    )
    signals = {f"{name}.spikes": found.spikes.unsqueeze(1), f"{name}.v": found.membranes.unsqueeze(1)}
    current, membrane, mute = (found.carry.state[:, i].unsqueeze(0) for i in range(3))
    state = {"i": current, "v": membrane, "refractory": mute}
    last = {variable: state[variable] for variable in neuron.initial()}
    record = Record(
        found.spikes.unsqueeze(1), {signal: signals[signal] for signal in lesson.record}, {name: last}
    )
    with torch.no_grad():
        loss = lesson.objective(record).detach()
    after = {f"{name}.{part}": value for part, value in zip(parts, found.carry, strict=True)}
    return Single(loss, record, -found.total / len(inputs)), after
