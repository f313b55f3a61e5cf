"""A leaky integrate-and-fire neuron with input conductance, synaptic traces and an adaptive threshold.

    tau_m dv/dt = (v_rest - v) + R I,    I = current + s
    tau_s ds/dt = -s                     s rises by the `synaptic` input: what spikes bring
    tau_a dB/dt = threshold - B          B rises by beta / tau_a at each spike of the neuron itself
    v -> v_reset where v >= B

It has two inputs. `current` acts at once (graded input, with no dynamics of its own); `synaptic` is
filtered by s. Recurrent connections go to `synaptic`.

The model comes from spiking cells for the adding problem, where the trace belongs to the neuron that
sends, S <- S - dt/tau_s S + z, and the recurrent current is the sum of W S. By linearity, that is the
trace s, in the neuron that receives, of the sum of W z, to which the same tau_s is common; kept there,
what travels are spikes, and delays need no trace of the past. A step moves v (unless refractory), s and
B by Euler's rule (or exponentially); v sees the s of this step, the spike the B of the last.

What went wrong in that code is not in the preset: its spike had a gradient that ignored what came in
(`0.3 max(0, 1 - |x|)` instead of its product with the incoming gradient), initial weights had a
standard deviation of 20, and B never decayed (b <- dt b / tau_a + z with tau_a = dt = 1). What remains
of these settings is harmless: tau_a of one step forgets at once (B is raised for the next step only),
and a refractory period of one step meant none. The run with exponential steps and no trace is
`AdaptiveLIF.preset("adding")`.

The form of the traces: Fiete, Senn, Wang & Hahnloser, Neuron 65 (2010); of the threshold: Bellec et al.,
NeurIPS 2018. Not modelled: reversal potentials (see ei_conductance_lif): "conductance" is the weight
of an input here, and its current does not depend on v.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from rheobase.config import option, parameter
from rheobase.neurons.base import Inputs, State
from rheobase.neurons.dynamics import Scheme, relax
from rheobase.neurons.spiking import SpikingNeuron
from rheobase.operators import Value
from rheobase.surrogate import Triangular


class ConductanceLIF(SpikingNeuron):
    """Leaky integrate-and-fire with synaptic traces and an adaptive threshold.

    Inputs: `current` and `synaptic`. State: `v`, `s` and `b` (the threshold B), each `[B, N]`.

    >>> from rheobase.neurons.base import Inputs
    >>> neuron = ConductanceLIF(tau_m=20.0, tau_s=5.0)
    >>> state, spike = neuron.step(State(v=0.0, s=1.0, b=1.0), Inputs(current=2.0, synaptic=0.2))
    >>> round(state.v, 3), round(state.s, 3), state.b  # s: 0.8 of 1, + 0.2; v: (2 + 1) / 20
    (0.15, 1.0, 1.0)
    """

    inputs: ClassVar[tuple[str, ...]] = ("current", "synaptic")
    recurrence: ClassVar[Mapping[str, Literal["all", "positive", "negative"]]] = {"synaptic": "all"}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # The adding problem on spiking cells, in Euler steps.
        "adding": {
            "resistance": 2.0,
            "tau_a": 1.0,
            "beta": 0.1,
            "detach": False,
            "relative": True,
            "surrogate": Triangular(),
        },
    }

    tau_m: Any = parameter(default=20.0, unit="ms", above=0, help="membrane time constant")
    tau_s: Any = parameter(default=5.0, unit="ms", above=0, help="time constant of the synaptic trace")
    tau_a: Any = parameter(default=100.0, unit="ms", above=0, help="time constant of the threshold")
    beta: Any = parameter(
        default=10.0, unit="ms", help="tau_a times the rise of the threshold per spike; 0 for none"
    )
    resistance: Any = parameter(default=1.0, help="factor on the current (R)")
    scheme: Scheme = option(default="euler", help="how all leaks are integrated over a step")
    strict: bool = option(default=False, help="fire above the threshold only, not at it")
    reset: Literal["subtract", "value", "none"] = option(
        default="value", help="what a spike does to the membrane"
    )

    def rest(self) -> State:
        return State(v=self.v_rest, s=0.0, b=self.threshold)

    def level(self, state: State) -> Value:
        return state.b

    def integrate(self, state: State, current: Inputs) -> State:
        s = relax(state.s, current.synaptic, self.tau_s, self.dt, scheme=self.scheme)
        drive = self.resistance * (current.current + s)
        v = relax(state.v, drive, self.tau_m, self.dt, self.v_rest, self.scheme, scaling="leak")
        return State(v=v, s=s, b=state.b)

    def settle(self, state: State, z: Value) -> State:
        rise = (self.beta / self.tau_a) * z
        b = relax(state.b, rise, self.tau_a, self.dt, self.threshold, self.scheme)
        return super().settle(state, z).replace(b=b)
