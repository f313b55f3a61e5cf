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
from torch.nn.utils import parametrize

from rheobase.kernels.recurrent_reference import by_delay
from rheobase.layers.connection import constraint_of
from rheobase.layers.delayed import Delayed
from rheobase.layers.dense import Dense
from rheobase.layers.over_time import OverTime
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


def draw_layerwise(
    parts: Sequence[Stage], scale: float, generator: torch.Generator, rule: str
) -> dict[str, Tensor]:
    """Other weights for each connection behind a hidden stage, "feedback.<connection>.<weight>"."""
    drawn: dict[str, Tensor] = {}
    for stage in parts[1:]:
        connection = stage.connection
        if isinstance(connection, OverTime) and any(map(parametrize.is_parametrized, connection.modules())):
            raise ValueError(
                f"{rule}: got the layer '{stage.source}' (OverTime) with weights that are made from others, "
                "wanted plain ones in front of a layer other than the first; use bptt or eprop"
            )
        for name, like in _weights(connection).items():
            values = _normal(tuple(like.shape), max(1, like[0].numel()), scale, like, generator)
            constraint = constraint_of(connection)
            if constraint is not None and constraint.signs is not None:
                values = values.abs() * constraint.signs
            if constraint is not None and constraint.mask is not None:
                values = values * constraint.mask
            drawn[f"{FEEDBACK}{stage.source}.{name}"] = values
    return drawn


def through(window: Window, memory: Mapping[str, Tensor]) -> Tensor:
    """The error at a stage's input, back through its connection with feedback weights, `[T, B, ...]`."""
    stage, error = window.stage, window.error
    assert isinstance(window.x, Tensor)
    x = window.x.detach().requires_grad_()
    y: Tensor = x
    for _, module in stage.before:
        y = module(y)
    weights = {
        name: memory[f"{FEEDBACK}{stage.source}.{name}"].to(error) for name in _weights(stage.connection)
    }
    if isinstance(stage.connection, Dense):
        pulled = (error @ weights["weight"]).reshape(y.shape)
    elif isinstance(stage.connection, Delayed):
        pulled = _earlier(stage.connection, weights["weight"], error).reshape(y.shape)
    else:
        # Buffers that a pass changes (batch statistics) are copies: this is not another look at the data.
        copies = {name: buffer.clone() for name, buffer in stage.connection.named_buffers()}
        given = y.detach().requires_grad_()
        current = torch.func.functional_call(stage.connection, {**weights, **copies}, (given,))
        (pulled,) = torch.autograd.grad(current, given, error)
    if y is x:
        return pulled
    (pulled,) = torch.autograd.grad(y, x, pulled)
    return pulled


def _earlier(connection: Delayed, weight: Tensor, error: Tensor) -> Tensor:
    """The error `[T, B, M]` back through delays: at the steps at which what it is about came in."""
    total = error.new_zeros(*error.shape[:2], weight.shape[1])
    for d, part in by_delay(*connection.delays.taps(weight)).items():
        if d < len(error):
            total[: len(error) - d] += error[d:] @ part.detach()
    return total


def direct(error: Tensor, stage: Stage, memory: Mapping[str, Tensor]) -> Tensor:
    """The read-out's error `[T, B, C]` as a learning signal for a hidden stage, `[T, B, N]`."""
    return error @ memory[f"{FEEDBACK}{stage.name}"].to(error)


def _weights(connection: nn.Module) -> dict[str, Tensor]:
    """The weights of a connection that lead from unit to unit, by name."""
    if isinstance(connection, (Dense, Delayed)):
        return {"weight": connection.weight.detach()}
    return {
        name: p.detach()
        for name, p in connection.named_parameters()
        if name.rsplit(".", 1)[-1] == "weight" and p.dim() > 1
    }


def _normal(
    shape: tuple[int, ...], fan_in: int, scale: float, like: Tensor, generator: torch.Generator
) -> Tensor:
    drawn = torch.randn(shape, generator=generator) * (scale / math.sqrt(fan_in))
    return drawn.to(like.dtype)
