"""Recording a neuron's `step` as a tape of elementary operations, in program order.

The tape keeps the order in which the model wrote its arithmetic, so that a kernel made from it
rounds exactly as the reference does; equal expressions are recorded once. Nodes that depend on
parameters only are *invariant*: they are computed once per call, outside the time loop. Those that
the time loop reads are the program's *coefficients* (for a LIF neuron: its decay, not its tau).
"""

from __future__ import annotations

import operator
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np

from rheobase import operators
from rheobase.neurons.base import Neuron, State

#: Operators of one or two numbers, by name; conditions are those in `BOOLEAN`.
BOOLEAN = frozenset({"lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not"})


class TraceError(TypeError):
    """A neuron's equations use something from which no kernel can be made."""


@dataclass(frozen=True)
class Node:
    """One operation: its name, the ids of its arguments, and an attribute.

    `value` is the number of a `const`, the name of a `param`, `state`, `input` or `seed`, the exponent of a
    `pow`, or the (surrogate, strict) of a `spike`.
    """

    op: str
    args: tuple[int, ...] = ()
    value: Any = None


class Tape:
    """A growing list of nodes; an argument's id is always smaller than its user's."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.varying: list[bool] = []
        self._ids: dict[Node, int] = {}

    def add(self, op: str, *args: int, value: Any = None) -> Symbol:
        """The symbol of an operation, recorded unless it is already there."""
        node = Node(op, args, value)
        if node not in self._ids:
            self._ids[node] = len(self.nodes)
            self.nodes.append(node)
            self.varying.append(op in ("state", "input", "seed") or any(self.varying[a] for a in args))
        return Symbol(self, self._ids[node])

    def find(self, node: Node) -> int | None:
        """The id of a node that is recorded already."""
        return self._ids.get(node)

    def lift(self, value: Any) -> Symbol:
        """A Python number, or a symbol, as a symbol."""
        if isinstance(value, Symbol):
            return value
        if isinstance(value, (bool, int, float, np.number)):
            return self.add("const", value=float(value))
        raise TraceError(
            f"a neuron's equations may combine parameters, states and Python numbers; got a "
            f"{type(value).__name__}{_at_line()}"
        )

    def is_boolean(self, node: int) -> bool:
        """Whether the node is a condition."""
        return self.nodes[node].op in BOOLEAN


class Symbol:
    """A traced value. Arithmetic on it is recorded; anything else is refused by its name."""

    __slots__ = ("id", "tape")

    def __init__(self, tape: Tape, id: int) -> None:
        self.tape = tape
        self.id = id

    @property
    def constant(self) -> float | None:
        """The number this symbol is, if it is one."""
        node = self.tape.nodes[self.id]
        return node.value if node.op == "const" else None

    def record(self, name: str, *arguments: Any) -> Symbol:
        """An operator of `rheobase.operators` applied to symbols and numbers."""
        if name == "spike":
            x, surrogate, strict = arguments
            return self.tape.add("spike", self.tape.lift(x).id, value=(surrogate, strict))
        return self.tape.add(name, *(self.tape.lift(a).id for a in arguments))

    def _binary(self, op: str, a: Any, b: Any) -> Symbol:
        x, y = self.tape.lift(a), self.tape.lift(b)
        # Only foldings that keep every bit of the result (up to the sign of zero).
        if op in ("add", "sub") and y.constant == 0.0:
            return x
        if op == "add" and x.constant == 0.0:
            return y
        if op == "sub" and x.constant == 0.0:
            return self.tape.add("neg", y.id)
        if op in ("mul", "div") and y.constant == 1.0:
            return x
        if op == "mul" and x.constant == 1.0:
            return y
        if x.constant is not None and y.constant is not None and op in _FOLD:
            return self.tape.lift(_FOLD[op](x.constant, y.constant))
        return self.tape.add(op, x.id, y.id)

    def __add__(self, other: Any) -> Symbol:
        return self._binary("add", self, other)

    def __radd__(self, other: Any) -> Symbol:
        return self._binary("add", other, self)

    def __sub__(self, other: Any) -> Symbol:
        return self._binary("sub", self, other)

    def __rsub__(self, other: Any) -> Symbol:
        return self._binary("sub", other, self)

    def __mul__(self, other: Any) -> Symbol:
        return self._binary("mul", self, other)

    def __rmul__(self, other: Any) -> Symbol:
        return self._binary("mul", other, self)

    def __truediv__(self, other: Any) -> Symbol:
        return self._binary("div", self, other)

    def __rtruediv__(self, other: Any) -> Symbol:
        return self._binary("div", other, self)

    def __pow__(self, exponent: Any) -> Symbol:
        if not isinstance(exponent, (int, float)):
            raise TraceError(f"'**' takes a Python number as its exponent{_at_line()}")
        if exponent in (2, 3):  # as torch does it
            return self * self if exponent == 2 else self * self * self
        return self.tape.add("pow", self.id, value=float(exponent))

    def __neg__(self) -> Symbol:
        if self.constant is not None:
            return self.tape.lift(-self.constant)
        return self.tape.add("neg", self.id)

    def __pos__(self) -> Symbol:
        return self

    def __abs__(self) -> Symbol:
        return self.tape.add("absolute", self.id)

    def __lt__(self, other: Any) -> Symbol:
        return self._binary("lt", self, other)

    def __le__(self, other: Any) -> Symbol:
        return self._binary("le", self, other)

    def __gt__(self, other: Any) -> Symbol:
        return self._binary("gt", self, other)

    def __ge__(self, other: Any) -> Symbol:
        return self._binary("ge", self, other)

    def __eq__(self, other: object) -> Any:
        return self._binary("eq", self, other)

    def __ne__(self, other: object) -> Any:
        return self._binary("ne", self, other)

    def __and__(self, other: Any) -> Symbol:
        return self._binary("and", self, other)

    def __or__(self, other: Any) -> Symbol:
        return self._binary("or", self, other)

    def __invert__(self) -> Symbol:
        return self.tape.add("not", self.id)

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        _refuse("'if', 'and', 'or' or 'not' on a value that is known only when the kernel runs", "where")

    def __float__(self) -> float:
        _refuse("a function of Python's math module, or float()")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        _refuse(f"'.{name}'")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        known: dict[str, Callable[..., Any]] = {
            "add": operator.add,
            "subtract": operator.sub,
            "multiply": operator.mul,
            "divide": operator.truediv,
        }
        if method != "__call__" or ufunc.__name__ not in known:
            _refuse(f"'numpy.{ufunc.__name__}'")
        a, b = (float(x) if isinstance(x, np.generic) else x for x in inputs)
        return known[ufunc.__name__](a, b)

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        _refuse(f"'torch.{getattr(func, '__name__', func)}'")


_FOLD: dict[str, Callable[[float, float], float]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
}


def _refuse(what: str, use: str = "") -> NoReturn:
    known = "+ - * / **, comparisons, & | ~ and " + ", ".join(
        name
        for name, value in vars(operators).items()
        if callable(value)
        and getattr(value, "__module__", "") == operators.__name__
        and name.islower()
        and not name.startswith("_")
    )
    hint = f"use rheobase.operators.{use}" if use else f"use {known} (rheobase.operators)"
    raise TraceError(f"{what} cannot be traced into a kernel{_at_line()}; {hint}")


def _at_line() -> str:
    """The innermost line outside this file: the one in the neuron's equations."""
    for frame in reversed(traceback.extract_stack()):
        if frame.filename not in (__file__, operators.__file__):
            text = f": {frame.line}" if frame.line else ""  # none in a prompt or after exec()
            return f", in line {frame.lineno} of {frame.filename}{text}"
    return ""


@dataclass(frozen=True)
class Trace:
    """A neuron's step on a tape: what goes in and what comes out, as node ids."""

    tape: Tape
    states: dict[str, int]
    inputs: dict[str, int]
    new_states: dict[str, int]
    emitted: int
    initial: dict[str, int]
    coefficients: tuple[int, ...] = ()

    def live(self, roots: Sequence[int]) -> list[int]:
        """The ids on which `roots` depend, roots included, in order of execution."""
        seen: set[int] = set()
        stack = list(roots)
        while stack:
            node = stack.pop()
            if node not in seen:
                seen.add(node)
                stack.extend(self.tape.nodes[node].args)
        return sorted(seen)


def structural(value: Any) -> bool:
    """Whether a fixed parameter belongs to the equations' form: 0 and 1 drop out of them."""
    return isinstance(value, float) and value in (0.0, 1.0)


def trace(neuron: Neuron) -> Trace:
    """Record one step of `neuron`.

    Raises:
        TraceError: If the equations use an operator from which no kernel can be made.
    """
    tape = Tape()
    names = neuron.parameter_names()
    params = {name: tape.add("param", value=name) for name in names if not structural(getattr(neuron, name))}
    bound = neuron.bind(params)
    try:
        initial = bound.initial()
        states = State({name: tape.add("state", value=name) for name in initial})
        inputs = {name: tape.add("input", value=name) for name in neuron.inputs}
        new, emitted = bound.step(states, neuron.gather(list(inputs.values())))
    except TraceError as error:
        raise TraceError(f"{type(neuron).__name__}: {error}") from None
    except Exception as error:
        raise TraceError(
            f"{type(neuron).__name__} could not be traced into a kernel: {type(error).__name__}: {error}"
        ) from error
    if set(new) != set(states):
        raise TraceError(
            f"{type(neuron).__name__}.step: got the state variables {sorted(new)}, wanted those of "
            f"initial(): {sorted(states)}"
        )
    t = Trace(
        tape,
        states={name: symbol.id for name, symbol in states.items()},
        inputs={name: symbol.id for name, symbol in inputs.items()},
        new_states={name: tape.lift(new[name]).id for name in states},
        emitted=tape.lift(emitted).id,
        initial={name: tape.lift(value).id for name, value in initial.items()},
    )
    return replace(t, coefficients=coefficients_of(t))


def coefficients_of(t: Trace, beside: Sequence[int] = ()) -> tuple[int, ...]:
    """Invariant nodes, other than numbers, that the time loop reads for the step and what is `beside` it."""
    roots = [*t.new_states.values(), t.emitted, *beside]
    nodes, varying = t.tape.nodes, t.tape.varying
    used = {a for n in t.live(roots) if varying[n] for a in nodes[n].args if not varying[a]}
    used |= {root for root in roots if not varying[root]}
    return tuple(sorted(n for n in used if nodes[n].op != "const"))


def fingerprint(t: Trace) -> str:
    """A text that is equal for traces that mean the same."""
    lines = [f"{n.op} {n.args} {n.value!r}" for n in t.tape.nodes]
    ends = f"{t.states} {t.inputs} {t.new_states} {t.emitted} {t.initial} {t.coefficients}"
    return "\n".join([*lines, ends])
