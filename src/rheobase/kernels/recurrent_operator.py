"""The recurrent kernels as one differentiable operation for autograd.

Not registered as a torch operator: torch's compiler breaks the graph here and calls it as it is.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rheobase.kernels.attached import Attached
from rheobase.kernels.connections import Connections
from rheobase.kernels.program import PROGRAMS
from rheobase.kernels.recurrent_forms import Population
from rheobase.kernels.recurrent_passes import Sweep
from rheobase.kernels.workspace import empty


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
        mask: Which weights count, bool in their shape; None for all.
    """

    keys: tuple[str, ...]
    sizes: tuple[int, ...]
    numbers: tuple[tuple[float, ...], ...]
    delay: Tensor | None
    steps: int
    every: int
    cut: bool = False
    mask: Tensor | None = None

    def populations(self, tensors: Sequence[Tensor]) -> Sequence[Population]:
        """The groups with all their coefficients, of which `tensors` are those that are tensors."""
        groups = (self.keys, self.sizes, self.numbers)
        return _populations(*groups, tensors) if tensors else _of_numbers(*groups)

    @property
    def states(self) -> int:
        """The number of state variables of all groups."""
        return sum(len(PROGRAMS[key].states) for key in self.keys)


def _populations(
    keys: tuple[str, ...],
    sizes: tuple[int, ...],
    numbers: tuple[tuple[float, ...], ...],
    tensors: Sequence[Tensor],
) -> tuple[Population, ...]:
    left, low, column, found = list(tensors), 0, 0, []
    for key, size, values in zip(keys, sizes, numbers, strict=True):
        p = PROGRAMS[key]
        own, left = left[: len(p.tensors)], left[len(p.tensors) :]
        found.append(Population(p, low, low + size, column, tuple(p.merge(values, own))))
        low, column = low + size, column + size * p.ports
    return tuple(found)


@functools.lru_cache(maxsize=256)
def _of_numbers(
    keys: tuple[str, ...], sizes: tuple[int, ...], numbers: tuple[tuple[float, ...], ...]
) -> tuple[Population, ...]:
    """Groups without a tensor among their coefficients."""
    return _populations(keys, sizes, numbers, ())


class Ran(NamedTuple):
    """What a layer did: what was emitted `[T, B, N]`, its final states and recorded states, group by group,
    and what the connection behind made of it, `[T, B, O]`."""

    emitted: Tensor
    states: list[Tensor]
    records: list[Tensor]
    sums: Tensor | None


def run_layer(
    layer: Layer,
    current: Tensor,
    weight: Tensor,
    history: Tensor | int,
    states: Sequence[Tensor | float],
    tensors: Sequence[Tensor],
    before: Attached | None = None,
    behind: Attached | None = None,
) -> Ran:
    """Run a layer, from its state: tensors, or numbers for all neurons, after so many steps of silence.

    With a connection `before`, it runs from what comes into that, which then gets no gradient.
    """
    around = (*(before or (None, None)), *(behind or (None, None)))
    given = (current, weight, history, *around, *states, *tensors)
    if torch.is_grad_enabled() and any(isinstance(x, Tensor) and x.requires_grad for x in given):
        results = list(_Recurrence.apply(layer, *given))  # type: ignore[no-untyped-call]
        sums = results.pop() if behind else None
        return Ran(results[0], results[1 : 1 + layer.states], results[1 + layer.states :], sums)
    sweep = _begin(layer, current, weight, history, around, tensors)
    sums = _room(sweep)
    last, _ = sweep.forward(states, save=False, sums=sums)
    return Ran(sweep.emissions[sweep.depth :], last, sweep.records, sums)


def _begin(
    layer: Layer,
    current: Tensor,
    weight: Tensor,
    history: Tensor | int,
    around: Sequence[Tensor | None],
    tensors: Sequence[Tensor],
) -> Sweep:
    return Sweep.begin(
        layer.populations(tensors),
        Connections.of(weight, layer.delay, layer.mask),
        current.detach().contiguous(),
        history if isinstance(history, int) else history.detach(),
        layer.steps,
        layer.every,
        *_attached(around),
    )


def _attached(around: Sequence[Tensor | None]) -> tuple[Attached | None, Attached | None]:
    """The connections before and behind, from their weights and biases."""
    before, before_bias, behind, behind_bias = around
    return (
        None if before is None else Attached(before, before_bias),
        None if behind is None else Attached(behind, behind_bias),
    )


def _room(sweep: Sweep) -> Tensor | None:
    """Where the sums of the connection behind go."""
    if sweep.behind is None:
        return None
    return empty((sweep.steps, sweep.emissions.shape[1], sweep.behind.outputs), sweep.dtype)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, layer: Layer, current: Tensor, weight: Tensor, history: Tensor | int, *given: Any
    ) -> tuple[Tensor, ...]:
        around, states, tensors = given[:4], given[4 : 4 + layer.states], given[4 + layer.states :]
        sweep = _begin(layer, current, weight, history, around, tensors)
        sums = _room(sweep)
        last, kept = sweep.forward(states, save=True, sums=sums)
        ctx.set_materialize_grads(False)
        ctx.layer, ctx.setting = layer, sweep.setting
        ctx.counts = (len(tensors), len(sweep.records))
        ctx.given = [isinstance(s, Tensor) for s in states]
        ctx.save_for_backward(current, weight, *around, *tensors, sweep.emissions, *sweep.records, *kept)
        return (sweep.emissions[sweep.depth :], *last, *sweep.records, *([] if sums is None else [sums]))

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        layer: Layer = ctx.layer
        current, weight, *saved = ctx.saved_tensors
        t, r = ctx.counts
        around, saved = saved[:4], saved[4:]
        tensors, emissions, records, kept = saved[:t], saved[t], saved[t + 1 : t + 1 + r], saved[t + 1 + r :]
        before, behind = _attached(around)
        sweep = Sweep(
            layer.populations(tensors),
            Connections.of(weight, layer.delay, layer.mask),
            current.detach().contiguous(),
            emissions,
            list(records),
            layer.steps,
            layer.every,
            ctx.setting._replace(threads=torch.get_num_threads()),
            layer.cut,
            before,
            behind,
        )
        wants, n = ctx.needs_input_grad, len(ctx.given)
        by_emitted, by_sums = gradients[0], None if behind is None else gradients[-1]
        found = sweep.backward(
            kept,
            None if by_emitted is None else by_emitted.contiguous(),
            [None if g is None else g.contiguous() for g in gradients[1 + n : 1 + n + r]],
            gradients[1 : 1 + n],
            None if by_sums is None else by_sums.contiguous(),
            tally=wants[2],
            whole=(wants[1] and before is None) or wants[3],
        )
        by_weight = found.by_weight
        if (
            by_weight is not None and by_weight.shape != weight.shape
        ):  # one for all delays, or for the only one
            expanded = by_weight.dim() < weight.dim()
            by_weight = by_weight.expand(weight.shape) if expanded else by_weight.reshape(weight.shape)
        by_history = sweep.by_history(found.by_current) if wants[3] and not layer.cut else None
        by_input = None
        if wants[1] and before is None:
            by_input = found.by_current if sweep.setting.moving else found.by_current.sum(0)
        by_states = [g if given else None for g, given in zip(found.by_states, ctx.given, strict=True)]
        return None, by_input, by_weight, by_history, *found.by_around, *by_states, *found.by_coefficients
