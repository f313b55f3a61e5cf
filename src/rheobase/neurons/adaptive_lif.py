"""The adaptive leaky integrate-and-fire neuron: each spike raises its threshold for a while.

    v' = v_rest + a (v - v_rest) + drive,    a = exp(-dt/tau_m) or 1 - dt/tau_m
    b' = rho b + z                           rho = exp(-dt/tau_a) or 1 - dt/tau_a
    (or b' = rho b + (1 - rho) z with jump "leak")
    z = 1 where v > B,                       B = threshold + beta b
    drive = R I, or (1 - a) R I with scaling "leak"

The b that a test for a spike sees holds all earlier spikes: b of the step after the spike, be it
written as driven by the last step's spike (LSNN, e-prop) or, as here, updated with the spike (with
`timing` "immediate" and "old", the b that one records holds this step's spike already). Reset
"subtract" takes off the threshold without adaptation ("base"), or the adaptive one: that which was
crossed ("crossed"), or that which the spike has raised ("adapted", as the code of the LSNN papers
does). `detach` is about the reset only: gradients always flow through the adaptation, which is
what carries memory.

A beta of 0 makes an ordinary LIF neuron: one value per neuron gives a population of both kinds.

Bellec, Salaj, Subramoney, Legenstein & Maass, "Long short-term memory and learning-to-learn in
networks of spiking neurons", NeurIPS 2018; Bellec et al., Nature Communications 11 (2020).
Not modelled: subthreshold adaptation, adaptation currents (those act on the membrane).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from rheobase.config import option, parameter
from rheobase.neurons.base import State
from rheobase.neurons.dynamics import Scaling, Scheme, relax
from rheobase.neurons.spiking import SpikingNeuron
from rheobase.operators import Value
from rheobase.surrogate import Triangular

# The code of the LSNN papers, in the form in which it became an SRNN for memtransistor crossbars:
# spike from the old membrane, reset a step later by the adapted threshold; that at rest is 0.01.
_LSNN: Mapping[str, Any] = {
    "scaling": "leak",
    "jump": "leak",
    "timing": "late",
    "detach": False,
    "relative": True,
    "relative_to": "adaptive",
    "subtract": "adapted",
    "refractory_mode": "mute",
    "threshold": 0.01,
    "surrogate": Triangular(),
}


class AdaptiveLIF(SpikingNeuron):
    """Leaky integrate-and-fire with an adaptive threshold.

    State: `v` and `b`, each `[B, N]` (and `refractory`, steps left, if there is a refractory period;
    `z`, the last spike, with timing "late").

    >>> import torch
    >>> beta = torch.tensor([0.0, 0.0, 0.5])  # two ordinary neurons and an adaptive one
    >>> AdaptiveLIF(beta=beta).initial()
    {'v': 0.0, 'b': 0.0}
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Bellec et al. 2020 (e-prop); psi = 0 while refractory.
        "eprop": {
            "timing": "delayed",
            "detach": False,
            "relative": True,
            "refractory_mode": "mute",
            "surrogate": Triangular(),
        },
        # ALIF of a spiking recurrent network for memtransistor crossbars.
        "srnn": {**_LSNN, "tau_a": 200.0, "beta": 1.6},
        # The same cell for sequential MNIST (120 neurons with beta 0 beside 100 of these).
        "lsnn": {**_LSNN, "tau_a": 700.0, "beta": 1.8, "refractory": 5.0},
        # The adding problem on spiking cells, as run there: tau_a is one time step; what was given as
        # a refractory period is one too, which there means none.
        "adding": {
            "scaling": "leak",
            "jump": "leak",
            "resistance": 2.0,
            "tau_a": 1.0,
            "beta": 0.1,
            "strict": False,
            "reset": "value",
            "detach": False,
            "relative": True,
            "relative_to": "adaptive",
            "surrogate": Triangular(),
        },
    }

    tau_m: Any = parameter(default=20.0, unit="ms", above=0, help="membrane time constant")
    tau_a: Any = parameter(default=200.0, unit="ms", above=0, help="time constant of adaptation")
    beta: Any = parameter(default=0.1, help="threshold per unit of adaptation; 0 for none")
    resistance: Any = parameter(default=1.0, help="factor on the input current (R)")
    scheme: Scheme = option(default="exponential", help="how both leaks are integrated over a step")
    scaling: Scaling = option(default="unit", help="whether input is scaled by the leak")
    jump: Scaling = option(default="unit", help="whether a spike adds 1 to b, or a share scaled by its leak")
    relative_to: Literal["base", "adaptive"] = option(
        default="base", help="threshold that is the unit of a `relative` distance"
    )
    subtract: Literal["base", "crossed", "adapted"] = option(
        default="base", help="threshold that reset 'subtract' takes off"
    )

    def rest(self) -> State:
        return State(v=self.v_rest, b=0.0)

    def level(self, state: State) -> Value:
        return self.threshold + self.beta * state.b

    def unit(self, state: State) -> Value:
        return (self.level(state) if self.relative_to == "adaptive" else self.threshold) - self.v_rest

    def drop(self, state: State) -> Value:
        return (self.threshold if self.subtract == "base" else self.level(state)) - self.v_rest

    def integrate(self, state: State, current: Value) -> State:
        drive = self.resistance * current
        v = relax(state.v, drive, self.tau_m, self.dt, self.v_rest, self.scheme, self.scaling)
        return State(v=v, b=state.b)

    def settle(self, state: State, z: Value) -> State:
        b = relax(state.b, z, self.tau_a, self.dt, 0.0, self.scheme, self.jump)
        state = state.replace(b=b) if self.subtract == "adapted" else state
        return super().settle(state, z).replace(b=b)
