"""What a neuron is: parameters, named state variables, and one pure `step`.

    state, emitted = neuron.step(state, current)

`step` is written once, with ordinary arithmetic and `rheobase.operators`. Given tensors it is the
reference; given traced symbols it yields the fused kernels, their adjoints and the eligibility
traces. Options that choose between equations (`reset`, `timing`, ...) are plain Python values and
may steer `if`; parameters and states may not: use `where`.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from typing_extensions import Self

from rheobase.config import Config, fields_of, option
from rheobase.operators import Value
from rheobase.registry import name_of, unknown


class State(dict[str, Value]):
    """Named state variables, also as attributes: `state.v` is `state["v"]`.

    >>> State(v=0.5).v
    0.5
    """

    def __getattr__(self, name: str) -> Value:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(
                f"no state variable '{name}'; this state has {', '.join(self) or 'none'}"
            ) from None

    def replace(self, **changes: Value) -> State:
        """A copy with some variables changed."""
        return State(self | changes)


class Neuron(Config, ABC):
    """A neuron model. A subclass declares parameters, `initial` and `step`; nothing else.

    >>> class Leak(Neuron):
    ...     tau: float = option(default=10.0, unit="ms", above=0, help="time constant")
    ...     def initial(self): return State(v=0.0)
    ...     def step(self, state, current):
    ...         v = state.v + self.dt / self.tau * (current - state.v)
    ...         return State(v=v), v
    >>> Leak(tau=4.0).step(State(v=0.0), 1.0)
    ({'v': 0.25}, 0.25)
    """

    room: ClassVar[str] = "rheobase.neurons"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    dt: float = option(default=1.0, unit="ms", above=0, help="duration of one time step")

    @abstractmethod
    def initial(self) -> State:
        """The state at rest: a number, or a parameter, per state variable."""

    @abstractmethod
    def step(self, state: State, current: Value) -> tuple[State, Value]:
        """One time step: the new state, and what is emitted (spikes, or a read-out's membrane)."""

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """The model with a named set of options (`presets`), and `changes` on top.

        Raises:
            ValueError: If there is no such preset.
        """
        if name not in cls.presets:
            raise ValueError(unknown(f"preset of {name_of(cls)}", name, cls.presets))
        return cls(**{**cls.presets[name], **changes})

    @classmethod
    def parameter_names(cls) -> tuple[str, ...]:
        """The fields that may differ per neuron and may be trained."""
        return tuple(f.name for f in fields_of(cls) if f.metadata.get("parameter"))

    def bind(self, values: Mapping[str, Value]) -> Self:
        """A copy whose parameters are tensors or symbols instead of numbers (not validated)."""
        bound = copy.copy(self)
        for name, value in values.items():
            object.__setattr__(bound, name, value)
        return bound


def time_constant(decay: float, dt: float = 1.0) -> float:
    """The time constant in ms of which `decay` is the factor per step: decay = exp(-dt / tau).

    >>> round(time_constant(0.95), 4)
    19.4957
    """
    if not 0.0 < decay < 1.0:
        raise ValueError(f"decay: got {decay}, wanted a factor between 0 and 1 (exclusive)")
    return -dt / math.log(decay)
