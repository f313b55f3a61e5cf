"""What the forward pass must keep for the adjoint: the cheapest set, by a minimum cut.

The adjoint of a step reads some of the step's values. Each can be kept, or recomputed from others
that are. Every value costs what it takes to keep it for all time steps (a float, a byte for a
condition, next to nothing for what is kept anyway, such as the spikes); the minimum cut between
the step's inputs and what the adjoint reads is the cheapest sufficient set. A LIF neuron keeps one
float per step, whatever its reset.

The same idea places recomputation in torch's own compiler (Chen et al., arXiv:1604.06174, for the
trade; `torch._functorch.partitioners` for the cut).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import networkx as nx

from rheobase.kernels.adjoint import Adjoint
from rheobase.kernels.trace import Trace

FLOAT, CONDITION, CURRENT, FREE = 100, 25, 90, 1


def needed(t: Trace, adj: Adjoint, forward: set[int]) -> list[int]:
    """The step's own varying values that the adjoint reads."""
    found: set[int] = set()
    stack, seen = adj.roots(), set()
    while stack:
        n = stack.pop()
        if n in seen:
            continue
        seen.add(n)
        if n in forward:
            if t.tape.varying[n]:
                found.add(n)
            continue
        stack.extend(t.tape.nodes[n].args)
    return sorted(found)


def choose_saved(t: Trace, adj: Adjoint, *, kept: frozenset[int], constant: bool) -> list[int]:
    """Node ids to keep at every time step.

    Args:
        t: The traced step.
        adj: Its adjoint.
        kept: Nodes that are kept anyway (what is emitted, recorded states).
        constant: Whether the input current is one copy for all time steps.
    """
    forward = set(t.live([*t.new_states.values(), t.emitted]))
    wanted = needed(t, adj, forward)
    if not wanted:
        return []
    inputs = set(t.inputs.values())
    sources = {*t.states.values(), *inputs}

    def cost(n: int) -> int:
        if n in kept or (n in inputs and constant):
            return FREE
        if n in inputs:
            return CURRENT
        return CONDITION if t.tape.is_boolean(n) else FLOAT

    graph: nx.DiGraph[Any] = nx.DiGraph()
    graph.add_nodes_from(("source", "sink"))
    for n in sorted(set(t.live(wanted)) & forward):
        if not t.tape.varying[n]:
            continue
        graph.add_edge((n, "in"), (n, "out"), capacity=cost(n))
        if n in sources:
            graph.add_edge("source", (n, "in"))  # no capacity: unbounded
        for a in t.tape.nodes[n].args:
            if t.tape.varying[a]:
                graph.add_edge((a, "out"), (n, "in"))
    for n in wanted:
        graph.add_edge((n, "out"), "sink")
    _, (reachable, _) = nx.minimum_cut(graph, "source", "sink")
    return sorted(
        n
        for n in {key[0] for key in graph if isinstance(key, tuple)}
        if (n, "in") in reachable and (n, "out") not in reachable
    )


def places(t: Trace, saved: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """For each saved node, the array in which it is kept over time, and how many rows behind its step's.

    What is made of the old state as another value is made of the new one, is that other value of the step
    before (how far the membrane was from threshold, say). Both are in one array, with a row more than there
    are steps: what a step makes of the new state is where the next puts what it makes of the old one.

    >>> from rheobase.neurons.lif import LIF
    >>> from rheobase.kernels.trace import trace
    >>> places(trace(LIF()), [3, 5])
    ((0, 0), (1, 0))
    """
    later = {n: node_later(t, n) for n in saved}
    sources = {n: m for n, m in later.items() if m in later and m != n and later[m] not in later}
    arrays = [n for n in saved if n not in sources]
    followed = set(sources.values())
    return tuple((arrays.index(sources.get(n, n)), int(n in followed)) for n in saved)


def node_later(t: Trace, node: int) -> int | None:
    """The node that is to the new state what `node` is to the old one; None if there is none."""
    replaced: dict[int, int | None] = {old: t.new_states[name] for name, old in t.states.items()}
    for n in t.live([node]):
        if n in replaced:
            continue
        of = t.tape.nodes[n]
        args = [replaced[a] for a in of.args]
        if not t.tape.varying[n]:
            replaced[n] = n
        elif not of.args or None in args:  # an input, or made from what is not there
            replaced[n] = None
        else:
            replaced[n] = t.tape.find(replace(of, args=tuple(a for a in args if a is not None)))
    return replaced[node]
