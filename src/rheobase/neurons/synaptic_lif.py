"""The current-based leaky integrate-and-fire neuron: input is filtered by a synapse first.

    i' = a_s i + I,                          a_s = exp(-dt/tau_s) or 1 - dt/tau_s
    v' = v_rest + a (v - v_rest) + drive,    drive = R i (or (1 - a) R i with scaling "leak")

where the membrane sees the new i' (`synapse` "first") or the old i ("last").

Gerstner, Kistler, Naud & Paninski, "Neuronal Dynamics", Cambridge 2014, chapter 1.3 and 3.1.
Not modelled: conductances, adaptation, different synapses on one neuron.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from rheobase.config import option, parameter
from rheobase.neurons.base import State
from rheobase.neurons.dynamics import Scaling, Scheme, relax
from rheobase.neurons.spiking import SpikingNeuron
from rheobase.operators import Value
from rheobase.surrogate import FastSigmoid


class SynapticLIF(SpikingNeuron):
    """Leaky integrate-and-fire with an exponential synaptic current.

    State: `v`, `i`, each `[B, N]`.

    >>> SynapticLIF.preset("norse").scheme
    'euler'
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # norse 1.1 LIF: tau_mem 10 ms, tau_syn 5 ms, dt 1 ms, "super" surrogate with alpha 100.
        "norse": {
            "scheme": "euler",
            "scaling": "leak",
            "reset": "value",
            "detach": False,
            "surrogate": FastSigmoid(slope=100.0),
        },
        # Zenke's SpyTorch tutorials: spike and (detached) reset from the old membrane.
        "spytorch": {
            "timing": "old",
            "reset": "value",
            "synapse": "last",
            "surrogate": FastSigmoid(slope=100.0),
        },
        # Zenke & Ganguli, "SuperSpike" (2018), in mV: a spike's weight is a current that moves the membrane
        # towards rest + current. The surrogate's factor beta (1/mV) is 1.
        "superspike": {
            "dt": 0.1,
            "threshold": -50.0,
            "v_rest": -60.0,
            "v_reset": -60.0,
            "reset": "value",
            "scaling": "leak",
            "refractory": 5.0,
            "surrogate": FastSigmoid(slope=1.0),
        },
    }

    tau_m: Any = parameter(default=10.0, unit="ms", above=0, help="membrane time constant")
    tau_s: Any = parameter(default=5.0, unit="ms", above=0, help="synaptic time constant")
    resistance: Any = parameter(default=1.0, help="factor on the synaptic current (R)")
    scheme: Scheme = option(default="exponential", help="how both leaks are integrated over a step")
    scaling: Scaling = option(default="unit", help="whether the current is scaled by the membrane's leak")
    synapse: Literal["first", "last"] = option(
        default="first", help="whether the membrane sees the synaptic current of this step or the last"
    )

    def rest(self) -> State:
        return State(v=self.v_rest, i=0.0)

    def integrate(self, state: State, current: Value) -> State:
        i = relax(state.i, current, self.tau_s, self.dt, scheme=self.scheme)
        drive = self.resistance * (i if self.synapse == "first" else state.i)
        v = relax(state.v, drive, self.tau_m, self.dt, self.v_rest, self.scheme, self.scaling)
        return State(v=v, i=i)
