"""The derivatives of a traced step's results by its state and inputs, one by one, as nodes on its tape.

    d state'/d state,    d state'/d input,    d emitted/d state,    d emitted/d input

They are what eligibility traces are made of: what a weight did to its neuron's state is carried on by the
first and renewed by the second; what it does to a spike are the last two. Each is the step's adjoint
(`rheobase.kernels.adjoint`), seeded with one result; many are zero, or constant in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rheobase.kernels.adjoint import pull_back
from rheobase.kernels.trace import Trace, coefficients_of, trace
from rheobase.neurons.base import Neuron

#: What names a result or a cause that is no state variable; none of these can have such a name.
EMITTED, INPUT, FILTERED = ".emitted", "input.", "filtered."


@dataclass(frozen=True)
class Jacobian:
    """Node ids of the derivatives; a missing one is zero.

    Attributes:
        states: The state variables that depend on something, in the neuron's order; others (counters) have
            no derivative.
        by: (result, cause) -> node, where a result is a state variable or `EMITTED`, and a cause a state
            variable or "input.<name>".
    """

    states: tuple[str, ...]
    by: dict[tuple[str, str], int]

    def nodes(self) -> tuple[int, ...]:
        """All nodes, each once."""
        return tuple(dict.fromkeys(self.by.values()))


def linearised(neuron: Neuron) -> tuple[Trace, Jacobian]:
    """A neuron's step with its derivatives; invariant ones are among the trace's coefficients.

    >>> from rheobase.neurons.leaky_integrator import LeakyIntegrator
    >>> t, jacobian = linearised(LeakyIntegrator())
    >>> sorted(jacobian.by)
    [('.emitted', 'input.current'), ('.emitted', 'v'), ('v', 'input.current'), ('v', 'v')]
    >>> varying(t, jacobian.nodes())  # constant in time, all of them
    ()
    """
    t = trace(neuron)
    results = {**t.new_states, EMITTED: t.emitted}
    causes = {**t.states, **{f"{INPUT}{name}": n for name, n in t.inputs.items()}}
    by: dict[tuple[str, str], int] = {}
    for result, node in results.items():
        bar = pull_back(t, [(node, t.tape.lift(1.0))])
        by |= {(result, cause): bar[n].id for cause, n in causes.items() if n in bar}
    states = tuple(name for name in t.states if any(result == name for result, _ in by))
    by = {place: n for place, n in by.items() if place[1] in states or place[1].startswith(INPUT)}
    jacobian = Jacobian(states, by)
    return replace(t, coefficients=coefficients_of(t, jacobian.nodes())), jacobian


def varying(t: Trace, nodes: Sequence[int]) -> tuple[int, ...]:
    """Those of the nodes that change in time."""
    return tuple(n for n in nodes if t.tape.varying[n])
