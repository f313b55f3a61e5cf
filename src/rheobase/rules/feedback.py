"""Feedback weights: how errors reach the layers in front, where they do not go back along connections.

    layerwise    error at the input of stage l+1, through a connection like that one's, with other weights, to
                 what stage l emitted (Lillicrap et al. 2016)
    direct       error at the input of the read-out, [T, B, C], times a matrix [C, N] of each hidden stage
                 (Noekland 2016; "broadcast" in e-prop)

Feedback weights are drawn once, normal with the standard deviation of as many fan-in inputs (1/sqrt(n)), and
are part of a rule's memory. Those of a connection with signs or gaps have the same signs and gaps.

Lillicrap, Cownden, Tweed & Akerman, Nature Communications 7, 13276 (2016); Noekland, NeurIPS 2016.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from rheobase.kernels.constant import Constant
from rheobase.layers.connection import constraint_of, plain_name
from rheobase.layers.delayed import Delayed
from rheobase.layers.dense import Dense
from rheobase.rules.stages import Stage
from rheobase.rules.windows import Window

FEEDBACK = "feedback."


def emitted_size(parts: Sequence[Stage], i: int, rule: str) -> int:
    """The number of neurons of the hidden stage i; `ValueError` where only a batch would tell."""
    behind = parts[i + 1]
    if isinstance(behind.connection, (Dense, Delayed)) and not behind.before:
        return behind.connection.inputs
    name, module = (*behind.before, (behind.source, behind.connection))[0]
    raise ValueError(
        f"{rule}: got the layer '{name}' ({type(module).__name__}) behind '{parts[i].name}', wanted Dense or "
        "Delayed for direct feedback, which has a weight per neuron; use feedback through the layers instead"
    )


def columns(stage: Stage, rule: str) -> int:
    """The number of inputs C of the stage's neurons."""
    if isinstance(stage.connection, (Dense, Delayed)):
        return stage.connection.outputs
    raise ValueError(
        f"{rule}: got the layer '{stage.source}' ({type(stage.connection).__name__}) in front of the "
        "read-out, wanted Dense or Delayed for direct feedback"
    )


def draw_direct(
    parts: Sequence[Stage], scale: float, generator: torch.Generator, rule: str
) -> dict[str, Tensor]:
    """A feedback matrix `[C, N]` for each hidden stage, "feedback.<layer>"."""
    outputs, dtype = columns(parts[-1], rule), _weights(parts[-1].connection)
    kind = next(iter(dtype.values()))
    return {
        f"{FEEDBACK}{stage.name}": _normal((outputs, size), size, scale, kind, generator)
        for i, stage in enumerate(parts[:-1])
        for size in [emitted_size(parts, i, rule)]
    }


def draw_layerwise(parts: Sequence[Stage], scale: float, generator: torch.Generator) -> dict[str, Tensor]:
    """Other weights for each connection behind a hidden stage, "feedback.<connection>.<parameter>"."""
    drawn: dict[str, Tensor] = {}
    for stage in parts[1:]:
        for name, like in _weights(stage.connection).items():
            fan_in = max(1, like[0].numel())
            values = _normal(tuple(like.shape), fan_in, scale, like, generator)
            constraint = constraint_of(stage.connection)
            if constraint is not None and constraint.signs is not None:
                values = values.abs() * constraint.signs
            drawn[f"{FEEDBACK}{stage.source}.{name}"] = values
    return drawn


def through(window: Window, memory: Mapping[str, Tensor]) -> Tensor:
    """The error at a stage's input, back through its connection with feedback weights, `[T, B, ...]`."""
    stage = window.stage
    weights = {
        name: memory[f"{FEEDBACK}{stage.source}.{name}"].to(like)
        for name, like in _weights(stage.connection).items()
    }
    kept = stage.connection
    # Buffers that a pass changes (batch statistics) are copies: this is not another look at the data.
    copies = {name: buffer.clone() for name, buffer in kept.named_buffers()}
    assert isinstance(window.x, Tensor)
    x = window.x.detach().requires_grad_()

    class Replaced(nn.Module):
        def forward(self, value: Tensor | Constant) -> Tensor | Constant:
            found: Tensor | Constant = torch.func.functional_call(kept, {**weights, **copies}, (value,))
            return found.output if hasattr(found, "output") else found

    current, _ = Stage(stage.name, stage.neurons, stage.source, Replaced(), stage.before).current(x)
    assert isinstance(current, Tensor)
    (pulled,) = torch.autograd.grad(current, x, window.error)
    return pulled


def direct(error: Tensor, stage: Stage, memory: Mapping[str, Tensor]) -> Tensor:
    """The read-out's error `[T, B, C]` as a learning signal for a hidden stage, `[T, B, N]`."""
    return error @ memory[f"{FEEDBACK}{stage.name}"].to(error)


def _weights(connection: nn.Module) -> dict[str, Tensor]:
    """The parameters of a connection that lead from unit to unit, by name."""
    return {
        name: p.detach()
        for name, p in connection.named_parameters()
        if plain_name(name).rsplit(".", 1)[-1] == "weight" and p.dim() > 1
    }


def _normal(
    shape: tuple[int, ...], fan_in: int, scale: float, like: Tensor, generator: torch.Generator
) -> Tensor:
    drawn = torch.randn(shape, generator=generator) * (scale / math.sqrt(fan_in))
    return drawn.to(like.dtype)
