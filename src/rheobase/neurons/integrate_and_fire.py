"""The integrate-and-fire neuron: a membrane that sums its input and never leaks.

    v' = v + R I

Not modelled: leak, synaptic filtering, adaptation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rheobase.config import parameter
from rheobase.neurons.base import State
from rheobase.neurons.spiking import SpikingNeuron
from rheobase.operators import Value
from rheobase.surrogate import Triangular


class IntegrateAndFire(SpikingNeuron):
    """Perfect integrator with threshold (Lapicque 1907, without the leak).

    State: `v`, shape `[B, N]`.

    >>> import torch
    >>> state, spikes = IntegrateAndFire().step(State(v=torch.tensor(0.25)), torch.tensor(0.5))
    >>> state.v.item(), spikes.item()
    (0.75, 0.0)
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # A spiking recurrent network for memtransistor crossbars: spike from the old membrane, reset a step
        # later.
        "srnn": {
            "timing": "late",
            "detach": False,
            "relative": True,
            "refractory_mode": "mute",
            "surrogate": Triangular(),
        },
    }

    resistance: Any = parameter(default=1.0, help="factor on the input current (R)")

    def rest(self) -> State:
        return State(v=self.v_rest)

    def integrate(self, state: State, current: Value) -> State:
        return State(v=state.v + self.resistance * current)
