"""A neuron's step as statements on vectors of samples (`rheobase.kernels.lanes`), and a kernel's beginning.

What reaches no bit of the result is left out: that v - threshold > 0 holds if and only if v > threshold does
(differences do not vanish: there are numbers below the smallest normal one), and that subtracting c z for a
spike z, 0 or 1, is subtracting c where there is one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rheobase.kernels import vectors
from rheobase.kernels.source import HEADER, Body
from rheobase.kernels.trace import Trace

_CALLS = {
    "lt": "lt", "le": "le", "gt": "gt", "ge": "ge", "eq": "eq", "ne": "ne", "and": "both", "or": "either",
    "not": "invert", "add": "add", "sub": "sub", "mul": "mul", "div": "div", "neg": "neg", "where": "where",
    "exp": "exp", "log": "log", "sqrt": "sqrt", "tanh": "tanh", "atan": "atan", "erf": "erf",
    "absolute": "absolute",
}  # fmt: skip


@dataclass
class LaneBody(Body):
    """Statements on vectors of samples.

    `masks` are the spikes of which it is known where they are 1, as `m<node>`. `loose`: products that are
    added to something may be rounded once.
    """

    masks: set[int] = field(default_factory=set)
    loose: bool = False

    def expression(self, n: int) -> str:
        node = self.trace.tape.nodes[n]
        args = [self.ref(a) for a in node.args]
        if node.op == "spike":
            self.lines.append(f"m{n} = {self._condition(node.args[0], 'gt' if node.value[1] else 'ge')}")
            self.masks.add(n)
            return f"where(m{n}, ONE, ZERO)"
        if node.op == "sub" and (gate := self._gate(node.args[1])):
            mask, amount = gate
            return f"where({mask}, sub({args[0]}, {amount}), {args[0]})"
        if self.loose and node.op in ("add", "sub", "mul"):
            return f"loose_{node.op}({', '.join(args)})"
        if node.op in _CALLS:
            return f"{_CALLS[node.op]}({', '.join(args)})"
        return {"stop_gradient": args[0], "pow": f"power({args[0]}, F({node.value!r}))"}[node.op]

    def vector(self, n: int) -> str:
        """How to refer to a node as a vector, also if it is one number for all."""
        return self.ref(n) if self.trace.tape.varying[n] else f"splat({self.ref(n)})"

    def fired(self, n: int) -> str:
        """Where a node that is 0 or 1 is 1."""
        gate = self._gate(n)
        return gate[0] if gate and gate[1] == "ONE" else f"ne({self.vector(n)}, ZERO)"

    def _condition(self, n: int, compare: str) -> str:
        """Whether a node is above (or at) zero."""
        node = self.trace.tape.nodes[n]
        above, below = node.args if node.op == "sub" else (n, None)
        return f"{compare}({self.ref(above)}, {'ZERO' if below is None else self.ref(below)})"

    def _gate(self, n: int) -> tuple[str, str] | None:
        """Where a node is not zero and what it is there, if it is spikes times a number."""
        node = self.trace.tape.nodes[n]
        if node.op == "spike":
            return (f"m{n}", "ONE") if n in self.masks else None
        if node.op == "stop_gradient":
            return self._gate(node.args[0])
        if node.op == "mul":
            for spikes, factor in (node.args, node.args[::-1]):
                gate = self._gate(spikes)
                if gate and gate[1] == "ONE" and not self.trace.tape.varying[factor]:
                    return gate[0], self.ref(factor)
        return None


def emits_spikes(t: Trace) -> bool:
    """Whether what a neuron emits is 0 or 1 at each step."""
    nodes = t.tape.nodes

    def binary(n: int) -> bool:
        op, args = nodes[n].op, nodes[n].args
        if op in ("where", "stop_gradient"):
            return all(binary(a) for a in args[op == "where" :])
        return op == "spike" or (op == "const" and nodes[n].value in (0.0, 1.0))

    return binary(t.emitted)


def beginning(title: str, explanation: str, dtype: str, lanes: int, module: str, names: str) -> str:
    """All that stands before the arguments of a kernel on vectors, which imports these names as well."""
    text = HEADER.format(title=title, explanation=explanation, dtype=dtype, flags="")
    constants, decorator = text.rsplit("\n@numba", 1)
    return (
        f"{constants.rstrip()}\n\nfrom rheobase.kernels.{module} import (\n    {names},\n)\n"
        "from rheobase.kernels.lanes import (\n    "
        f"fma, load{lanes} as load, power, splat{lanes} as splat, store,\n    "
        "loose_add, loose_mul, loose_sub,\n    "
        f"{', '.join(dict.fromkeys(_CALLS.values()))},\n)\n\n"
        f"# Calls version {vectors.version(module)}: machine code is kept by this text."
        f"\n\n\n@numba{decorator}"
    )
