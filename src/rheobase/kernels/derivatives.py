"""Neurons over some time steps, and how each step's results depend on what the step began with.

The forward kernels, with the derivatives of the step (`rheobase.kernels.jacobian`) among what they keep:
one pass forward in time, no adjoint. It is what eligibility traces need (`rheobase.kernels.eligibility`).
Memory is that of these steps.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from rheobase.kernels.connections import Connections
from rheobase.kernels.groups import HISTORY, Group
from rheobase.kernels.passes import run_forward
from rheobase.kernels.plan import Plan, carry_out, make_plan
from rheobase.kernels.program import PROGRAMS
from rheobase.kernels.recurrent import to_inputs
from rheobase.kernels.recurrent_forms import Population
from rheobase.kernels.recurrent_passes import Sweep
from rheobase.kernels.sequence import Run, shaped_parameters
from rheobase.neurons.base import Neuron

#: A derivative: one number, one per neuron `[n]`, or one per step, sample and neuron `[T, B, n]`.
Entry: TypeAlias = float | Tensor


@dataclass(frozen=True, eq=False)
class Derivatives:
    """Those of a group of neurons.

    Attributes:
        states: Names of the variables that depend on something, without the group's.
        inputs: Names of the inputs.
        by: (result, cause) -> derivative, named as in `rheobase.kernels.jacobian.Jacobian`; missing ones are
            zero.
    """

    states: tuple[str, ...]
    inputs: tuple[str, ...]
    by: Mapping[tuple[str, str], Entry] = field(repr=False)


class Linearised(NamedTuple):
    """What neurons did, and the derivatives of each step, group by group."""

    run: Run
    groups: tuple[Derivatives, ...]


@torch.no_grad()
def linearise(
    groups: Sequence[Group],
    current: Tensor,
    state: Mapping[str, Tensor],
    *,
    weight: Tensor | None = None,
    delay: Tensor | None = None,
    record: Sequence[str] = (),
) -> Linearised:
    """Run neurons over all steps of `current` `[T, B, M]`, keeping the derivatives of each step.

    Args:
        groups: The neurons, group by group; a single group if they are not connected.
        current: What comes in, on the CPU in float32 or float64.
        state: The state before the first step, as in `Run.state`.
        weight: Of recurrent connections, `[N, N]` or `[taps, N, N]`; None for none.
        delay: Their delays in steps, in the same shape; 1 if None.
        record: Names of state variables to record.

    >>> from rheobase.neurons.lif import LIF
    >>> group = Group("", LIF(tau_m=20.0), 1)
    >>> result = linearise([group], torch.full((2, 1, 1), 0.6), {"v": torch.zeros(1, 1)})
    >>> result.run.output.flatten().tolist(), result.groups[0].by["v", "input.current"]
    ([0.0, 1.0], 1.0)
    """
    plans = [_plan(g, tuple(v for v in g.neuron.initial() if g.label(v) in record)) for g in groups]
    coefficients = [_coefficients(g, plan) for g, plan in zip(groups, plans, strict=True)]
    names = [g.label(v) for g, plan in zip(groups, plans, strict=True) for v in plan.states]
    before = [state[name].to(current.dtype).contiguous() for name in names]
    if weight is None:
        (plan,), (values,) = plans, coefficients
        emitted, last, traces, kept = run_forward(
            PROGRAMS[plan.key], current.contiguous(), before, values, len(current), 0, True
        )
        final = dict(zip(names, last, strict=True))
    else:
        weight, delay = to_inputs(groups, weight, delay)
        populations, low, column = [], 0, 0
        for g, plan, values in zip(groups, plans, coefficients, strict=True):
            place = (low, low + g.size, column)
            populations.append(Population(PROGRAMS[plan.key], *place, tuple(values)))
            low, column = low + g.size, column + g.columns
        connections = Connections.of(weight, delay)
        sweep = Sweep.begin(
            populations, connections, current.contiguous(), state[HISTORY], len(current), every=0
        )
        last, kept = sweep.forward(before, save=True)
        emitted, traces = sweep.emissions[sweep.depth :], sweep.records
        final = dict(zip(names, last, strict=True))
        final[HISTORY] = sweep.emissions[-sweep.depth :]
    recorded = [g.label(v) for g, plan in zip(groups, plans, strict=True) for v in PROGRAMS[plan.key].record]
    found = dict(zip(recorded, traces, strict=True))
    run = Run(emitted, final, {name: found[name] for name in record})
    left, derived = list(kept), []
    for plan, values in zip(plans, coefficients, strict=True):
        count = len(PROGRAMS[plan.key].saved)
        own, left = left[:count], left[count:]
        derived.append(_derivatives(plan, values, own))
    return Linearised(run, tuple(derived))


def _derivatives(plan: Plan, coefficients: Sequence[Entry], kept: Sequence[Tensor]) -> Derivatives:
    p = PROGRAMS[plan.key]
    values: dict[int, Entry] = dict(zip(p.trace.coefficients, coefficients, strict=True))
    values |= dict(zip(p.saved, kept, strict=True))

    def entry(n: int) -> Entry:
        value = values[n] if n in values else float(p.trace.tape.nodes[n].value)
        return float(value) if isinstance(value, Tensor) and not value.dim() else value

    by = {place: entry(n) for place, n in p.jacobian.by.items()}
    return Derivatives(p.jacobian.states, tuple(p.trace.inputs), by)


def _plan(group: Group, record: tuple[str, ...]) -> Plan:
    tensors = tuple(_tensors(group.neuron))
    return _plan_of(group.neuron.bind(dict.fromkeys(tensors, 2.0)), tensors, record)


@functools.lru_cache(maxsize=128)
def _plan_of(neuron: Neuron, tensors: tuple[str, ...], record: tuple[str, ...]) -> Plan:
    return make_plan(neuron, tensors, constant=False, record=record, linear=True)


def _coefficients(group: Group, plan: Plan) -> list[Entry]:
    slots = carry_out(plan, shaped_parameters(_tensors(group.neuron), (group.size,)))
    return [slots[n] for n in plan.coefficients]


def _tensors(neuron: Neuron) -> dict[str, Tensor]:
    names = neuron.parameter_names()
    return {n: value for n in names if isinstance(value := getattr(neuron, n), Tensor)}
