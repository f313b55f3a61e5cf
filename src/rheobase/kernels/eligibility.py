"""Eligibility traces, one step after another: what each weight did so far, and what that means for a loss.

For the weight from source i to neuron j, with the neuron's derivatives at step t (see
`rheobase.kernels.derivatives`) and x_i what arrived through it:

    e(t)      = sum_s  dz/ds eps_s(t-1)    +  dz/dI x_i(t)
    eps_s(t)  = sum_s' ds/ds' eps_s'(t-1)  +  ds/dI x_i(t)
    phi_f(t)  = sum_f' A_ff' phi_f'(t-1)   +  b_f e(t)

    grad_ji  += sum_t  L_e,j(t) e(t)  +  sum_s L_s,j(t) eps_s(t)  +  sum_f L_f,j(t) phi_f(t)

phi is what a linear filter (a read-out's membrane) makes of e. Signals L are given for each neuron and step:
derivatives of the loss by what the neuron emits, by its state, and by the filter's. It is the textbook's
form of e-prop (Bellec et al. 2020), made from the neuron's equations.

Cost: for each synapse, sample and step some S^2 + 2 S + F^2 + 2 F multiplications, without those by zero.
Memory does not depend on T: one number for each synapse, sample, and variable. Samples and steps are summed
up in the same order whatever the number of threads.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from rheobase.kernels.cache import Kernel
from rheobase.kernels.derivatives import Derivatives, Entry
from rheobase.kernels.eligibility_source import Form, Kind, eligibility_source
from rheobase.kernels.jacobian import EMITTED, FILTERED, INPUT
from rheobase.kernels.native import NUMBER
from rheobase.kernels.passes import NAMES
from rheobase.kernels.workspace import empty, zeros


class LinearFilter(NamedTuple):
    """A linear filter with so many variables.

    Attributes:
        variables: Their names.
        by: (variable, variable of the step before) -> factor; missing ones are zero.
        gain: variable -> factor on what comes in.
    """

    variables: tuple[str, ...] = ()
    by: Mapping[tuple[str, str], float] = {}
    gain: Mapping[str, float] = {}


class Arrived(NamedTuple):
    """What arrived at synapses.

    Attributes:
        seen: What came in, `[D + T, B, I]`.
        delay: Steps from there to each input of each neuron, `[P * n, I]`, at most D; None for none.
    """

    seen: Tensor
    delay: Tensor | None = None


def follow(
    derivatives: Derivatives,
    shape: tuple[int, int],
    arrived: Arrived,
    filtered: LinearFilter,
    signals: Mapping[str, Tensor],
    traces: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Take traces some steps further, and sum up what they mean.

    Args:
        derivatives: Of the neurons, over T steps.
        shape: T and the number of neurons n.
        arrived: What arrived.
        filtered: What filters the neurons' spikes.
        signals: Derivatives of the loss `[T, B, n]` by what was emitted (`EMITTED`), by state variables and
            by the filter's ("filtered.<name>"); missing ones are zero.
        traces: Before the first step, `[P * n, B, V, I]` with the neuron's variables first; zero if None.

    Returns:
        The sums `[P * n, I]`, the inputs of one kind together, and the traces after the last step.
    """
    (steps, size), (seen, delay) = shape, arrived
    batch, width = seen.shape[1:]
    names = [*derivatives.states, *(f"{FILTERED}{v}" for v in filtered.variables)]
    columns = len(derivatives.inputs) * size
    number = NUMBER[seen.dtype]
    factors = _factors(derivatives, filtered)
    places = {EMITTED: "e"} | {
        n: f"s{i}" if i < len(derivatives.states) else f"f{i - len(derivatives.states)}"
        for i, n in enumerate(names)
    }
    given = {places[name]: signal for name, signal in signals.items() if name in places}
    form = Form(
        states=len(derivatives.states),
        filters=len(filtered.variables),
        ports=len(derivatives.inputs),
        factors=tuple((name, _kind(value)) for name, value in factors.items()),
        signals=tuple(given),
        delayed=delay is not None,
        dtype=NAMES[seen.dtype],
    )
    full = (columns, batch, len(names), width)
    before = zeros(full, seen.dtype, seen.device) if traces is None else traces.contiguous()
    after, total = empty(full, seen.dtype), seen.new_empty(columns, width)
    arrays: list[Any] = [seen.contiguous(), 0 if delay is None else delay.contiguous()]
    arrays += [
        value.detach().to(seen.dtype).contiguous() if isinstance(value, Tensor) else number(value)
        for value in factors.values()
    ]
    arrays += [signal.detach().contiguous() for signal in given.values()]
    arrays += [before, after, total, size, len(seen) - steps]
    _kernel(form).run([*arrays, steps], size, steps * batch * columns * width)
    return total, after


def _factors(derivatives: Derivatives, filtered: LinearFilter) -> dict[str, Entry]:
    """All factors that are not zero, by what they multiply and what for."""
    places = {name: f"s{i}" for i, name in enumerate(derivatives.states)} | {EMITTED: "e"}
    places |= {f"{INPUT}{name}": f"i{p}" for p, name in enumerate(derivatives.inputs)}
    factors = {f"{places[c]}_{places[r]}": value for (r, c), value in derivatives.by.items()}
    variable = {name: f"f{i}" for i, name in enumerate(filtered.variables)}
    factors |= {f"{variable[c]}_{variable[r]}": value for (r, c), value in filtered.by.items()}
    factors |= {f"e_{variable[r]}": value for r, value in filtered.gain.items()}
    return factors


def _kind(value: Entry) -> Kind:
    if not isinstance(value, Tensor):
        return "number"
    return "neuron" if value.dim() == 1 else "step"


@functools.cache
def _kernel(form: Form) -> Kernel:
    return Kernel(eligibility_source(form), "eligibility", "eligibility")
