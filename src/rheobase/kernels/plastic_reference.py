"""The step-by-step reference of plastic neurons: the equations of `rheobase.kernels.timing` on tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rheobase.kernels.timing import TRACES, Timing
from rheobase.neurons.base import Neuron, State


def run_steps(
    neuron: Neuron,
    inputs: Tensor,
    given: Tensor,
    weight: Tensor,
    lateral: Tensor | None,
    timing: Timing,
    state: dict[str, Tensor],
    before: Tensor,
    traces: dict[str, Tensor],
    record: Sequence[str],
) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor], Tensor, dict[str, Tensor]]:
    """One step after another.

    Args:
        neuron: The model, its parameters bound.
        inputs: `[T, B, P]`.
        given: Other current into the neurons, `[T, B, N]`.
        weight: One copy for each sample, `[B, N, P]`.
        lateral: Weights among the neurons `[N, N]`, to each (first) from each, or None.
        timing: The rule.
        state: Of the neurons, `[B, N]`.
        before: What they emitted in the step before, `[B, N]`.
        traces: By the names of `TRACES`.
        record: State variables to record.

    Returns:
        What was emitted `[T, B, N]`, the states, the recorded ones `[T, B, N]`, the weights, the traces.
    """
    now, emitted = State(state), []
    kept: dict[str, list[Tensor]] = {name: [] for name in record}
    w, seen = weight, dict(traces)
    for s, extra in zip(inputs, given, strict=True):
        current = extra + (w @ s.unsqueeze(-1)).squeeze(-1)
        if lateral is not None:
            current = current + before @ lateral.t()
        now, z = neuron.step(now, current)
        w = _changed(w, s, z, seen, timing)
        spikes = dict(zip(TRACES, (s, s, z, z), strict=True))
        for name, window in zip(TRACES, timing.windows, strict=True):
            if name.endswith("slow") and not timing.triplets:
                continue
            old, new = window.decay * seen[name], window.gain * spikes[name]
            seen[name] = torch.where(spikes[name] != 0, new, old) if timing.nearest else old + new
        before = z
        emitted.append(z)
        for name, values in kept.items():
            values.append(now[name])
    return torch.stack(emitted), dict(now), {n: torch.stack(v) for n, v in kept.items()}, w, seen


def _changed(w: Tensor, s: Tensor, z: Tensor, seen: dict[str, Tensor], timing: Timing) -> Tensor:
    """The weights after the spikes of one step."""
    x1 = seen["pre"]
    if timing.same_step:
        x1 = torch.where(s != 0, s, x1) if timing.nearest else x1 + s
    up = z * (timing.plus + timing.plus_triplet * seen["post_slow"])
    potentiated = w + up.unsqueeze(-1) * (x1 - timing.silent).unsqueeze(-2) * timing.raised(w)
    w = torch.where((z != 0).unsqueeze(-1), timing.bounded(potentiated), w)
    down = s * (timing.minus + timing.minus_triplet * seen["pre_slow"])
    depressed = w - seen["post"].unsqueeze(-1) * down.unsqueeze(-2) * timing.lowered(w)
    return torch.where((s != 0).unsqueeze(-2) & timing.depresses, timing.bounded(depressed), w)
