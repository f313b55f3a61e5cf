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

    >>> IntegrateAndFire(resistance=0.5).step(State(v=0.25), 1.0)[0].v  # doctest: +SKIP
    0.75
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # The spiking recurrent network for memtransistor crossbars (after Bellec et al.'s LSNN code).
        "srnn": {"timing": "old", "detach": False, "relative": True, "surrogate": Triangular()},
    }

    resistance: Any = parameter(default=1.0, help="factor on the input current (R)")

    def rest(self) -> State:
        return State(v=self.v_rest)

    def integrate(self, state: State, current: Value) -> State:
        return State(v=state.v + self.resistance * current)
