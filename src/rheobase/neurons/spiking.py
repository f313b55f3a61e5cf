"""What all spiking neurons share: threshold, reset, refractoriness, and the order of these.

A model says how its state moves without spikes (`integrate`); the four orders below turn that
into a step. x = v - threshold, or that over (threshold - v_rest); z = 1 where x > 0 (or x >= 0).

    timing        one step
    immediate     integrate; z from the new membrane; reset at once
    delayed       reset by the spike of the previous step; z from the new membrane. Subtraction
                  acts like a current of this step, reset to a value before integrating. The
                  membrane that one records still shows the crossing (snnTorch)
    old           z from the old membrane; integrate; reset (Zenke's tutorials)
    late          z from the old membrane; integrate; reset by the spike of the step before, which is
                  kept as a state variable `z`. Without refractoriness, each crossing fires twice and
                  is reset twice (the code of the LSNN papers)

    reset         subtract: v - z (threshold - v_rest)    value: (1 - z) v + z v_reset    none: v

After a spike at step t, the neuron cannot fire at steps t+1 ... t+n, n = refractory / dt. Meanwhile
its membrane is held, or moves on but is mute; the surrogate derivative is 0 in either case.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal

from rheobase.config import option, parameter
from rheobase.neurons.base import Neuron, State
from rheobase.operators import Value, maximum, spike, stop_gradient, where
from rheobase.surrogate import FastSigmoid, Surrogate


class SpikingNeuron(Neuron):
    """A neuron with a membrane `v` that fires at a threshold. Subclasses write `integrate`."""

    threshold: Any = parameter(default=1.0, help="membrane value at which the neuron fires")
    v_rest: Any = parameter(default=0.0, help="membrane value at rest, and at the start")
    v_reset: Any = parameter(default=0.0, help="membrane value after a spike (reset 'value')")
    reset: Literal["subtract", "value", "none"] = option(
        default="subtract", help="what a spike does to the membrane"
    )
    timing: Literal["immediate", "delayed", "old", "late"] = option(
        default="immediate", help="order of spike and reset within a step"
    )
    strict: bool = option(default=True, help="fire above the threshold only, not at it")
    detach: bool = option(default=True, help="no gradient through the reset")
    relative: bool = option(
        default=False, help="measure distance from threshold in units of threshold - v_rest"
    )
    refractory: float = option(default=0.0, unit="ms", at_least=0, help="time without a further spike")
    refractory_mode: Literal["hold", "mute"] = option(
        default="hold", help="membrane held, or integrating but unable to fire"
    )
    surrogate: Surrogate = option(default=FastSigmoid(), help="stand-in for the spike's derivative")

    def validate(self) -> None:
        steps = self.refractory / self.dt
        if abs(steps - round(steps)) > 1e-6:
            raise ValueError(
                f"{type(self).__name__}.refractory: got {self.refractory} ms, wanted a whole "
                f"number of time steps of {self.dt} ms"
            )
        numbers = isinstance(self.threshold, float) and isinstance(self.v_rest, float)
        if self.relative and numbers and not self.threshold > self.v_rest:
            raise ValueError(
                f"{type(self).__name__}.threshold: got {self.threshold}, wanted more than v_rest "
                f"({self.v_rest}): their difference is the unit of a relative distance (relative=True)"
            )

    @property
    def refractory_steps(self) -> int:
        """The number of steps after a spike in which the neuron cannot fire."""
        return round(self.refractory / self.dt)

    @abstractmethod
    def integrate(self, state: State, current: Value) -> State:
        """The state one step later, had there been no spike. Carry every variable along."""

    @abstractmethod
    def rest(self) -> State:
        """The model's own state variables at rest, `v` among them."""

    def initial(self) -> State:
        counter = {"refractory": 0.0} if self.refractory_steps else {}
        last = {"z": 0.0} if self.timing == "late" else {}
        return State(**self.rest(), **counter, **last)

    def level(self, state: State) -> Value:
        """The membrane value at which the neuron fires in this state."""
        return self.threshold

    def unit(self, state: State) -> Value:
        """What the distance from the threshold is measured in, if `relative`."""
        return self.level(state) - self.v_rest

    def drop(self, state: State) -> Value:
        """What reset "subtract" takes off the membrane."""
        return self.level(state) - self.v_rest

    def excess(self, state: State) -> Value:
        """How far the membrane is above the threshold."""
        x = state.v - self.level(state)
        return x / self.unit(state) if self.relative else x

    def fire(self, state: State) -> Value:
        """1 where the neuron fires in this state, else 0."""
        z = spike(self.excess(state), self.surrogate, self.strict)
        return where(state.refractory > 0.0, 0.0, z) if self.refractory_steps else z

    def settle(self, state: State, z: Value) -> State:
        """The state after the reset that spikes `z` cause."""
        r = stop_gradient(z) if self.detach else z
        if self.reset == "subtract":
            state = state.replace(v=state.v - r * self.drop(state))
        elif self.reset == "value":
            state = state.replace(v=(1.0 - r) * state.v + r * self.v_reset)
        if self.refractory_steps:
            left = maximum(state.refractory - 1.0, 0.0)
            counter = where(z > 0.0, float(self.refractory_steps), left)
            state = state.replace(refractory=stop_gradient(counter))
        return state

    def step(self, state: State, current: Value) -> tuple[State, Value]:
        if self.timing == "immediate":
            moved = self._move(state, current)
            z = self.fire(moved)
            return self.settle(moved, z), z
        if self.timing == "late":
            after = self.settle(self._move(state, current), state.z)
            z = self.fire(after.replace(v=state.v))
            return after.replace(z=z), z
        before = self.fire(state)
        if self.timing == "delayed" and self.reset == "value":
            after = self._move(self.settle(state, before), current)
        else:
            after = self.settle(self._move(state, current), before)
        return after, before if self.timing == "old" else self.fire(after)

    def _move(self, state: State, current: Value) -> State:
        """`integrate`, with the refractory period."""
        moved = self.integrate(state, current)
        if self.timing == "late":
            moved = moved.replace(z=state.z)
        if not self.refractory_steps:
            return moved
        moved = moved.replace(refractory=state.refractory)
        if self.refractory_mode == "mute":
            return moved
        return moved.replace(v=where(state.refractory > 0.0, state.v, moved.v))
