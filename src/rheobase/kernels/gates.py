"""What stands between a neuron's adjoint and the derivative by what it emits.

A spike's derivative is its surrogate's, and some surrogates are zero outside a window around the threshold.
A neuron that stays outside it all along passes no derivative on, whatever reaches it: nothing of it need be
computed. Its `gates` are the nodes that the derivative by what was emitted is multiplied by, or conditions
that hold wherever these are not zero; while all are shut, and the derivatives by its states are zero,
everything that its adjoint makes is zero.
"""

from __future__ import annotations

from rheobase.kernels.adjoint import Adjoint
from rheobase.kernels.trace import Trace

_SUMS = ("add", "sub", "neg")


def gates(t: Trace, adj: Adjoint) -> tuple[int, ...]:
    """The gates, if the adjoint has no other way in and each of them may be exactly zero; else none.

    >>> from rheobase.kernels.adjoint import adjoint
    >>> from rheobase.kernels.trace import trace
    >>> from rheobase.neurons.lif import LIF
    >>> from rheobase.surrogate import FastSigmoid, Triangular
    >>> traces = [trace(LIF(surrogate=s)) for s in (Triangular(), FastSigmoid())]
    >>> [len(gates(t, adjoint(t, emitted=True))) for t in traces]
    [1, 0]
    """
    nodes, roots = t.tape.nodes, set(adj.roots())
    incoming = set(adj.seeds.values())
    reached, found = {adj.seeds["emitted"]}, set[int]()
    for n in t.live(adj.roots()):
        node, here = nodes[n], [a for a in nodes[n].args if a in reached]
        if not here:
            continue
        others = [a for a in node.args if a not in reached]
        if node.op == "mul" and len(here) == 1 and len(others) == 1:
            if incoming.isdisjoint(t.live(others)) and _vanishes(t, others[0]):
                found.add(_condition(t, others[0]))
                continue
            reached.add(n)
        elif node.op in _SUMS or (node.op == "div" and node.args[0] in here) or node.op == "where":
            reached.add(n)
        else:
            return ()
    return () if reached & roots else tuple(sorted(found))


def _condition(t: Trace, n: int) -> int:
    """A node that is true, or not zero, wherever node `n` is not zero: the cheapest that its form shows."""
    node = t.tape.nodes[n]
    if node.op == "where":
        otherwise = t.tape.nodes[node.args[2]]
        return node.args[0] if otherwise.op == "const" and otherwise.value == 0.0 else n
    if node.op == "mul":
        left = [a for a in node.args if t.tape.nodes[a].op != "const"]
        return _condition(t, left[0]) if len(left) == 1 else n
    return _condition(t, node.args[0]) if node.op in ("neg", "stop_gradient") else n


def _vanishes(t: Trace, n: int) -> bool:
    """Whether a node may be exactly zero over a range of what it is made of, as its form shows."""
    node = t.tape.nodes[n]
    if node.op == "const":
        return bool(node.value == 0.0)
    if node.op == "where":
        return any(_vanishes(t, a) for a in node.args[1:])
    if node.op == "mul":
        return any(_vanishes(t, a) for a in node.args)
    if node.op in ("neg", "div", "stop_gradient"):
        return _vanishes(t, node.args[0])
    return node.op == "spike"
