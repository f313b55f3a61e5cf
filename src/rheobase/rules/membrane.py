"""A membrane below its threshold, as a linear system: what an input does to it, and how near it is to firing.

SuperSpike's presynaptic trace is the membrane's own response to a spike, with neither threshold nor reset. Of
a model whose equations are linear in its state and its input (as long as it does not fire), that response is
read off the equations: A and b are the derivatives of `integrate`, c that of the distance from the threshold.
So the trace of a current-based neuron is a double exponential, that of a plain LIF neuron an exponential,
without a line written for either.

sigma'(u) is the derivative of the neuron's surrogate at the membrane as it is after a step: after a spike
that is the value that it was reset to, as in the authors' code. A neuron that takes its spike from the
membrane of the step before (timing "old" or "late") is that step behind.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import torch
from torch import Tensor

from rheobase.kernels.linear import LinearSystem
from rheobase.neurons.base import Neuron, State
from rheobase.neurons.spiking import SpikingNeuron
from rheobase.registry import name_of

_BEHIND = ("old", "late")


@functools.lru_cache(maxsize=64)
def membrane(neuron: Neuron, variable: str | None = None) -> LinearSystem:
    """The response of a neuron's state to its input, as a linear system.

    Args:
        neuron: The model; its parameters are numbers.
        variable: The state variable that is put out; the distance from the threshold if None.

    Raises:
        ValueError: If the equations below threshold are not linear, or take several inputs.

    >>> from rheobase.neurons.lif import LIF
    >>> round(membrane(LIF(tau_m=10.0)).matrix[0][0], 4)
    0.9048
    """
    name = name_of(type(neuron))
    if len(neuron.inputs) > 1:
        raise ValueError(f"{name}: got the inputs {', '.join(neuron.inputs)}, wanted a neuron with one input")
    rest = neuron.rest() if isinstance(neuron, SpikingNeuron) else neuron.initial()
    start = torch.tensor([float(value) for value in rest.values()], dtype=torch.float64)
    names = list(rest)

    def state_of(values: Tensor) -> State:
        return State(zip(names, values.unbind(), strict=True))

    def move(values: Tensor, current: Tensor) -> Tensor:
        state = state_of(values)
        after = (
            neuron.integrate(state, current)
            if isinstance(neuron, SpikingNeuron)
            else neuron.step(state, current)[0]
        )
        return torch.stack([after[n] for n in names])

    def out(values: Tensor) -> Tensor:
        state = state_of(values)
        if variable is not None:
            return torch.as_tensor(state[variable])
        if isinstance(neuron, SpikingNeuron):
            return torch.as_tensor(neuron.excess(state))
        raise ValueError(f"{name}: got a model without a threshold, wanted the name of a state variable")

    results = []
    for place, current in ((start, 0.0), (1.5 * start + 0.37, 0.61)):
        driven = torch.tensor(current, dtype=torch.float64)
        matrix, given = torch.autograd.functional.jacobian(move, (place, driven))  # type: ignore[no-untyped-call]
        read = torch.autograd.functional.jacobian(out, place)  # type: ignore[no-untyped-call]
        results.append(torch.cat([matrix.flatten(), given, read]))
    if not torch.allclose(results[0], results[1], rtol=1e-9, atol=1e-12):
        raise ValueError(
            f"{name}: got a model that is not linear below its threshold, wanted one such as lif or "
            "synaptic_lif; bptt and eprop train any"
        )
    return LinearSystem(
        tuple(tuple(row) for row in matrix.tolist()), tuple(given.tolist()), tuple(read.tolist())
    )


def variables(neuron: SpikingNeuron) -> tuple[str, ...]:
    """The state variables on which the distance from the threshold depends."""
    read = membrane(neuron).read
    return tuple(name for name, weight in zip(neuron.rest(), read, strict=True) if weight)


def sensitivity(
    neuron: SpikingNeuron,
    signals: Mapping[str, Tensor],
    start: Mapping[str, Tensor] | None,
    cutoff: float | None = None,
) -> Tensor:
    """sigma'(u) at each step, `[T, B, N]`.

    Args:
        neuron: The model.
        signals: Its `variables` after each step, `[T, B, N]`.
        start: Its state before the first step, `[B, N]` per variable; at rest if None.
        cutoff: Distance below the threshold beyond which it is taken to be 0, in the membrane's unit.
    """
    state = State({name: signals[name] for name in variables(neuron)})
    if neuron.timing in _BEHIND:
        rest = neuron.rest()
        first = {
            name: start[name] if start else torch.full_like(value[0], float(rest[name]))
            for name, value in state.items()
        }
        state = State({n: torch.cat([first[n].unsqueeze(0), value[:-1]]) for n, value in state.items()})
    excess = neuron.excess(state)
    derivative: Tensor = neuron.surrogate.derivative(excess)
    return derivative if cutoff is None else derivative * (excess > -cutoff)
