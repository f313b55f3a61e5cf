"""The leaky integrate-and-fire neuron.

    v' = v_rest + a (v - v_rest) + drive,   a = exp(-dt/tau_m) or 1 - dt/tau_m
    drive = R I, or (1 - a) R I with scaling "leak"

Gerstner, Kistler, Naud & Paninski, "Neuronal Dynamics", Cambridge 2014, chapter 1.3.
Not modelled: synaptic filtering (see synaptic_lif), adaptation, conductances.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rheobase.config import option, parameter
from rheobase.neurons.base import State, time_constant
from rheobase.neurons.dynamics import Scaling, Scheme, relax
from rheobase.neurons.spiking import SpikingNeuron
from rheobase.operators import Value
from rheobase.surrogate import Arctan, Sigmoid, SpikeItself, Triangular


class LIF(SpikingNeuron):
    """Leaky integrate-and-fire.

    State: `v`, shape `[B, N]` (and `refractory`, steps left, if there is a refractory period).

    >>> LIF.preset("snntorch").timing
    'delayed'
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # snnTorch 1.0 Leaky, beta .95; reset_mechanism "zero" is reset="value".
        "snntorch": {"tau_m": time_constant(0.95), "timing": "delayed", "surrogate": Arctan()},
        # The class that snnTorch's tutorial 5 writes by hand: the spike is its own derivative, and
        # comes from the old membrane.
        "snntorch-tutorial": {
            "tau_m": time_constant(0.95),
            "timing": "old",
            "surrogate": SpikeItself(),
        },
        # SpikingJelly 0.0.0.0.14 and later, LIFNode(tau=2, decay_input=True, detach_reset=False).
        "spikingjelly": {
            "tau_m": 2.0,
            "scheme": "euler",
            "scaling": "leak",
            "strict": False,
            "reset": "value",
            "detach": False,
            "surrogate": Sigmoid(),
        },
        # A spiking recurrent network for memtransistor crossbars, in the LSNN papers' code: spike from the
        # old membrane, reset a step later.
        "srnn": {
            "scaling": "leak",
            "timing": "late",
            "detach": False,
            "relative": True,
            "refractory_mode": "mute",
            "surrogate": Triangular(),
        },
        # Bellec et al. 2020 (e-prop), without adaptation; psi = 0 while refractory.
        "eprop": {
            "timing": "delayed",
            "detach": False,
            "relative": True,
            "refractory_mode": "mute",
            "surrogate": Triangular(),
        },
    }

    tau_m: Any = parameter(default=20.0, unit="ms", above=0, help="membrane time constant")
    resistance: Any = parameter(default=1.0, help="factor on the input current (R)")
    scheme: Scheme = option(default="exponential", help="how the leak is integrated over a step")
    scaling: Scaling = option(default="unit", help="whether input is scaled by the leak")

    def rest(self) -> State:
        return State(v=self.v_rest)

    def integrate(self, state: State, current: Value) -> State:
        drive = self.resistance * current
        v = relax(state.v, drive, self.tau_m, self.dt, self.v_rest, self.scheme, self.scaling)
        return State(v=v)
