"""The conductance-based neuron with excitatory and inhibitory synapses (COBA).

    tau_m dv/dt = (v_rest - v) + g_e (E_e - v) + g_i (E_i - v)
    dg_e/dt = -g_e / tau_e,   dg_i/dt = -g_i / tau_i;   input adds to g_e and g_i

Potentials are in mV, conductances in units of the leak conductance. What a synapse does depends on v: its
current vanishes at its reversal potential, and strong input shortens the membrane's time constant to
tau_m / (1 + g_e + g_i). A step is Euler's, or exponential: exact for conductances that are constant within
it, and stable however large they are,

    v' = v_inf + (v - v_inf) exp(-dt (1 + g_e + g_i) / tau_m),
    v_inf = (v_rest + g_e E_e + g_i E_i) / (1 + g_e + g_i)

where g are those of this step (`synapse` "first") or of the last ("last", the order of Brian2).

It has two inputs, `excitatory` and `inhibitory`; both add conductance, which cannot be negative: negative
input counts as none (`rectify`). Of recurrent connections, positive weights go to the first, negative ones,
as positive numbers, to the second, so that signs per presynaptic neuron make excitatory and inhibitory
neurons. Distances from the threshold are in units of threshold - v_rest (`relative`).

Vogels & Abbott, J. Neurosci. 25 (2005), whose network is one of the benchmarks of Brette et al., J. Comput.
Neurosci. 23 (2007); the defaults are theirs, a synapse there adds 0.6 to g_e, or 6.7 to g_i.
Not modelled: rise times, voltage-dependent (NMDA) conductances, adaptation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from rheobase.config import option, parameter
from rheobase.neurons.base import Inputs, State
from rheobase.neurons.dynamics import Scheme, relax
from rheobase.neurons.spiking import SpikingNeuron
from rheobase.operators import Value, exp, maximum


class EIConductanceLIF(SpikingNeuron):
    """Leaky integrate-and-fire with excitatory and inhibitory conductances.

    Inputs: `excitatory` and `inhibitory`. State: `v` (mV), `g_e` and `g_i`, each `[B, N]` (and `refractory`).

    >>> from rheobase.neurons.base import Inputs
    >>> neuron = EIConductanceLIF(scheme="euler", refractory=0.0)
    >>> state, spike = neuron.step(neuron.initial(), Inputs(excitatory=0.6, inhibitory=0.0))
    >>> round(state.v, 3)  # -60 + 0.6 (0 + 60) / 20
    -58.2
    """

    inputs: ClassVar[tuple[str, ...]] = ("excitatory", "inhibitory")
    recurrence: ClassVar[Mapping[str, Literal["all", "positive", "negative"]]] = {
        "excitatory": "positive",
        "inhibitory": "negative",
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # The order of Brian2 with method="euler" (method="exponential_euler" with scheme "exponential").
        "brian2": {"scheme": "euler", "synapse": "last"},
    }

    threshold: Any = parameter(default=-50.0, unit="mV", help="membrane value at which the neuron fires")
    v_rest: Any = parameter(default=-60.0, unit="mV", help="membrane value at rest, and at the start")
    v_reset: Any = parameter(default=-60.0, unit="mV", help="membrane value after a spike (reset 'value')")
    e_excitatory: Any = parameter(default=0.0, unit="mV", help="reversal potential of excitation")
    e_inhibitory: Any = parameter(default=-80.0, unit="mV", help="reversal potential of inhibition")
    tau_m: Any = parameter(default=20.0, unit="ms", above=0, help="membrane time constant at rest")
    tau_e: Any = parameter(default=5.0, unit="ms", above=0, help="time constant of excitation")
    tau_i: Any = parameter(default=10.0, unit="ms", above=0, help="time constant of inhibition")
    scheme: Scheme = option(default="exponential", help="how all leaks are integrated over a step")
    synapse: Literal["first", "last"] = option(
        default="first", help="whether the membrane sees the conductances of this step or the last"
    )
    rectify: bool = option(default=True, help="count negative input as none: no negative conductances")
    reset: Literal["subtract", "value", "none"] = option(
        default="value", help="what a spike does to the membrane"
    )
    relative: bool = option(
        default=True, help="measure distance from threshold in units of threshold - v_rest"
    )
    refractory: float = option(default=5.0, unit="ms", at_least=0, help="time without a further spike")

    def rest(self) -> State:
        return State(v=self.v_rest, g_e=0.0, g_i=0.0)

    def integrate(self, state: State, current: Inputs) -> State:
        excitatory, inhibitory = current.excitatory, current.inhibitory
        if self.rectify:
            excitatory, inhibitory = maximum(excitatory, 0.0), maximum(inhibitory, 0.0)
        g_e = relax(state.g_e, excitatory, self.tau_e, self.dt, scheme=self.scheme)
        g_i = relax(state.g_i, inhibitory, self.tau_i, self.dt, scheme=self.scheme)
        seen = (g_e, g_i) if self.synapse == "first" else (state.g_e, state.g_i)
        return State(v=self._membrane(state.v, *seen), g_e=g_e, g_i=g_i)

    def _membrane(self, v: Value, g_e: Value, g_i: Value) -> Value:
        """v one step later."""
        if self.scheme == "euler":
            drive = g_e * (self.e_excitatory - v) + g_i * (self.e_inhibitory - v)
            return relax(v, drive, self.tau_m, self.dt, self.v_rest, "euler", "leak")
        total = 1.0 + g_e + g_i
        goal = (self.v_rest + g_e * self.e_excitatory + g_i * self.e_inhibitory) / total
        return goal + (v - goal) * exp((-self.dt / self.tau_m) * total)
