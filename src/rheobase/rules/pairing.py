"""What pairs of spikes sum up to while weights stand still: products of spikes and traces.

With the weights of a synapse held over a batch, the potentiation and depression of
`rheobase.kernels.timing` are sums over time and samples in which the weight is a common factor,

    up[i, j] = sum_t z_i (A2+ + A3+ y2_i) (x1_j - silent)      down[i, j] = sum_t s_j (A2- + A3- x2_j) y1_i

These are products of matrices, in which spikes are mostly zeros (`rheobase.kernels.products`). Traces are
run by the fused kernels, as neurons that integrate spikes and emit what they hold. A sequence may come in
pieces. A third factor R_i(t), such as a reward, multiplies what happens at neuron i in step t, in both
sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rheobase.config import option, parameter
from rheobase.kernels.products import weight_gradient
from rheobase.kernels.sequence import sequence
from rheobase.kernels.timing import TRACES, Timing, Window
from rheobase.neurons.base import Neuron, State
from rheobase.operators import Value, where


class SpikeTrace(Neuron):
    """A trace of spikes: at each step it emits what the steps before have left.

    >>> SpikeTrace(decay=0.5, gain=0.5).step(State(x=1.0), 1.0)
    ({'x': 1.0}, 1.0)
    """

    decay: Any = parameter(default=0.9, help="what is left of the trace after a step")
    gain: Any = parameter(default=0.9, help="what is left of a spike after a step")
    nearest: bool = option(default=False, help="a spike takes the place of those before it")

    def initial(self) -> State:
        return State(x=0.0)

    def step(self, state: State, current: Value) -> tuple[State, Value]:
        old, new = self.decay * state.x, self.gain * current
        if not self.nearest:
            return State(x=old + new), state.x
        silent = (current <= 0.0) & (current >= 0.0)
        return State(x=where(silent, old, new)), state.x


def run_trace(
    spikes: Tensor, window: Window, nearest: bool, before: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The trace of `spikes` `[T, B, N]` as seen at each step, and after the last one, `[B, N]`.

    Args:
        spikes: Spikes, or other values.
        window: How it forgets.
        nearest: Whether it holds the last spike only.
        before: What it holds at the first step; nothing if None.

    >>> run_trace(torch.ones(3, 1, 1), Window(0.5, 1.0), False)[0].flatten().tolist()
    [0.0, 1.0, 1.5]
    """
    state = None if before is None else {"x": before.to(spikes.dtype)}
    run = sequence(SpikeTrace(decay=window.decay, gain=window.gain, nearest=nearest), spikes, state)
    return run.output, run.state["x"]


def pairs(
    timing: Timing,
    pre: Tensor,
    post: Tensor,
    before: Mapping[str, Tensor] | None = None,
    factor: Tensor | None = None,
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Potentiation and depression, summed over time and samples, before weights have their say.

    Args:
        timing: The rule.
        pre: What comes in, `[T, B, P]`.
        post: What was emitted, `[T, B, N]`.
        before: The traces so far, by the names of `TRACES`; of silence if None.
        factor: The third factor, `[T, B, N]`; 1 if None.

    Returns:
        `up` and `down`, `[N, P]`, and the traces after the last step.

    >>> from rheobase.kernels.timing import ONE_STEP
    >>> rule = Timing(ONE_STEP, ONE_STEP, plus=1.0, minus=1.0)
    >>> pre, post = torch.zeros(4, 1, 1), torch.zeros(4, 1, 1)
    >>> pre[0], post[1] = 1.0, 1.0
    >>> up, down, _ = pairs(rule, pre, post)
    >>> up.item(), down.item()
    (1.0, 0.0)
    """
    seen, after = dict(before or {}), {}
    signals: dict[str, Tensor] = {}
    spikes = dict(zip(TRACES, (pre, pre, post, post), strict=True))
    for name, window in zip(TRACES, timing.windows, strict=True):
        if timing.triplets or not name.endswith("slow"):
            signals[name], after[name] = run_trace(spikes[name], window, timing.nearest, seen.get(name))
    x1 = signals["pre"]
    if timing.same_step:
        x1 = torch.where(pre != 0, pre, x1) if timing.nearest else x1 + pre
    gained = post * timing.plus
    lost = pre * timing.minus
    if timing.triplets:
        gained = gained + timing.plus_triplet * post * signals["post_slow"]
        lost = lost + timing.minus_triplet * pre * signals["pre_slow"]
    if factor is not None:
        gained = gained * factor
    up = weight_gradient(x1.flatten(0, 1), gained.flatten(0, 1)).t()
    if timing.silent:
        up = up - timing.silent * gained.sum((0, 1)).unsqueeze(1)
    if not timing.depresses:
        return up, torch.zeros_like(up), after
    y1 = signals["post"] if factor is None else signals["post"] * factor
    return up, weight_gradient(y1.flatten(0, 1), lost.flatten(0, 1)), after
