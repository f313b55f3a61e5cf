"""A whole network over a population: P sets of parameters, each on the same batch, reduced read-outs.

    read-out of member p, sample b, neuron k = reduction over time of what its network does      [P, B, K]

No tensor `[T, ...]` exists (but of signals that are asked for whole), so memory does not grow with T, and of
the population only its parameters and its results are there. See `rheobase.kernels.population_source` (and,
for networks of a few neurons, `population_unrolled`) for how it is done, and in which order sums are made:
spikes and membranes are those of the ordinary layers, to the last bit where these multiply in ascending
order, otherwise but for rounding. Results depend neither on how a population is split over calls nor on
threads.

Not here: gradients, delays that differ between connections, convolutions.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rheobase.kernels.cache import Kernel
from rheobase.kernels.constant import Constant
from rheobase.kernels.passes import NAMES
from rheobase.kernels.population_form import Feed, Form, StageForm
from rheobase.kernels.population_lists import run_lists, suits_lists
from rheobase.kernels.population_parts import Array, Batch, Stage, array_of, carried_out, in_blocks, traced
from rheobase.kernels.population_source import forward_source
from rheobase.kernels.population_unrolled import LANES, unrolled_source, unrolls
from rheobase.kernels.products import linear
from rheobase.kernels.reduction import LEVELS, Reduction, summing
from rheobase.kernels.workspace import empty

CACHED = 48 * 1024  # bytes that a piece's states and emissions may take


def lay_out(stages: Sequence[Stage], inputs: Tensor | Constant) -> Batch:
    """An input `[T, B, ...]` as this network takes it fastest."""
    batch = Batch.of(inputs, lanes_for(stages, inputs.shape[1], inputs.dtype.itemsize))
    written_out = batch.lanes == LANES and _few(stages, batch.dtype.itemsize)
    return batch.listed() if not written_out and suits_lists(stages, batch) else batch


def lanes_for(stages: Sequence[Stage], samples: int, itemsize: int) -> int:
    """Samples per block, for so many of them.

    No more than there are (rounded up), and no more than let states and emissions stay in the cache, or in
    registers if the neurons are few.
    """
    if _few(stages, itemsize):
        return LANES
    rows = sum(s.size + sum(c.size * len(c.neuron.initial()) for c in s.cells) for s in stages)
    for lanes in (64, 32):
        if samples > lanes // 2 and rows * lanes * itemsize <= CACHED:
            return lanes
    return 16


def _few(stages: Sequence[Stage], itemsize: int) -> bool:
    """Whether there is a kernel for networks of this very size."""
    groups = [[traced(c) for c in s.cells] for s in stages]
    return all(s.recurrent is None for s in stages) and unrolls(groups, _sizes(stages), itemsize)


def _sizes(stages: Sequence[Stage]) -> tuple[int, ...]:
    """The number of inputs, and of neurons of each stage."""
    return (stages[0].weights.weight.shape[-1], *(s.size for s in stages))


def run_population(
    stages: Sequence[Stage],
    batch: Batch,
    reductions: Sequence[Reduction] = (),
    signals: Sequence[str] = (),
) -> tuple[list[Tensor], list[Tensor]]:
    """Every member on the whole batch, from rest.

    Args:
        stages: The network, with its members' parameters.
        batch: The input.
        reductions: What is wanted of the last stage's signals.
        signals: Those of its signals of which every step is wanted.

    Returns:
        `[P, B, K]` for each reduction, and `[P, T, B, K]` for each signal.

    >>> from rheobase.kernels.population_parts import Cells, Weights
    >>> from rheobase.neurons.lif import LIF
    >>> weights = Weights(torch.tensor([[[0.5]], [[2.0]]]))  # of two members
    >>> stage = Stage((Cells(LIF(tau_m=1.0), 1),), weights)
    >>> batch = Batch.of(torch.ones(4, 1, 1), lanes=16)
    >>> run_population([stage], batch, [Reduction("spikes", "sum")])[0][0].flatten().tolist()
    [0.0, 4.0]
    """
    if batch.feed == "lists":
        return run_lists(stages, batch, reductions, signals)
    members = max(s.members for s in stages)
    written_out = batch.lanes == LANES and _few(stages, batch.dtype.itemsize)
    if written_out:
        stages = [replace(s, weights=s.weights.dense()) for s in stages]
    feed, product = batch.feed, []
    if feed == "constant" and stages[0].weights.weight.shape[0] == 1:
        feed, value = "shared", batch.value
        assert value is not None
        current = linear(value, stages[0].weights.weight[0].detach(), None)
        product = [in_blocks(current, batch.lanes)]
    forms, given = [], []
    for at, stage in enumerate(stages):
        stage_form, arrays = _prepare(stage, batch.dtype, shared=at == 0 and feed == "shared")
        forms.append(stage_form)
        given += arrays
    form = Form(
        dtype=NAMES[batch.dtype],
        lanes=batch.lanes,
        feed=feed,
        stages=tuple(forms),
        reductions=tuple((r.signal, r.how) for r in reductions),
        signals=tuple(signals),
        sizes=_sizes(stages) if written_out else None,
    )
    number, (blocks, lanes), size = batch.dtype, (batch.blocks, batch.lanes), stages[-1].size
    results = [empty((members, size, blocks, lanes), number) for _ in reductions]
    whole = [empty((members, batch.steps, size, blocks, lanes), number) for _ in signals]
    _kernel(form).run(
        [
            batch.array,
            *product,
            *given,
            *(r.numpy() for r in (*results, *whole)),
            *_working_memory(stages, batch, feed, [r.how for r in reductions].count("sum")),
            *(number for r in reductions if r.how == "sum" for number in summing(r, batch.steps)),
            batch.steps,
            blocks,
        ],
        members * blocks,
        members * blocks * lanes * batch.steps * sum(s.size for s in stages),
    )
    return [_samples(r, batch) for r in results], [_samples(w, batch) for w in whole]


def _samples(blocked: Tensor, batch: Batch) -> Tensor:
    """`[..., K, blocks, lanes]` as `[..., B, K]`, without a copy."""
    return blocked.flatten(-2)[..., : batch.samples].transpose(-1, -2)


def _prepare(stage: Stage, dtype: torch.dtype, *, shared: bool) -> tuple[StageForm, list[Any]]:
    """What of the stage the kernel's form depends on, and what it is given (see `stage_arguments`)."""
    arrays: list[Any] = [] if shared else [array_of(stage.weights.weight, dtype)]
    arrays += [] if stage.bias is None else [array_of(stage.bias, dtype)]
    arrays += stage.weights.factors(dtype)
    if stage.recurrent is not None:
        arrays += [array_of(stage.recurrent.weight, dtype), *stage.recurrent.factors(dtype), stage.delay]
    programs = []
    for cells in stage.cells:
        plan, slots = carried_out(cells)
        programs.append(plan.key)
        values = [slots[n] for n in (*plan.coefficients, *plan.initial)]
        arrays += [cells.size, *(array_of(v, dtype) for v in values)]
    form = StageForm(
        programs=tuple(programs),
        biased=stage.bias is not None,
        factored=stage.weights.left is not None,
        recurrent=stage.recurrent is not None,
        recurrent_factored=stage.recurrent is not None and stage.recurrent.left is not None,
    )
    return form, arrays


def _working_memory(stages: Sequence[Stage], batch: Batch, feed: Feed, sums: int) -> list[Array]:
    """Arrays that threads work in (see `work_arguments`)."""
    threads, number = torch.get_num_threads(), torch.empty((), dtype=batch.dtype).numpy().dtype

    def rows(*shape: int) -> Array:
        return np.zeros((threads, *shape, batch.lanes), number)

    rank = max([1, *(w.rank for s in stages for w in (s.weights, s.recurrent) if w is not None)])
    every = np.arange(max(batch.width, rank, *(s.size for s in stages)), dtype=np.int32)
    memory = [every, rows(rank), rows(rank)]
    if feed == "spikes":
        memory += [rows(batch.width), np.zeros((threads, batch.width), np.int32)]
    elif feed != "values":
        memory.append(rows(stages[0].columns))
    for s in stages:
        depth = 1 if s.recurrent is None else s.delay + 1
        memory += [rows(depth, s.size), np.zeros((threads, depth, s.size), np.int32)]
        memory.append(np.zeros((threads, depth), np.int64))
        memory += [rows(c.size) for c in s.cells for _ in c.neuron.initial()]
    return [*memory, *(rows(LEVELS, stages[-1].size) for _ in range(sums))]


@functools.cache
def _kernel(form: Form) -> Kernel:
    name = f"population of {form.models}"
    write = forward_source if form.sizes is None else unrolled_source
    return Kernel(write(form, f"Forward pass of a {name} networks."), "forward", name)
