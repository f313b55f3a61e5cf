"""SuperSpike's window in one kernel: a layer of current-based neurons, its spikes and its sums, from events.

For few neurons (one, in the experiment that the rule is known for) the general path, neurons, then filters,
then products, is mostly calls. Here all of a window happens in one:

    forward     i' = a i + sum of the weights of what arrives; v as the neuron's equations; spike; sigma'(v);
                the error e = alpha * (target - spikes)
    backward    e through alpha's adjoint, sigma', the membrane's adjoint; a sum at each presynaptic spike

The same sums as `rheobase.rules.backward_sums`, up to rounding, traces over the window's ends included. Cost:
some twenty operations for each neuron and step, a few for each event.

Only for neurons whose equations are those of `SynapticLIF` with exponential leaks, reset to a value at once,
held while refractory, and the fast sigmoid as surrogate: the neuron of the paper. `serves` tells.
"""

from __future__ import annotations

import functools
import math
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rheobase.kernels.cache import Kernel
from rheobase.kernels.vectors import version
from rheobase.neurons.base import Neuron
from rheobase.neurons.synaptic_lif import SynapticLIF
from rheobase.surrogate import FastSigmoid

Array = np.ndarray[Any, Any]


class Events(NamedTuple):
    """What arrives at step t: `senders[starts[t]:starts[t + 1]]` of so many `inputs`, each of a size."""

    starts: Array  # shape: [T + 1], int64
    senders: Array  # shape: [E], int64
    sizes: Array  # shape: [E], 1 for a spike
    inputs: int


class Carry(NamedTuple):
    """What goes on from one window to the next.

    Attributes:
        state: Of each neuron: current, membrane, steps left mute, both sums of the error's filter, `[I, 5]`.
        presynaptic: Both states of the membrane's response to each input, `[2, J]`.
        eligibility: Both states of each synapse's eligibility, `[2, I, J]`.
    """

    state: Tensor
    presynaptic: Tensor
    eligibility: Tensor


class Window(NamedTuple):
    """What a window brought.

    Attributes:
        total: sum_t e lambda, `[I, J]`.
        spikes, membranes: After each step, `[T, I]`.
        carry: For the next window.
    """

    total: Tensor
    spikes: Tensor
    membranes: Tensor
    carry: Carry


def events_of(x: Tensor) -> Events:
    """The events of spike trains `[T, J]`: all values that are not 0.

    >>> events_of(torch.tensor([[0.0, 1.0], [0.0, 0.0], [1.0, 1.0]])).senders.tolist()
    [1, 0, 1]
    """
    steps, inputs = x.shape
    flat = x.contiguous().flatten().numpy()
    starts = np.empty(steps + 1, np.int64)
    senders, sizes = np.empty(flat.size, np.int64), np.empty(flat.size, flat.dtype)
    if flat.size:
        _kernel("search").run([flat, starts, senders, sizes], 1, 1)
    else:
        starts[:] = 0
    found = int(starts[-1])
    return Events(starts, senders[:found], sizes[:found], inputs)


def serves(neuron: Neuron) -> bool:
    """Whether the kernel has this neuron's equations.

    >>> serves(SynapticLIF.preset("superspike")), serves(SynapticLIF(reset="subtract"))
    (True, False)
    """
    return (
        type(neuron) is SynapticLIF
        and isinstance(neuron.surrogate, FastSigmoid)
        and (neuron.reset, neuron.timing, neuron.refractory_mode) == ("value", "immediate", "hold")
        and (neuron.scheme, neuron.synapse, neuron.strict) == ("exponential", "first", True)
        and not neuron.relative
        and not any(isinstance(getattr(neuron, name), Tensor) for name in neuron.parameter_names())
    )


def at_rest(neuron: SynapticLIF, outputs: int, inputs: int, dtype: torch.dtype) -> Carry:
    """The carry before the first window."""
    state = torch.zeros(outputs, 5, dtype=dtype)
    state[:, 1] = neuron.v_rest
    return Carry(state, torch.zeros(2, inputs, dtype=dtype), torch.zeros(2, outputs, inputs, dtype=dtype))


def run_window(
    neuron: SynapticLIF,
    rise: float,
    decay: float,
    cutoff: float | None,
    events: Events,
    weights: Tensor,
    targets: Tensor,
    carry: Carry,
) -> Window:
    """One window.

    Args:
        neuron: The model, for which `serves` is true.
        rise, decay: What a step leaves in the first and in the second sum of the error's filter.
        cutoff: Distance below the threshold beyond which sigma' is 0; nowhere if None.
        events: What arrives at the synapses.
        weights: `[I, J]`.
        targets: The target trains `[T, I]`, of the weights' type.
        carry: What the window before left (see `at_rest`).

    Raises:
        ValueError: If shapes do not fit.
    """
    outputs, inputs = weights.shape
    steps = len(events.starts) - 1
    if targets.shape != (steps, outputs) or events.inputs != inputs:
        raise ValueError(
            f"online window: got targets of shape {tuple(targets.shape)} and {events.inputs} inputs for "
            f"{steps} steps of events and weights of shape {(outputs, inputs)}, wanted "
            f"{(steps, outputs)} and {inputs}"
        )
    number = np.float32 if weights.dtype == torch.float32 else np.float64
    state, eligibility = (x.numpy().copy() for x in (carry.state, carry.eligibility))
    after, total = np.empty((2, inputs), number), np.empty((outputs, inputs), number)
    spikes, membranes = np.empty((2, steps, outputs), number)
    threads = torch.get_num_threads()
    work = [np.empty((threads, steps), number), np.empty((threads, steps), number)]
    arrays = [
        events.starts,
        events.senders,
        events.sizes,
        weights.numpy(),
        targets.numpy(),
        _numbers(neuron, rise, decay, cutoff, number),
        state,
        carry.presynaptic.numpy(),
        after,
        eligibility,
        spikes,
        membranes,
        total,
        *work,
        np.empty((threads, 2, inputs), number),
    ]
    _kernel("window").run(arrays, outputs, outputs * steps)
    out = [torch.from_numpy(x) for x in (total, spikes, membranes, state, after, eligibility)]
    return Window(out[0], out[1], out[2], Carry(out[3], out[4], out[5]))


@functools.lru_cache(maxsize=64)
def _numbers(neuron: SynapticLIF, rise: float, decay: float, cutoff: float | None, number: Any) -> Array:
    a, b = math.exp(-neuron.dt / neuron.tau_s), math.exp(-neuron.dt / neuron.tau_m)
    gain = neuron.resistance * ((1.0 - b) if neuron.scaling == "leak" else 1.0)
    assert isinstance(neuron.surrogate, FastSigmoid)
    values = [a, b, gain, neuron.threshold, neuron.v_rest, neuron.v_reset, float(neuron.refractory_steps)]
    values += [neuron.surrogate.slope, math.inf if cutoff is None else cutoff, rise, decay, 0.0, 1.0]
    return np.array(values, number)


@functools.cache
def _kernel(function: str) -> Kernel:
    # As text: importing it would import Numba, which only compiling needs.
    source = files("rheobase.kernels").joinpath("online_loops.py").read_text("utf-8")
    return Kernel(f"{source}\n# {version('online_loops')}\n", function, f"SuperSpike {function}")
