"""A layer of neurons that are connected among themselves, over a whole sequence.

    current of neuron i at step t:  I[t, i] + sum_k sum_j weight[k, i, j] z[t - delay[k, i, j], j]

z is what neuron j emitted, at least one step before. Taps k > 1 are there for delays between two
steps, whose spike arrives in part at each. What was emitted in the last D steps (D the longest
delay) is part of the state, as "history" `[D, B, N]`, oldest first: a sequence can be cut anywhere
and goes on as if it had not been.

What a neuron with several inputs gets through each is the model's choice: all weights, or those of one
sign (`Neuron.recurrence`).

Not modelled: connections without any delay (within a step), which would make a step implicit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rheobase.kernels.attached import Attached
from rheobase.kernels.constant import Constant
from rheobase.kernels.groups import HISTORY, Group, state_names
from rheobase.kernels.plan import Plan, make_plan
from rheobase.kernels.program import PROGRAMS
from rheobase.kernels.recurrent_checks import check_connections, check_state
from rheobase.kernels.recurrent_operator import Layer, run_layer
from rheobase.kernels.recurrent_reference import Read, exact, run_reference
from rheobase.kernels.sequence import (
    NO_CHECKPOINTS,
    Backend,
    Run,
    check_input,
    shaped_parameters,
    uses_kernel,
)
from rheobase.neurons.base import Neuron
from rheobase.registry import unknown


def recurrent(
    groups: Sequence[Group],
    current: Tensor | Constant,
    weight: Tensor,
    delay: Tensor | None = None,
    state: Mapping[str, Tensor] | None = None,
    *,
    record: Sequence[str] = (),
    backend: Backend = "auto",
    checkpoint_every: int | None = None,
    cut: bool = False,
) -> Run:
    """Run recurrently connected neurons over all time steps of `current`, differentiably.

    Args:
        groups: The neurons, side by side in this order; N of them.
        current: Input current `[T, B, N]`, or one `Constant` value for all steps. A group of n neurons with
            P inputs each takes P * n columns, one input after the other.
        weight: `[N, N]` or `[K, N, N]`; `weight[..., i, j]` is from neuron j to neuron i. Connections
            that do not exist are zeros.
        delay: Steps from a spike to its effect, int64 in the shape of `weight`, at least 1; 1 if None.
        state: The state before the first step, as in `Run.state`; at rest and silent if None.
        record: Names of state variables (`state_names`) to record after every step.
        backend: "numba" is the fused kernel, "torch" the step-by-step reference, "auto" the kernel
            wherever it can serve.
        checkpoint_every: Keep the state only every so many steps and recompute the rest in the
            backward pass.
        cut: No derivative passes along the connections, from neuron to neuron (as if what arrives were
            `detach`ed); the weights get the derivatives that remain.

    Raises:
        ValueError: On shapes that do not fit, a delay below 1, or above T where no state is given, an
            unknown state variable, or a backend that cannot serve.

    >>> from rheobase.neurons.lif import LIF
    >>> ring = torch.tensor([[0.0, 0.0, 2.0], [2.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    >>> kick = torch.zeros(6, 1, 3)
    >>> kick[0, 0, 0] = 2.0
    >>> recurrent([Group("", LIF(tau_m=1.0), 3)], kick, ring).output[:, 0].argmax(1).tolist()
    [0, 1, 2, 0, 1, 2]
    """
    return run_recurrent(
        groups,
        plan_layer(groups, record),
        current,
        weight,
        delay,
        state,
        record=record,
        backend=backend,
        checkpoint_every=checkpoint_every,
        cut=cut,
    )


class LayerPlan(NamedTuple):
    """What is settled of a layer before any sequence.

    Attributes:
        plans: A plan per group of neurons.
        states: The names of the state variables, group by group.
        records: Of those that are recorded.
    """

    plans: tuple[Plan, ...]
    states: tuple[str, ...]
    records: tuple[str, ...]


def plan_layer(groups: Sequence[Group], record: Sequence[str]) -> LayerPlan:
    """The plan of neurons of which states are recorded.

    Raises:
        ValueError: If a name in `record` is not a state variable.
    """
    for name in record:
        if name not in state_names(groups):
            raise ValueError(unknown("state variable", name, state_names(groups)))
    plans = tuple(
        make_plan(
            g.neuron,
            _tensors(g.neuron),
            constant=False,
            record=[v for v in g.neuron.initial() if g.label(v) in record],
        )
        for g in groups
    )
    named = list(zip(groups, plans, strict=True))
    return LayerPlan(
        plans,
        tuple(g.label(v) for g, plan in named for v in plan.states),
        tuple(g.label(v) for g, plan in named for v in PROGRAMS[plan.key].record),
    )


class Attachment(NamedTuple):
    """Dense connections that run along: one in front of the neurons, one behind (see `kernels.attached`)."""

    before: Attached | None = None
    behind: Attached | None = None


def run_recurrent(
    groups: Sequence[Group],
    plan: LayerPlan,
    current: Tensor | Constant,
    weight: Tensor,
    delay: Tensor | None,
    state: Mapping[str, Tensor] | None,
    *,
    record: Sequence[str],
    backend: Backend,
    checkpoint_every: int | None,
    cut: bool = False,
    read: Read | None = None,
) -> Run:
    """`recurrent` with its plan made beforehand.

    Where weights are `read` in a way of their own, the reference runs: kernels know sums alone.
    """
    check_input(current, checkpoint_every)
    check_connections(groups, current.shape, weight, delay, given=state is not None)
    if read is None and uses_kernel(backend, current):
        return run_attached(
            groups,
            plan,
            current,
            weight,
            delay,
            state,
            Attachment(),
            record=record,
            checkpoint_every=checkpoint_every,
            cut=cut,
        )[0]
    if checkpoint_every is not None:
        raise ValueError(NO_CHECKPOINTS)
    start = _start(groups, current, state, _depth(delay))
    given = to_inputs(groups, weight, delay)
    return run_reference(groups, current, *given, start, record, cut, exact if read is None else read)


def run_attached(
    groups: Sequence[Group],
    plan: LayerPlan,
    current: Tensor | Constant,
    weight: Tensor,
    delay: Tensor | None,
    state: Mapping[str, Tensor] | None,
    along: Attachment,
    *,
    record: Sequence[str],
    checkpoint_every: int | None,
    cut: bool = False,
    mask: Tensor | None = None,
) -> tuple[Run, Tensor | None]:
    """The kernel on what was checked, with connections run `along`: the run, and what the one behind made.

    With a connection before, `current` `[T, B, K]` is what comes into that, and gets no gradient. The `mask`
    tells which weights count (the others are zero), for neurons with one input and without delays.
    """
    depth = _depth(delay)
    weight, delay = to_inputs(groups, weight, delay)
    tensors: list[Tensor] = []
    start: list[Tensor | float] = []
    for g, own in zip(groups, plan.plans, strict=True):
        parameters = shaped_parameters(_tensors(g.neuron), (g.size,)) if own.instructions else {}
        coefficients, rest = own.settle(parameters)
        tensors += coefficients
        start += [
            x.to(current.dtype).expand(current.shape[1], g.size) if isinstance(x, Tensor) else x for x in rest
        ]
    if state is not None:
        check_state(groups, current, state, depth)
        start = [state[name] for name in plan.states]
    layer = Layer(
        keys=tuple([own.key for own in plan.plans]),
        sizes=tuple([g.size for g in groups]),
        numbers=tuple([own.fixed for own in plan.plans]),
        delay=delay,
        steps=current.shape[0],
        every=checkpoint_every or 0,
        cut=cut,
        mask=mask,
    )
    ran = run_layer(
        layer,
        current.value if isinstance(current, Constant) else current,
        weight,
        depth if state is None else state[HISTORY],
        start,
        tensors,
        *along,
    )
    emitted = ran.emitted
    final = dict(zip(plan.states, ran.states, strict=True))
    if len(emitted) < depth:
        silent = emitted.new_zeros(depth, *emitted.shape[1:])
        emitted = torch.cat([silent if state is None else state[HISTORY], emitted])
    final[HISTORY] = emitted[-depth:]
    found = dict(zip(plan.records, ran.records, strict=True))
    return Run(ran.emitted, final, {name: found[name] for name in record}), ran.sums


def _depth(delay: Tensor | None) -> int:
    """Steps of history that a layer keeps."""
    return 1 if delay is None else int(delay.max())


def _tensors(neuron: Neuron) -> dict[str, Tensor]:
    names = neuron.parameter_names()
    return {name: value for name in names if isinstance(value := getattr(neuron, name), Tensor)}


def _start(
    groups: Sequence[Group], current: Tensor | Constant, state: Mapping[str, Tensor] | None, depth: int
) -> dict[str, Tensor]:
    """The given state, checked, or the state at rest."""
    if state is not None:
        check_state(groups, current, state, depth)
        return dict(state)
    rest = torch.zeros((), dtype=current.dtype, device=current.device)
    batch = current.shape[1]
    start = {
        g.label(v): value.to(current.dtype).expand(batch, g.size)
        if isinstance(value, Tensor)
        else rest.new_full((batch, g.size), value)
        for g in groups
        for v, value in g.neuron.initial().items()
    }
    start[HISTORY] = rest.new_zeros(depth, batch, sum(g.size for g in groups))
    return start


def to_inputs(groups: Sequence[Group], weight: Tensor, delay: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Weights and delays `[..., N, N]` by the input they go to, `[..., columns, N]`.

    >>> from rheobase.neurons.lif import LIF
    >>> to_inputs([Group("", LIF(), 1)], torch.tensor([[-2.0]]), None)
    (tensor([[-2.]]), None)
    """
    if all(len(g.neuron.inputs) == 1 for g in groups):
        return weight, delay
    sizes = [g.size for g in groups]
    weights, delays = [], []
    for i, (g, rows) in enumerate(zip(groups, torch.split(weight, sizes, -2), strict=True)):
        for name in g.neuron.inputs:
            which = g.neuron.recurrence.get(name) if len(g.neuron.inputs) > 1 else "all"
            weights.append(_SHARES[which](rows))
            delays.append(i)
    if delay is None:
        return torch.cat(weights, -2), None
    by_group = torch.split(delay, sizes, -2)
    return torch.cat(weights, -2), torch.cat([by_group[i] for i in delays], -2)


_SHARES: dict[str | None, Callable[[Tensor], Tensor]] = {
    "all": lambda w: w,
    "positive": lambda w: w.relu(),
    "negative": lambda w: (-w).relu(),
    None: torch.zeros_like,
}
