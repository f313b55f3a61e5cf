"""`torch.compile`: the recurrent layer of the torch loop, a stretch of its steps to a graph.

Longer stretches run faster but take longer to compile: 20 steps, 12 to 19 s. The gradient of the recurrent
weights is taken afterwards, in one product, as in the loop's best form.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from benchmarks.contestants.torch_loop import State, adaptive_step
from benchmarks.interface import Forms
from benchmarks.torch_recurrent import (
    adding,
    all_membranes,
    last_membrane,
    sequences,
    weight_gradient_afterwards,
)

NAME = "torch.compile"
KIND = "peer"
VERSION = torch.__version__

STRETCH = 20


@torch.compile(fullgraph=True, dynamic=False)  # type: ignore[untyped-decorator]
def _stretch(currents: Tensor, v: Tensor, b: Tensor, z: Tensor, weight: Tensor) -> tuple[State, Tensor]:
    spikes = []
    for current in currents.unbind(0):
        v, b, z = adaptive_step(current, v, b, z, weight)
        spikes.append(z)
    return (v, b, z), torch.stack(spikes)


def _hidden(currents: Tensor, weight: Tensor) -> Tensor:
    spikes: list[Tensor] = []
    currents, weight = weight_gradient_afterwards(currents, weight, spikes)
    state = (torch.zeros_like(currents[0]), torch.zeros_like(currents[0]), torch.zeros_like(currents[0]))
    for some in currents.split(STRETCH):
        state, emitted = _stretch(some, *state, weight)
        spikes.append(emitted)
    return torch.cat(spikes)


_FORM = f"{STRETCH} steps a graph"
WORKLOADS: dict[str, Forms] = {
    "w2": {_FORM: partial(adding, network=last_membrane(_hidden))},
    "w3": {_FORM: partial(sequences, network=all_membranes(_hidden))},
}
