"""The recurrent kernels as one differentiable operation for autograd.

Not registered as a torch operator: torch's compiler breaks the graph here and calls it as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rheobase.kernels.connections import Connections
from rheobase.kernels.program import PROGRAMS
from rheobase.kernels.recurrent_passes import Population, Sweep


class Layer(NamedTuple):
    """What is settled before a sequence runs.

    Attributes:
        keys: The groups' programs.
        sizes: Their numbers of neurons.
        numbers: Their coefficients that are numbers.
        delay: The connections' delays in steps, in the shape of the weights.
        steps: T.
        every: Steps per chunk of recomputation; 0 for none.
        cut: Whether no derivative passes along the connections.
    """

    keys: tuple[str, ...]
    sizes: tuple[int, ...]
    numbers: tuple[tuple[float, ...], ...]
    delay: Tensor | None
    steps: int
    every: int
    cut: bool = False

    def populations(self, tensors: Sequence[Tensor]) -> list[Population]:
        """The groups with all their coefficients, of which `tensors` are those that are tensors."""
        left, low, column, found = list(tensors), 0, 0, []
        for key, size, numbers in zip(self.keys, self.sizes, self.numbers, strict=True):
            p = PROGRAMS[key]
            own, left = left[: len(p.tensors)], left[len(p.tensors) :]
            found.append(Population(p, low, low + size, column, tuple(p.merge(numbers, own))))
            low, column = low + size, column + size * p.ports
        return found

    @property
    def states(self) -> int:
        """The number of state variables of all groups."""
        return sum(len(PROGRAMS[key].states) for key in self.keys)


def run_layer(
    layer: Layer,
    current: Tensor,
    weight: Tensor,
    history: Tensor,
    states: Sequence[Tensor],
    tensors: Sequence[Tensor],
) -> list[Tensor]:
    """What was emitted `[T, B, N]`, the final states and the recorded states, group by group."""
    given = (current, weight, history, *states, *tensors)
    if torch.is_grad_enabled() and any(x.requires_grad for x in given):
        return list(_Recurrence.apply(layer, *given))  # type: ignore[no-untyped-call]
    sweep = _begin(layer, current, weight, history, tensors)
    last, _ = sweep.forward(states, save=False)
    return [sweep.emissions[sweep.depth :], *last, *sweep.records]


def _begin(
    layer: Layer, current: Tensor, weight: Tensor, history: Tensor, tensors: Sequence[Tensor]
) -> Sweep:
    return Sweep.begin(
        layer.populations(tensors),
        Connections.of(weight, layer.delay),
        current.detach().contiguous(),
        history.detach(),
        layer.steps,
        layer.every,
    )


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, layer: Layer, current: Tensor, weight: Tensor, history: Tensor, *given: Tensor
    ) -> tuple[Tensor, ...]:
        states, tensors = given[: layer.states], given[layer.states :]
        sweep = _begin(layer, current, weight, history, tensors)
        last, kept = sweep.forward([s.contiguous() for s in states], save=True)
        ctx.set_materialize_grads(False)
        ctx.layer = layer
        ctx.counts = (len(tensors), len(sweep.records))
        ctx.save_for_backward(current, weight, *tensors, sweep.emissions, *sweep.records, *kept)
        return (sweep.emissions[sweep.depth :], *last, *sweep.records)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        layer: Layer = ctx.layer
        current, weight, *saved = ctx.saved_tensors
        t, r = ctx.counts
        tensors, emissions, records, kept = saved[:t], saved[t], saved[t + 1 : t + 1 + r], saved[t + 1 + r :]
        sweep = Sweep(
            layer.populations(tensors),
            Connections.of(weight, layer.delay),
            current.detach().contiguous(),
            emissions,
            list(records),
            layer.steps,
            layer.every,
            layer.cut,
        )
        by_emitted, n = gradients[0], layer.states
        if by_emitted is None:
            by_emitted = torch.zeros_like(emissions[sweep.depth :])
        shapes = [(emissions.shape[1], p.high - p.low) for p in sweep.populations for _ in p.program.states]
        by_states = [
            emissions.new_zeros(shape) if g is None else g.contiguous()
            for g, shape in zip(gradients[1 : 1 + n], shapes, strict=True)
        ]
        by_current, lam, by_tensors = sweep.backward(
            kept, by_emitted.contiguous(), gradients[1 + n :], by_states
        )
        wants = ctx.needs_input_grad
        by_weight = sweep.by_weight(by_current).reshape(weight.shape) if wants[2] else None
        by_history = sweep.by_history(by_current) if wants[3] and not layer.cut else None
        by_input = by_current if sweep.moving else by_current.sum(0)
        return None, by_input, by_weight, by_history, *lam, *by_tensors
