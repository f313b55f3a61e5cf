"""The loops of `rheobase.kernels.online`: compiled like a generated kernel, from this text."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from rheobase.kernels import searches
from rheobase.kernels.vectors import BYTES

Array = np.ndarray[Any, Any]
TOGETHER: int = searches.TOGETHER
something: Any = searches.something


@numba.njit(nogil=True, error_model="numpy", fastmath={"contract", "nsz"})
def window(
    starts: Array,  # shape: [T + 1], where in `senders` the inputs of each step begin
    senders: Array,  # shape: [E], which input
    sizes: Array,  # shape: [E], and how much of it
    weights: Array,  # shape: [I, J]
    targets: Array,  # shape: [T, I]
    numbers: Array,  # see `Neuron` and `Error`
    state: Array,  # shape: [I, 5]: current, membrane, steps left mute, both sums of the error
    presynaptic: Array,  # shape: [2, J]
    after_presynaptic: Array,  # shape: [2, J]
    eligibility: Array,  # shape: [2, I, J], changed in place
    spikes: Array,  # shape: [T, I]
    membranes: Array,  # shape: [T, I]
    total: Array,  # shape: [I, J]
    gates_of: Array,  # shape: [threads, T]
    errors_of: Array,  # shape: [threads, T]
    sums_of: Array,  # shape: [threads, 2, J]
    thread: int,
    low: int,
    high: int,
) -> None:
    """One window of SuperSpike for a layer of current-based neurons, neuron by neuron.

    Forward in time: membrane, spike, sigma', error. Backward: the error's filter, sigma', the membrane's
    response, and at each presynaptic spike a sum; beside it, the same for what the eligibilities are at the
    end.
    """
    a, b, g, threshold, rest, reset, refractory, slope, cutoff, rise, decay = (
        numbers[0],
        numbers[1],
        numbers[2],
        numbers[3],
        numbers[4],
        numbers[5],
        numbers[6],
        numbers[7],
        numbers[8],
        numbers[9],
        numbers[10],
    )
    zero, one = numbers[11], numbers[12]
    steps, size = targets.shape[0], weights.shape[1]
    gates, errors, sums = gates_of[thread], errors_of[thread], sums_of[thread]
    for n in range(low, high):
        weight, gains = weights[n], total[n]
        i, v, mute, e0, e1 = state[n, 0], state[n, 1], state[n, 2], state[n, 3], state[n, 4]
        for t in range(steps):
            arriving = zero
            for k in range(starts[t], starts[t + 1]):
                arriving += sizes[k] * weight[senders[k]]
            i = a * i + arriving
            moved = b * (v - rest) + rest + g * i
            v = v if mute > zero else moved
            fired = zero
            if v > threshold and mute <= zero:
                fired = one
                v = reset
                mute = refractory
            else:
                mute = max(mute - one, zero)
            excess = v - threshold
            d = slope * abs(excess) + one
            gates[t] = one / (d * d) if excess > -cutoff else zero
            e0 = rise * e0 + (one - rise) * (targets[t, n] - fired)
            e1 = decay * e1 + (one - decay) * e0
            errors[t] = e1
            spikes[t, n] = fired
            membranes[t, n] = v
        state[n, 0], state[n, 1], state[n, 2], state[n, 3], state[n, 4] = i, v, mute, e0, e1
        for j in range(size):
            gains[j] = zero
            sums[0, j] = zero
            sums[1, j] = zero
        # The error's filter: y0' = rise y0 + (1 - rise) x, y1' = decay y1 + (1 - decay) y0'.
        r0 = r1 = zero
        # What an input of this step leaves in each of its sums after the last step.
        l0, l1 = one - rise, (one - decay) * (one - rise)
        s0 = s1 = zero  # the membrane's response, for the sum itself
        p0 = p1 = q0 = q1 = zero  # for both states of the eligibility
        for back in range(steps):
            t = steps - 1 - back
            r1 = r1 + errors[t]
            n0 = r0 + (one - decay) * r1
            gate = gates[t]
            y = gate * (one - rise) * n0
            r0, r1 = rise * n0, decay * r1
            s1, p1, q1 = s1 + y, p1 + gate * l0, q1 + gate * l1
            s0, p0, q0 = s0 + g * s1, p0 + g * p1, q0 + g * q1
            for k in range(starts[t], starts[t + 1]):
                j = senders[k]
                gains[j] += sizes[k] * s0
                sums[0, j] += sizes[k] * p0
                sums[1, j] += sizes[k] * q0
            s0, p0, q0 = a * s0, a * p0, a * q0
            s1, p1, q1 = b * s1, b * p1, b * q1
            l0, l1 = rise * l0, decay * l1 + (one - decay) * rise * l0
        rises, decays = rise**steps, decay**steps
        mixed = _mixed(rise, decay, one - decay, steps)
        for j in range(size):
            z0, z1 = presynaptic[0, j], presynaptic[1, j]
            first, second = eligibility[0, n, j], eligibility[1, n, j]
            gains[j] += s0 * z0 + s1 * z1 + r0 * first + r1 * second
            eligibility[0, n, j] = rises * first + sums[0, j] + p0 * z0 + p1 * z1
            eligibility[1, n, j] = mixed * first + decays * second + sums[1, j] + q0 * z0 + q1 * z1
    if low == 0:  # once for all neurons
        u0, u1 = one, g
        aa, bb, ab = a**steps, b**steps, _mixed(a, b, g, steps)
        for j in range(size):
            z0, z1 = presynaptic[0, j], presynaptic[1, j]
            after_presynaptic[0, j] = aa * z0
            after_presynaptic[1, j] = ab * z0 + bb * z1
        for back in range(steps):
            t = steps - 1 - back
            for k in range(starts[t], starts[t + 1]):
                after_presynaptic[0, senders[k]] += sizes[k] * u0
                after_presynaptic[1, senders[k]] += sizes[k] * u1
            u0, u1 = a * u0, b * u1 + g * a * u0


@numba.njit(nogil=True, error_model="numpy")
def search(
    values: Array,  # shape: [T J]
    starts: Array,  # shape: [T + 1]
    senders: Array,  # shape: [T J], of which the first E are set
    sizes: Array,  # shape: [T J], of which the first E are set
    low: int,
    high: int,
) -> None:
    """The values that are not zero, of all steps, whatever part of a range it is given.

    Most are zero: a block without any costs a look at a few vectors.
    """
    size, steps = values.shape[0], starts.shape[0] - 1
    inputs, block = size // steps, TOGETHER * BYTES // values.itemsize
    count = step = starts[0] = 0
    end = inputs  # of the step's values
    for first in range(0, size, block):
        last = min(first + block, size)
        if last - first == block and not something(values, first):
            continue
        for k in range(first, last):
            if values[k] != 0:
                while k >= end:
                    step += 1
                    starts[step] = count
                    end += inputs
                senders[count], sizes[count] = k - end + inputs, values[k]
                count += 1
    for left in range(step + 1, steps + 1):
        starts[left] = count


@numba.njit(nogil=True, error_model="numpy", inline="always")
def _mixed(a: Any, b: Any, g: Any, steps: int) -> Any:
    """What is left of the first of two leaky sums in the second, after so many steps: [A^steps]_10."""
    left, from_first = g * 0 + 1, g * 0
    for _ in range(steps):
        from_first = b * from_first + g * a * left
        left = a * left
    return from_first
