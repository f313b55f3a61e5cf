"""The step-by-step reference of recurrent sequences: the equations themselves, on torch tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rheobase.kernels.constant import Constant
from rheobase.kernels.groups import HISTORY, Group
from rheobase.kernels.sequence import Run
from rheobase.neurons.base import State

#: What a read of weights `[M, N]` gives for `[B, N]`: `[B, M]`.
Read = Callable[[Tensor, Tensor], Tensor]


def exact(x: Tensor, weight: Tensor) -> Tensor:
    """The weighted sums as they are."""
    return x @ weight.t()


def by_delay(weight: Tensor, delay: Tensor | None) -> dict[int, Tensor]:
    """The weights `[N, N]` of the connections of each delay that occurs (zero elsewhere).

    >>> by_delay(torch.ones(2, 2), torch.tensor([[1, 3], [3, 1]]))[3]
    tensor([[0., 1.],
            [1., 0.]])
    """
    taps = weight if weight.dim() == 3 else weight[None]
    if delay is None:
        return {1: taps.sum(0)}
    steps = delay.reshape(taps.shape)
    return {
        d: torch.where(steps == d, taps, 0.0).sum(0)
        for d in torch.bincount(steps.flatten()).nonzero().flatten().tolist()
    }


def run_reference(
    groups: Sequence[Group],
    current: Tensor | Constant,
    weight: Tensor,
    delay: Tensor | None,
    state: dict[str, Tensor],
    record: Sequence[str],
    cut: bool = False,
    read: Read = exact,
) -> Run:
    """The equations themselves, one step after another; no derivative along connections if `cut`.

    The connections of each delay are `read` on their own.
    """
    if isinstance(current, Constant):
        inputs: Sequence[Tensor] = [current.value] * current.steps
    else:
        inputs = current.unbind(0)
    weights = by_delay(weight, delay)
    emitted = list(state[HISTORY].unbind(0))
    depth = len(emitted)
    now = [State({v: state[g.label(v)] for v in g.neuron.initial()}) for g in groups]
    traces: dict[str, list[Tensor]] = {name: [] for name in record}
    sizes = [g.columns for g in groups]
    for value in inputs:
        for d, w in weights.items():
            value = value + read(emitted[-d].detach() if cut else emitted[-d], w)
        out = []
        for i, (g, part) in enumerate(zip(groups, torch.split(value, sizes, -1), strict=True)):
            now[i], z = g.neuron.step(now[i], g.neuron.gather(part.chunk(len(g.neuron.inputs), -1)))
            out.append(z)
            for variable in now[i]:
                if g.label(variable) in traces:
                    traces[g.label(variable)].append(now[i][variable])
        emitted.append(torch.cat(out, -1) if len(out) > 1 else out[0])
    last = {g.label(v): x for g, s in zip(groups, now, strict=True) for v, x in s.items()}
    last[HISTORY] = torch.stack(emitted[-depth:])
    return Run(torch.stack(emitted[depth:]), last, {n: torch.stack(v) for n, v in traces.items()})
