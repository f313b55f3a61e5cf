"""What is settled before a sequence runs: the program, and how to get its coefficients.

A plan consists of plain values only (texts, numbers, tuples), so that torch's compiler can take it
for a constant. Coefficients and initial states that depend on fixed numbers alone are numbers in
it; those that depend on parameters held in tensors are instructions, carried out by torch (which
gives the parameters their gradients).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from rheobase import operators
from rheobase.kernels.jacobian import linearised
from rheobase.kernels.program import program
from rheobase.kernels.trace import trace
from rheobase.neurons.base import Neuron

#: (result slot, operator, argument slots, attribute)
Instruction = tuple[int, str, tuple[int, ...], Any]


class Plan(NamedTuple):
    """Attributes:
    key: The program's key.
    states: State variables in the program's order.
    numbers: Values of slots that are known, as (slot, number).
    instructions: How to fill the other slots.
    coefficients: Slot of each coefficient.
    tensors: Positions of the coefficients that are tensors.
    fixed: The other coefficients.
    initial: Slot of each state variable's initial value.
    rest: The initial values, if there are no instructions.
    """

    key: str
    states: tuple[str, ...]
    numbers: tuple[tuple[int, float], ...]
    instructions: tuple[Instruction, ...]
    coefficients: tuple[int, ...]
    tensors: tuple[int, ...]
    fixed: tuple[float, ...]
    initial: tuple[int, ...]
    rest: tuple[float, ...]

    def settle(self, parameters: Mapping[str, Any]) -> tuple[list[Tensor], Sequence[float | Tensor]]:
        """The coefficients that are tensors, and the states' initial values, given the tensor parameters."""
        if not self.instructions:
            return [], self.rest
        slots = carry_out(self, parameters)
        return [slots[self.coefficients[j]] for j in self.tensors], [slots[n] for n in self.initial]


def make_plan(
    neuron: Neuron,
    tensors: Collection[str],
    *,
    constant: bool,
    record: Sequence[str],
    linear: bool = False,
) -> Plan:
    """The plan for `neuron`, the parameters named in `tensors` being tensors, the others numbers."""
    # Any number but 0 and 1, which would drop out of the equations (see trace.structural).
    base = neuron.bind(dict.fromkeys(tensors, 2.0))
    t = linearised(base)[0] if linear else trace(base)
    wanted = [*t.coefficients, *t.initial.values()]
    known: dict[int, float] = {}
    instructions: list[Instruction] = []
    for n in t.live(wanted):
        node = t.tape.nodes[n]
        if node.op == "param" and node.value not in tensors:
            known[n] = float(getattr(neuron, node.value))
        elif node.op == "const":
            known[n] = node.value
        elif node.op != "param" and all(a in known for a in node.args):
            known[n] = float(apply(node.op, [known[a] for a in node.args], node.value))
        else:
            instructions.append((n, node.op, node.args, node.value))
    positions = tuple(j for j, n in enumerate(t.coefficients) if n not in known)
    p = program(base, constant=constant, record=record, tensors=positions, linear=linear)
    return Plan(
        key=p.key,
        states=p.states,
        numbers=tuple(known.items()),
        instructions=tuple(instructions),
        coefficients=t.coefficients,
        tensors=positions,
        fixed=tuple(known[n] for n in t.coefficients if n in known),
        initial=tuple(t.initial.values()),
        rest=() if instructions else tuple(known[n] for n in t.initial.values()),
    )


def carry_out(plan: Plan, parameters: Mapping[str, Any]) -> dict[int, Any]:
    """All slots of the plan, given the tensor parameters."""
    slots: dict[int, Any] = dict(plan.numbers)
    for slot, op, args, value in plan.instructions:
        slots[slot] = parameters[value] if op == "param" else apply(op, [slots[a] for a in args], value)
    return slots


def apply(op: str, args: list[Any], value: Any = None) -> Any:
    """An elementary operation on numbers or tensors."""
    if op == "pow":
        return args[0] ** value
    if op == "spike":
        return operators.spike(args[0], *value)
    return (_ARITHMETIC.get(op) or _OPERATORS[op])(*args)


_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "neg": operator.neg,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
    "and": operator.and_,
    "or": operator.or_,
    "not": lambda x: not x if isinstance(x, bool) else ~x,
}
_OPERATORS: dict[str, Callable[..., Any]] = {
    name: getattr(operators, name)
    for name in ("exp", "log", "sqrt", "tanh", "atan", "erf", "absolute", "where", "stop_gradient")
}
