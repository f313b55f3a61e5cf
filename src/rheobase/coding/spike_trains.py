"""How far spike trains are from each other.

    van Rossum cost      4 * 1000 / E * mean_t (e/dt)^2,   e = k * (target - spikes)
    Victor-Purpura       the cheapest way to turn one train into the other: 1 to insert or delete a spike,
                         q |t - t'| to move it
    coincidences         spikes matched to targets one to one, each within a tolerance
    response errors      -1 at each spike outside a window, +1 at the end of a window without one

e is the difference of the filtered trains, E the integral of k^2 (`Filter.energy`). In the limit of short
steps, a spike that stands alone and is not matched costs 4 for each second over which the mean is taken, on
the scale of the figures that the authors of SuperSpike print: trains of r Hz cost a silent neuron 4 r.

van Rossum, Neural Computation 13 (2001); Zenke & Ganguli, "SuperSpike", Neural Computation 30 (2018);
Victor & Purpura, "Nature and precision of temporal coding in visual cortex", J. Neurophysiology 76 (1996).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rheobase.coding.filters import DoubleExponential, Filter

#: What an unmatched spike that stands alone costs, times its rate in Hz.
PER_HERTZ = 4.0
#: The filter of SuperSpike's code.
SUPERSPIKE = DoubleExponential(tau_rise=5.0, tau_decay=10.0, scheme="euler")


def van_rossum_cost(
    spikes: Tensor, target: Tensor, dt: float, filter: Filter = SUPERSPIKE, mask: Tensor | None = None
) -> Tensor:
    """The cost of each sample `[B]`, mean over steps and neurons, of trains `[T, B, N]`; differentiable.

    Args:
        spikes, target: Spike trains, 0 or 1 (or any numbers) at each step.
        dt: Duration of a step in ms.
        filter: The filter, whose area is taken to be 1.
        mask: Steps of which the mean is taken, bool `[T, B]`; spikes at other steps are filtered all the
        same.

    >>> target = torch.zeros(10_000, 1, 1)  # one second
    >>> target[5000] = 1.0
    >>> van_rossum_cost(torch.zeros_like(target), target, dt=0.1)
    tensor([4.0271])
    """
    if spikes.shape != target.shape or spikes.dim() != 3:
        raise ValueError(
            f"van Rossum cost: got spikes of shape {tuple(spikes.shape)} and targets of shape "
            f"{tuple(target.shape)}, wanted two of the same shape [T, B, N]"
        )
    area = filter if filter.normalise == "area" else filter.replace(normalise="area")
    squares = area(target - spikes, dt).square().mean(2)  # shape: [T, B]
    mean = squares.mean(0) if mask is None else (squares * mask).sum(0) / mask.sum(0)
    return mean * (PER_HERTZ * 1000.0 / (filter.energy() * dt * dt))


def van_rossum_distance(spikes: Tensor, target: Tensor, dt: float, filter: Filter = SUPERSPIKE) -> Tensor:
    """The distance of each pair of trains, `[B, N]` for `[T, B, N]`: one spike alone is at 1 from silence.

    The trains end with the sequence: what a filter makes of spikes beyond it is not counted.

    >>> target = torch.zeros(4000, 1, 1)
    >>> target[1000] = target[3000] = 1.0
    >>> van_rossum_distance(torch.zeros_like(target), target, dt=0.1)
    tensor([[1.4142]])
    """
    alone = torch.zeros(int(20 * sum(filter.time_constants()) / dt) + 1, dtype=torch.float64)
    alone[0] = 1.0
    unit = filter(alone, dt).square().sum()
    return (filter(target - spikes, dt).square().sum(0) / unit).sqrt().to(spikes.dtype)


def victor_purpura(first: Sequence[float], second: Sequence[float], q: float) -> float:
    """The Victor-Purpura distance of two trains of spike times in ms, `q` (1/ms) being the price of moving.

    Raises:
        ValueError: If times are not in order, or q is negative.

    >>> victor_purpura([10.0, 20.0], [12.0], q=0.1)  # move by 2 ms, delete one
    1.2
    """
    if q < 0:
        raise ValueError(f"q: got {q} per ms, wanted at least 0")
    a, b = (np.asarray(times, dtype=float) for times in (first, second))
    for times in (a, b):
        if (np.diff(times) < 0).any():
            raise ValueError("victor_purpura: got spike times that are not in order; sort them")
    # costs[j]: of the spikes of `a` so far against the first j of `b`.
    costs = np.arange(len(b) + 1, dtype=float)
    for i, time in enumerate(a, start=1):
        deleted, moved = costs[1:] + 1.0, costs[:-1] + q * np.abs(time - b)
        costs[0] = i
        for j, best in enumerate(np.minimum(deleted, moved), start=1):
            costs[j] = min(best, costs[j - 1] + 1.0)
    return float(costs[-1])


def coincidences(
    spikes: Sequence[float], targets: Sequence[float], tolerance: float, period: float | None = None
) -> int:
    """How many spikes can be matched to targets one to one, each within `tolerance` ms.

    Args:
        spikes, targets: Times in ms.
        tolerance: The largest difference of a pair.
        period: If the trains repeat, after how many ms.

    >>> coincidences([83.5, 84.0, 170.0], [83.0, 166.0], tolerance=2.0)
    1
    """
    gap = np.abs(np.subtract.outer(np.asarray(spikes, dtype=float), np.asarray(targets, dtype=float)))
    if period is not None:
        gap = np.minimum(gap, period - gap)
    if gap.size == 0:
        return 0
    from networkx import Graph
    from networkx.algorithms.bipartite import hopcroft_karp_matching

    graph: Graph[tuple[str, int]] = Graph()
    graph.add_nodes_from(("spike", i) for i in range(len(spikes)))
    graph.add_edges_from(
        (("spike", int(i)), ("target", int(j))) for i, j in zip(*np.nonzero(gap <= tolerance), strict=True)
    )
    pairs = hopcroft_karp_matching(graph, [("spike", i) for i in range(len(spikes))])
    return len(pairs) // 2


def response_errors(spikes: Tensor, windows: Tensor) -> Tensor:
    """Errors `[T, B, N]`: -1 at each spike outside its neuron's windows, +1 at the end of a window without
    one.

    Args:
        spikes: 0 or 1 at each step, `[T, B, N]`.
        windows: 1 within a window, else 0, `[T, B, N]`. A window that the sequence cuts off ends with it.

    >>> windows = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0, 0.0]).reshape(6, 1, 1)
    >>> spikes = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0, 0.0]).reshape(6, 1, 1)
    >>> response_errors(spikes, windows).flatten().tolist()
    [-1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    """
    inside = windows > 0
    after = torch.cat([inside[1:], torch.zeros_like(inside[:1])])
    before = torch.cat([torch.zeros_like(inside[:1]), inside[:-1]])
    hits = (spikes * inside).cumsum(0)
    opened = torch.where(inside & ~before, hits - spikes * inside, torch.zeros_like(hits))
    # Spikes before the window that a step is in: what was counted when it opened (counts never fall).
    earlier = opened.cummax(0).values
    missed = inside & ~after & (hits - earlier == 0)
    return missed.to(spikes.dtype) - spikes * ~inside
