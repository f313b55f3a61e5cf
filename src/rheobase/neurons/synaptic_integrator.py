"""The read-out with a synaptic filter: two leaky integrators in series, no spikes.

    i' = a_s i + I,     v' = a v + R i' (or R i, the current of the last step)

Zenke's SpyTorch tutorials read their networks out with this cell (`preset("spytorch")`).
Not modelled: spikes, reset.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from rheobase.config import option, parameter
from rheobase.neurons.base import Neuron, State
from rheobase.neurons.dynamics import Scaling, Scheme, relax
from rheobase.operators import Value


class SynapticIntegrator(Neuron):
    """Leaky integrator behind an exponential synapse. State: `v` (also its output) and `i`."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"spytorch": {"synapse": "last"}}

    tau_m: Any = parameter(default=10.0, unit="ms", above=0, help="membrane time constant")
    tau_s: Any = parameter(default=5.0, unit="ms", above=0, help="synaptic time constant")
    resistance: Any = parameter(default=1.0, help="factor on the synaptic current (R)")
    scheme: Scheme = option(default="exponential", help="how both leaks are integrated over a step")
    scaling: Scaling = option(default="unit", help="whether the current is scaled by the membrane's leak")
    synapse: Literal["first", "last"] = option(
        default="first", help="whether the membrane sees the synaptic current of this step or the last"
    )

    def initial(self) -> State:
        return State(v=0.0, i=0.0)

    def step(self, state: State, current: Value) -> tuple[State, Value]:
        i = relax(state.i, current, self.tau_s, self.dt, scheme=self.scheme)
        drive = self.resistance * (i if self.synapse == "first" else state.i)
        v = relax(state.v, drive, self.tau_m, self.dt, 0.0, self.scheme, self.scaling)
        return State(v=v, i=i), v
