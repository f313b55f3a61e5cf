"""A population on few spikes: what `rheobase.kernels.population_lists_source` is given, and which networks.

Neurons lie side by side in vectors, so whatever has a number for each of them is filled up to whole vectors,
group by group: coefficients by the last neuron's, biases by zero.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from rheobase.kernels.cache import Kernel
from rheobase.kernels.lane_body import emits_spikes
from rheobase.kernels.passes import NAMES
from rheobase.kernels.population_form import Form, StageForm
from rheobase.kernels.population_lists_source import lists_source, lists_spikes, resident
from rheobase.kernels.population_parts import Array, Batch, Stage, array_of, carried_out, traced
from rheobase.kernels.population_rows import LANES, width
from rheobase.kernels.reduction import LEVELS, Reduction, summing
from rheobase.kernels.workspace import empty

#: Share of the inputs that may spike in a step, and number of neurons from which on lists are faster than
#: blocks of samples: on one thread 100-100-10 took 1.6-3.2 times as long in blocks at rates up to .2,
#: 784-128-10 2-8 times, 100-20-10 .9-1.7 times, but 40-10-10 only .5-.9 times.
RATE, NEURONS = 0.2, 30


def suits_lists(stages: Sequence[Stage], batch: Batch) -> bool:
    """Whether lists of spikes are worth it for this network and batch of spikes."""
    return (
        batch.feed == "spikes"
        and sum(s.size for s in stages) >= NEURONS
        and all(emits_spikes(traced(c)) for s in stages[:-1] for c in s.cells)
        and all(emits_spikes(traced(c)) for s in stages if s.recurrent is not None for c in s.cells)
        and batch.rate <= RATE
    )


def run_lists(
    stages: Sequence[Stage], batch: Batch, reductions: Sequence[Reduction], signals: Sequence[str]
) -> tuple[list[Tensor], list[Tensor]]:
    """See `rheobase.kernels.population.run_population`."""
    members = max(s.members for s in stages)
    forms, given = [], []
    for stage in stages:
        stage_form, arrays = _prepare(stage, batch.dtype)
        forms.append(stage_form)
        given += arrays
    form = Form(
        dtype=NAMES[batch.dtype],
        lanes=LANES,
        feed="lists",
        stages=tuple(forms),
        reductions=tuple((r.signal, r.how) for r in reductions),
        signals=tuple(signals),
    )
    filled = sum(forms[-1].sizes) * LANES
    results = [empty((members, batch.samples, filled), batch.dtype) for _ in reductions]
    whole = [empty((members, batch.steps, batch.samples, filled), batch.dtype) for _ in signals]
    _kernel(form).run(
        [
            batch.spans,
            batch.array,
            *given,
            *(r.numpy() for r in (*results, *whole)),
            *_working_memory(form, stages, batch),
            *(number for r in reductions if r.how == "sum" for number in summing(r, batch.steps)),
            batch.steps,
            batch.samples,
        ],
        members * batch.samples,
        members * batch.samples * batch.steps * sum(s.size for s in stages),
    )
    return [_read(r, stages[-1]) for r in results], [_read(w, stages[-1]) for w in whole]


def _vectors(size: int) -> int:
    return -(-size // LANES)


def _read(filled: Tensor, stage: Stage) -> Tensor:
    """The stage's neurons, of whole vectors of each group."""
    groups = torch.split(filled, [LANES * _vectors(c.size) for c in stage.cells], -1)
    parts = [group[..., : c.size] for group, c in zip(groups, stage.cells, strict=True)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, -1)


def _prepare(stage: Stage, dtype: torch.dtype) -> tuple[StageForm, list[Any]]:
    """What of the stage the kernel's form depends on, and what it is given (see `stage_arguments`)."""
    arrays: list[Any] = [array_of(stage.weights.weight, dtype)]
    if stage.bias is not None:
        parts = torch.split(stage.bias, [c.size for c in stage.cells for _ in c.neuron.inputs], -1)
        arrays.append(array_of(torch.cat([_filled(part) for part in parts], -1), dtype))
    arrays += stage.weights.factors(dtype)
    if stage.recurrent is not None:
        arrays += [array_of(stage.recurrent.weight, dtype), *stage.recurrent.factors(dtype), stage.delay]
    programs, wide = [], []
    for cells in stage.cells:
        plan, slots = carried_out(cells)
        programs.append(plan.key)
        coefficients = [slots[n] for n in plan.coefficients]
        wide.append(tuple(isinstance(c, Tensor) and c.shape[-1] > 1 for c in coefficients))
        arrays.append(cells.size)
        arrays += [
            array_of(_repeated(c, cells.size) if differ else c, dtype)
            for c, differ in zip(coefficients, wide[-1], strict=True)
        ]
        arrays += [array_of(_repeated(slots[n], cells.size), dtype) for n in plan.initial]
    form = StageForm(
        programs=tuple(programs),
        biased=stage.bias is not None,
        factored=stage.weights.left is not None,
        recurrent=stage.recurrent is not None,
        recurrent_factored=stage.recurrent is not None and stage.recurrent.left is not None,
        sizes=tuple(_vectors(c.size) for c in stage.cells),
        wide=tuple(wide),
    )
    return form, arrays


def _filled(x: Tensor) -> Tensor:
    """`[P, n]` with zeros up to whole vectors."""
    return pad(x, (0, -x.shape[-1] % LANES))


def _repeated(value: float | Tensor, size: int) -> Tensor:
    """A number for each of a group's neurons, `[1 or P, n]`, the last one's also beyond them."""
    if not isinstance(value, Tensor):
        return torch.full((1, _vectors(size) * LANES), value)
    whole = value.expand(value.shape[0], size)
    return torch.cat([whole, whole[:, -1:].expand(-1, -size % LANES)], -1)


def _working_memory(form: Form, stages: Sequence[Stage], batch: Batch) -> list[Array]:
    """Arrays that threads work in (see `list_arguments`)."""
    threads = torch.get_num_threads()

    def rows(*shape: int) -> Array:
        # torch's memory begins at whole vectors, NumPy's does not: every load would touch two cache lines.
        array: Array = torch.zeros((threads, *shape), dtype=batch.dtype).numpy()
        return array

    memory, before = [], batch.width
    for at, (stage, part) in enumerate(zip(stages, form.stages, strict=True)):
        neurons, currents = LANES * sum(part.sizes), LANES * width(form, at)
        for weights, senders in ((stage.weights, before), (stage.recurrent, neurons)):
            if weights is not None:
                # A row for each that may spike, and the one that is zero behind them.
                memory.append(rows((senders + 1) * currents))
                filled = LANES * _vectors(weights.rank)
                if weights.rank:
                    memory += [rows((senders + 1) * filled), rows(weights.rank * currents), rows(filled)]
        if lists_spikes(form, at):
            depth = 1 if stage.recurrent is None else stage.delay + 1
            memory.append(np.zeros((threads, depth, neurons + 1), np.int32))
            memory.append(np.zeros((threads, depth), np.int64))
        if not resident(form):
            groups = zip(part.sizes, part.traces, strict=True)
            memory += [rows(LANES * vectors) for vectors, t in groups for _ in t.states]
        before = neurons
    sums = [how for _, how in form.reductions].count("sum")
    return [*memory, *(rows(LEVELS, sum(form.stages[-1].sizes), LANES) for _ in range(sums))]


@functools.cache
def _kernel(form: Form) -> Kernel:
    name = f"population of {form.models}"
    return Kernel(lists_source(form, f"Forward pass of a {name} networks, on few spikes."), "forward", name)
