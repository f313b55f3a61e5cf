"""The exact adjoint of a traced step, as more nodes on the same tape.

Given lambda (the loss's derivative by each new state variable) and g (by what was emitted), reverse
accumulation over the step's nodes yields the derivative by each old state variable, by each input
and by each coefficient. A spike's derivative is its surrogate's; `stop_gradient` and
conditions have none.

Griewank & Walther, "Evaluating Derivatives", SIAM 2008, chapter 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from rheobase.kernels.trace import Symbol, Trace
from rheobase.operators import exp, where


@dataclass(frozen=True)
class Adjoint:
    """Node ids of the derivatives; a missing one is zero.

    `seeds` maps "state.<name>" and "emitted" to the nodes that stand for incoming derivatives.
    """

    seeds: dict[str, int]
    states: dict[str, int]
    inputs: dict[str, int]
    coefficients: dict[int, int]

    def roots(self) -> list[int]:
        """All derivative nodes."""
        return [*self.states.values(), *self.inputs.values(), *self.coefficients.values()]


def adjoint(
    t: Trace, *, emitted: bool, current: bool = True, coefficients: frozenset[int] = frozenset()
) -> Adjoint:
    """Differentiate a traced step.

    Args:
        t: The trace; derivative nodes are added to its tape.
        emitted: Whether a derivative by what was emitted comes in.
        current: Whether the derivatives by the inputs are wanted.
        coefficients: The coefficients whose derivatives are wanted.
    """
    tape = t.tape
    seeds = {
        f"state.{name}": (new, tape.add("seed", value=f"state.{name}")) for name, new in t.new_states.items()
    }
    if emitted:
        seeds["emitted"] = (t.emitted, tape.add("seed", value="emitted"))
    wanted = set(coefficients)
    bar = pull_back(t, list(seeds.values()), wanted)
    return Adjoint(
        seeds={name: seed.id for name, (_, seed) in seeds.items()},
        states={name: bar[n].id for name, n in t.states.items() if n in bar},
        inputs={name: bar[n].id for name, n in t.inputs.items() if current and n in bar},
        coefficients={n: bar[n].id for n in t.coefficients if n in wanted and n in bar},
    )


def pull_back(
    t: Trace, seeds: Sequence[tuple[int, Symbol]], wanted: Collection[int] = ()
) -> dict[int, Symbol]:
    """The derivative by each node that the step reads or makes, given some by what it results in.

    Args:
        t: The trace; derivative nodes are added to its tape.
        seeds: Nodes, and the derivatives by them.
        wanted: Invariant nodes by which derivatives are wanted as well.
    """
    tape = t.tape
    bar: dict[int, Symbol] = {}

    def accumulate(node: int, value: Symbol) -> None:
        bar[node] = bar[node] + value if node in bar else value

    # What the step is made of, before derivatives are added to the tape.
    forward = t.live([*t.new_states.values(), t.emitted])
    for end, seed in seeds:
        accumulate(end, seed)
    for n in reversed(forward):
        node = tape.nodes[n]
        if n not in bar or not tape.varying[n] or node.op not in RULES:
            continue
        args = [Symbol(tape, a) for a in node.args]
        shares = RULES[node.op](bar[n], Symbol(tape, n), *args)
        for a, share in zip(node.args, shares, strict=True):
            if share is not None and (tape.varying[a] or a in wanted):
                accumulate(a, share)
    return bar


def _div(g: Symbol, out: Symbol, a: Symbol, b: Symbol) -> tuple[Symbol | None, ...]:
    return g / b, -(g * out) / b


def _where(g: Symbol, out: Symbol, c: Symbol, a: Symbol, b: Symbol) -> tuple[Symbol | None, ...]:
    return None, where(c, g, 0.0), where(c, 0.0, g)


def _pow(g: Symbol, out: Symbol, a: Symbol) -> tuple[Symbol | None, ...]:
    exponent = out.tape.nodes[out.id].value
    return (g * (exponent * a ** (exponent - 1.0)),)


def _absolute(g: Symbol, out: Symbol, a: Symbol) -> tuple[Symbol | None, ...]:
    return (where(a > 0.0, g, where(a < 0.0, -g, 0.0)),)


def _spike(g: Symbol, out: Symbol, x: Symbol) -> tuple[Symbol | None, ...]:
    surrogate, _ = out.tape.nodes[out.id].value
    return (g * surrogate.derivative(x),)


#: For each operator: (incoming derivative, result, arguments) -> derivative by each argument.
RULES: dict[str, Callable[..., tuple[Symbol | None, ...]]] = {
    "add": lambda g, out, a, b: (g, g),
    "sub": lambda g, out, a, b: (g, -g),
    "mul": lambda g, out, a, b: (g * b, g * a),
    "div": _div,
    "neg": lambda g, out, a: (-g,),
    "pow": _pow,
    "exp": lambda g, out, a: (g * out,),
    "log": lambda g, out, a: (g / a,),
    "sqrt": lambda g, out, a: (g / (2.0 * out),),
    "tanh": lambda g, out, a: (g * (1.0 - out * out),),
    "atan": lambda g, out, a: (g / (1.0 + a * a),),
    "erf": lambda g, out, a: (g * (2.0 / math.sqrt(math.pi)) * exp(-(a * a)),),
    "absolute": _absolute,
    "where": _where,
    "spike": _spike,
}
