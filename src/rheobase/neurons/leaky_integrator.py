"""The leaky-integrator read-out: a membrane that never fires; what it emits is the membrane.

    v' = a v + R I   (or + (1 - a) R I with scaling "leak"),   a = exp(-dt/tau_m) or 1 - dt/tau_m

Not modelled: spikes, reset.
"""

from __future__ import annotations

from typing import Any

from rheobase.config import option, parameter
from rheobase.neurons.base import Neuron, State
from rheobase.neurons.dynamics import Scaling, Scheme, relax
from rheobase.operators import Value


class LeakyIntegrator(Neuron):
    """Leaky integrator. State: `v`, shape `[B, N]`, which is also its output.

    >>> LeakyIntegrator(tau_m=10.0, scheme="euler", scaling="leak").step(State(v=0.0), 1.0)
    ({'v': 0.1}, 0.1)
    """

    tau_m: Any = parameter(default=20.0, unit="ms", above=0, help="membrane time constant")
    resistance: Any = parameter(default=1.0, help="factor on the input current (R)")
    scheme: Scheme = option(default="exponential", help="how the leak is integrated over a step")
    scaling: Scaling = option(default="unit", help="whether input is scaled by the leak")

    def initial(self) -> State:
        return State(v=0.0)

    def step(self, state: State, current: Value) -> tuple[State, Value]:
        drive = self.resistance * current
        v = relax(state.v, drive, self.tau_m, self.dt, 0.0, self.scheme, self.scaling)
        return State(v=v), v
