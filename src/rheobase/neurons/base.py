"""What a neuron is: parameters, named state variables, and one pure `step`.

    state, emitted = neuron.step(state, current)

`step` is written once, with ordinary arithmetic and `rheobase.operators`. Given tensors it is the
reference; given traced symbols it yields the fused kernels, their adjoints and the eligibility
traces. `current` is one value per neuron; a model with several kinds of input (excitatory and
inhibitory conductances, say) declares their names in `inputs` and gets them by name. Options that
choose between equations (`reset`, `timing`, ...) are plain Python values and may steer `if`;
parameters, inputs and states may not: use `where`.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from typing_extensions import Self

from rheobase.config import Config, fields_of, option
from rheobase.operators import Value
from rheobase.registry import name_of, unknown


class Named(dict[str, Value]):
    """Values by name, also as attributes."""

    _kind: ClassVar[tuple[str, str]] = ("value", "mapping")

    def __getattr__(self, name: str) -> Value:
        try:
            return self[name]
        except KeyError:
            one, all_ = self._kind
            raise AttributeError(f"no {one} '{name}'; this {all_} has {', '.join(self) or 'none'}") from None


class Inputs(Named):
    """What comes into a neuron with several inputs: `drives.excitatory` is `drives["excitatory"]`.

    >>> Inputs(excitatory=0.5, inhibitory=0.0).excitatory
    0.5
    """

    _kind = ("input", "neuron")


class State(Named):
    """Named state variables, also as attributes: `state.v` is `state["v"]`.

    >>> State(v=0.5).v
    0.5
    """

    _kind = ("state variable", "state")

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

    #: Names of the inputs. With P of them, N neurons take P * N values per time step: first those of the
    #: first input, one per neuron, then those of the second. What is in front has that many outputs.
    inputs: ClassVar[tuple[str, ...]] = ("current",)

    #: Which weights of recurrent connections go to which input: all, or the positive or the negative ones
    #: (as positive numbers). An input that is missing here gets none; with one input, it gets all.
    recurrence: ClassVar[Mapping[str, Literal["all", "positive", "negative"]]] = {}

    dt: float = option(default=1.0, unit="ms", above=0, help="duration of one time step")

    @abstractmethod
    def initial(self) -> State:
        """The state at rest: a number, or a parameter, per state variable."""

    @abstractmethod
    def step(self, state: State, current: Value) -> tuple[State, Value]:
        """One time step: the new state, and what is emitted (spikes, or a read-out's membrane).

        With several `inputs`, `current` has them by name (`Inputs`).
        """

    @classmethod
    def gather(cls, values: Sequence[Value]) -> Value:
        """One value per input as `step` takes them: the only one, or all by name.

        >>> from rheobase.neurons.lif import LIF
        >>> LIF.gather([0.5])
        0.5
        """
        return values[0] if len(cls.inputs) == 1 else Inputs(zip(cls.inputs, values, strict=True))

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
