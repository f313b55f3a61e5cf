"""The recurrent adaptive neuron of W2 and W3, and its float64 truth in plain NumPy.

    v[t] = alpha v[t-1] + c[t] + W z[t-1] - thr z[t-1]       (the reset is detached: no gradient through it)
    b[t] = rho b[t-1] + z[t-1],   x[t] = (v[t] - thr - beta b[t]) / thr
    z[t] = H(x[t]),               dH/dx := gamma max(0, 1 - |x|)
    y[t] = kappa y[t-1] + U z[t] + u                         (read-out, a leaky integrator)

Everything is 0 before the first step; c is the product of the input with its weights, plus a bias; W has no
self-connections. v, c, b and y are dimensionless, time is in ms, one step is 1 ms.

At a high rate such a network is chaotic: a membrane within rounding of the threshold falls on one side or the
other, and the two sequences part for good, however exact both are. So a contestant is not held to the
sequence of the reference. `forward` can follow given spikes: what went before each step is the contestant's
own, and every single decision (fire or not), and the gradient along its own sequence, must be right.

Source: G. Bellec et al., A solution to the learning dilemma for recurrent networks of spiking neurons, Nature
Communications 11 (2020) 3625; there with an undetached reset.
Not modelled: refractoriness, delays, neurons without adaptation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TAU_M, TAU_A, TAU_READOUT = 20.0, 200.0, 20.0
ALPHA, RHO, KAPPA = (float(np.exp(-1 / tau)) for tau in (TAU_M, TAU_A, TAU_READOUT))
THRESHOLD, BETA, GAMMA = 1.0, 0.02, 0.3

Float = NDArray[np.float64]
Spikes = NDArray[np.bool_]


@dataclass(frozen=True)
class Run:
    """A hidden layer over time, each [T, B, N]."""

    fired: Spikes  # what the neurons decide, given what went before
    spikes: Spikes  # what went before: `fired`, or the spikes that were followed
    x: Float


def forward(current: Float, weight: Float, follow: Spikes | None = None) -> Run:
    """The hidden layer for currents [T, B, N]; resets, adaptation and recurrence by `follow` if given."""
    v, b, z = np.zeros((3, *current.shape[1:]))
    fired = np.empty(current.shape, dtype=np.bool_)
    distance = np.empty(current.shape)
    spikes = fired if follow is None else follow
    for t in range(len(current)):
        v = ALPHA * v + current[t] + z @ weight.T - THRESHOLD * z
        b = RHO * b + z
        distance[t] = (v - THRESHOLD - BETA * b) / THRESHOLD
        fired[t] = distance[t] > 0
        z = spikes[t].astype(np.float64)
    return Run(fired, spikes, distance)


def adjoint(grad_spikes: Float, weight: Float, x: Float) -> Float:
    """dL/dc [T, B, N] from dL/dz[t] [T, B, N] through the read-out alone."""
    out = np.empty_like(grad_spikes)
    grad_v, grad_b = np.zeros((2, *grad_spikes.shape[1:]))
    for t in range(len(out) - 1, -1, -1):
        grad_z = grad_spikes[t] + grad_v @ weight + grad_b
        grad_x = grad_z * GAMMA * np.maximum(0, 1 - np.abs(x[t])) / THRESHOLD
        grad_v = ALPHA * grad_v + grad_x
        grad_b = RHO * grad_b - BETA * grad_x
        out[t] = grad_v
    return out


def read_out(current: Float) -> Float:
    """y [T, B, K] for currents [T, B, K]."""
    y = np.empty_like(current)
    state = np.zeros_like(current[0])
    for t in range(len(current)):
        state = KAPPA * state + current[t]
        y[t] = state
    return y


def read_out_adjoint(grad_y: Float) -> Float:
    """dL/d(current of the read-out) [T, B, K] from dL/dy [T, B, K]: the same filter, backwards."""
    return read_out(grad_y[::-1])[::-1]


def weight_gradient(grad_current: Float, spikes: Spikes) -> Float:
    """dL/dW [N, N] (to, from) for the connections between steps, 0 where a neuron meets itself."""
    neurons = grad_current.shape[-1]
    before = spikes[:-1].reshape(-1, neurons).astype(np.float64)
    gradient: Float = grad_current[1:].reshape(-1, neurons).T @ before
    np.fill_diagonal(gradient, 0)
    return gradient
