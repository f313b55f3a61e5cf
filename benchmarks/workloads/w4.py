"""W4: one trial of SuperSpike, online: one current-based neuron, 100 inputs, 5,000 steps of 0.1 ms, from
rest.

At each step: what arrives is added to the synaptic current, the membrane moves, fires, is reset and held for
5 ms; traces of each input and of each synapse go on; the error e = alpha * (target - spike) times the
eligibility is added up. What must come out are the spikes and that sum, the direction of learning.

Source of the rule: F. Zenke, S. Ganguli, SuperSpike, Neural Computation 30 (2018) 1514.
"""

from __future__ import annotations

import math

import numpy as np

from benchmarks.interface import Data, Outputs

TITLE = "W4: one trial of SuperSpike online, 100-1, current-based LIF, T=5000"
STEPS, INPUTS, NEURONS = 5000, 100, 1
PARAMETERS = ("w",)
CASES: dict[str, dict[str, int]] = {"w4": {}}

DT = 0.1  # ms
A_SYN, A_MEM = math.exp(-DT / 5.0), math.exp(-DT / 10.0)
REST, THRESHOLD, REFRACTORY, SLOPE = -60.0, -50.0, 50, 1.0  # mV, mV, steps, 1/mV
RISE, DECAY = 1 - DT / 5.0, 1 - DT / 10.0  # of the error's filter, by Euler's scheme


def make(seed: int) -> Data:
    """x [T, 100] spikes at 5 Hz, y [T, 1] target spikes, w [1, 100] in mV."""
    rng = np.random.default_rng(seed)
    targets = np.zeros((STEPS, NEURONS), np.float32)
    targets[[830, 1660, 2490, 3320, 4150]] = 1
    return {
        "x": (rng.random((STEPS, INPUTS)) < 0.0005).astype(np.float32),
        "y": targets,
        "w": (8.0 + 8.0 * rng.normal(size=(NEURONS, INPUTS))).astype(np.float32),
    }


def reference(data: Data) -> Outputs:
    """Spikes [T, 1, 1] and the sum for w, in float64, step by step."""
    x, y, w = (data[name].astype(np.float64) for name in ("x", "y", "w"))
    current, v, mute = np.zeros(NEURONS), np.full(NEURONS, REST), np.zeros(NEURONS)
    z, response = np.zeros(INPUTS), np.zeros(INPUTS)
    first, trace = np.zeros((NEURONS, INPUTS)), np.zeros((NEURONS, INPUTS))
    error = np.zeros((2, NEURONS))
    total = np.zeros((NEURONS, INPUTS))
    spikes = np.zeros((STEPS, 1, NEURONS), np.bool_)
    for t in range(STEPS):
        current = A_SYN * current + w @ x[t]
        moved = REST + A_MEM * (v - REST) + (1 - A_MEM) * current
        v = np.where(mute > 0, v, moved)
        fired = (v > THRESHOLD) & (mute <= 0)
        mute = np.where(fired, REFRACTORY, np.maximum(mute - 1, 0))
        v = np.where(fired, REST, v)
        gate = 1 / (1 + SLOPE * np.abs(v - THRESHOLD)) ** 2
        z = A_SYN * z + x[t]
        response = A_MEM * response + (1 - A_MEM) * z
        first = RISE * first + (1 - RISE) * np.outer(gate, response)
        trace = DECAY * trace + (1 - DECAY) * first
        error[0] = RISE * error[0] + (1 - RISE) * (y[t] - fired)
        error[1] = DECAY * error[1] + (1 - DECAY) * error[0]
        total += error[1][:, None] * trace
        spikes[t, 0] = fired
    return Outputs(spikes, {"w": total})
