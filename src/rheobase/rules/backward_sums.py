"""Sums of error times eligibility over a window of time, by filtering backward.

The eligibility of a synapse, and what it adds to a weight's change over a window, are

    lambda_ij(t) = alpha * [sigma'_i (eps * x_j)](t),    m_ij = sum_t e_i(t) lambda_ij(t)

with eps the membrane's response and alpha the error's filter. Kept step by step, lambda takes a few
operations for each synapse and step. But all after sigma' is linear: a sum of e times something filtered is
the sum of that something times e filtered backward (`rheobase.kernels.linear`). So

    h = alpha^T e,    p = eps^T (sigma' h),    m_ij = sum_t p_i(t) x_j(t)

costs a few operations for each neuron and step, and one for each synapse and presynaptic spike; up to
rounding, the results are the same.

Traces reach over the ends of a window. What they were when it began is kept: of each presynaptic neuron the
states Z of eps * x, of each synapse the states L of lambda. With kappa and mu the derivatives by the state
before the first step (which filtering backward gives as well), a window adds

    m_ij += kappa_i L_ij + mu_i Z_j

and leaves the states Z' and L' behind. L' is a sum over the window like m, with the decay of alpha up to the
window's end in place of e: each of alpha's states is one more pass over the neurons.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor

from rheobase.kernels.constant import Constant
from rheobase.kernels.linear import LinearSystem, respond_adjoint
from rheobase.kernels.products import weight_gradient


class Traces(NamedTuple):
    """Attributes:
    presynaptic: The states of the membrane's response to each input (Z), `[S, J]`.
    eligibility: The states of each synapse's eligibility (L), `[R, I, J]`.
    """

    presynaptic: Tensor
    eligibility: Tensor


def pulled_back(
    system: LinearSystem, gate: Tensor, signal: Tensor, inputs: Tensor | Constant, delay: int, bias: bool
) -> tuple[Tensor, Tensor]:
    """The sum for a sequence from rest, with h = `signal` given, and p `[T, B, I]`.

    Args:
        system: The membrane's response, eps.
        gate: sigma' `[T, B, I]`.
        signal: h `[T, B, I]`.
        inputs: What is sent to the synapses, `[T, B, J]`.
        delay: Steps until it arrives.
        bias: Whether a sum for an input that is always 1 comes behind the others: `[I, J + 1]`, else `[I,
        J]`.
    """
    return pulled_back_membrane(system, gate * signal, inputs, delay, bias)


def pulled_back_membrane(
    system: LinearSystem, signal: Tensor, inputs: Tensor | Constant, delay: int, bias: bool
) -> tuple[Tensor, Tensor]:
    """`pulled_back` where `signal` is by the membrane itself, with no sigma' between."""
    p, _ = respond_adjoint(system, signal)
    at_arrival = p[delay:]  # this that much earlier is less to move than the inputs that much later
    if isinstance(inputs, Constant):
        total = at_arrival.sum(0).t() @ inputs.value.flatten(1)
    else:
        sent = inputs[: len(at_arrival)]
        total = weight_gradient(at_arrival.flatten(0, 1), sent.flatten(0, 1))
    return torch.cat([total, p.sum((0, 1)).unsqueeze(1)], 1) if bias else total, p


def no_traces(membrane: LinearSystem, error: LinearSystem, gate: Tensor, inputs: Tensor) -> Traces:
    """The traces before the first window."""
    (_, _, outputs), size = gate.shape, inputs.shape[2]
    return Traces(gate.new_zeros(membrane.size, size), gate.new_zeros(error.size, outputs, size))


def carried(
    membrane: LinearSystem, error: LinearSystem, gate: Tensor, signal: Tensor, inputs: Tensor, before: Traces
) -> tuple[Tensor, Traces]:
    """The sum over one window of many, `[I, J]`, and the traces for the next one.

    Args:
        membrane: eps.
        error: alpha.
        gate: sigma' `[T, 1, I]`.
        signal: e `[T, 1, I]`.
        inputs: What arrives at the synapses, `[T, 1, J]`.
        before: The traces when the window begins.
    """
    steps, _, outputs = gate.shape
    gates, x = gate[:, 0], inputs[:, 0]  # shapes: [T, I], [T, J]
    h, kappa = respond_adjoint(error, signal[:, 0])
    left = _decays(error, steps, gate.dtype)  # shape: [R, T]
    # The sum itself, and one for each state of alpha, side by side: [T, (1 + R) I].
    columns = [gates * h, *(gates * left[r].unsqueeze(1) for r in range(error.size))]
    p, mu = respond_adjoint(membrane, torch.cat(columns, 1))
    sums = weight_gradient(p, x) + mu.t() @ before.presynaptic
    total, *states = torch.split(sums, outputs)
    total = total + (kappa.unsqueeze(2) * before.eligibility).sum(0)
    kept = torch.tensordot(_power(error, steps, gate.dtype), before.eligibility, 1)
    presynaptic = _power(membrane, steps, gate.dtype) @ before.presynaptic
    return total, Traces(presynaptic + _decays(membrane, steps, gate.dtype) @ x, kept + torch.stack(states))


@functools.lru_cache(maxsize=32)
def _decays(system: LinearSystem, steps: int, dtype: torch.dtype) -> Tensor:
    return system.decays(steps, dtype)


@functools.lru_cache(maxsize=32)
def _power(system: LinearSystem, steps: int, dtype: torch.dtype) -> Tensor:
    return system.power(steps, dtype)
