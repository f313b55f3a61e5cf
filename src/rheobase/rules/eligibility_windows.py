"""E-prop's eligibility traces a window at a time, by the adjoint of the neurons over the window.

See `rheobase.rules.eligibility` for the sums. Memory is that of a window, and of the traces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from rheobase.layers.network import NetworkState
from rheobase.layers.neurons import Neurons
from rheobase.rules.eligibility import (
    Back,
    Filter,
    Members,
    Traces,
    advance,
    filter_of,
    redeem,
    synapses,
)
from rheobase.rules.stages import Stage
from rheobase.rules.windows import Window, forward


@dataclass(frozen=True, eq=False)
class Windows:
    """E-prop window by window.

    Attributes:
        parts: The stages of the network.
        groups: The neurons of each by model.
        back: Brings errors at the read-out to hidden neurons.
    """

    parts: Sequence[Stage]
    groups: Mapping[str, Sequence[Members]]
    back: Back
    _filters: dict[int, Filter] = field(default_factory=dict)  # by the length of a window: one or two

    def run(self, x: Tensor, state: NetworkState, record: Sequence[str]) -> list[Window]:
        """All stages over a window, from a state that has all of them."""
        return forward(self.parts, x, state, record, alone=True, pull=False)

    def learn(
        self,
        windows: Sequence[Window],
        pulls: Sequence[Mapping[str, Tensor]],
        state: NetworkState,
        traces: Mapping[str, Traces],
        goes_on: bool,
    ) -> dict[str, dict[str, Tensor]]:
        """Add what a window means to the parameters' `.grad`; the traces at its end.

        Args:
            windows: All stages over the window.
            pulls: For each, the loss's derivatives by its signals.
            state: The network's state before.
            traces: The traces before; nothing happened yet if there are none.
            goes_on: Whether what comes after will want the traces.
        """
        readout = windows[-1]
        kinds = {w.stage.name: synapses(w.stage, _input(w), w.run.output, state) for w in windows}
        after: dict[str, dict[str, Tensor]] = {}
        if goes_on:
            filtered = self._filter(readout)
            for w in windows:
                name, behind = w.stage.name, None if w is readout else filtered
                after[name] = advance(w, self.groups[name], kinds[name], traces.get(name, {}), behind)
        readout.learn(None, pulls[-1])
        last = readout.stage.name
        redeem(readout, self.groups[last], kinds[last], traces.get(last, {}), {})
        carried = {name: leaf.grad for name, leaf in readout.start.items() if leaf.grad is not None}
        for w, own in zip(windows[:-1], pulls, strict=False):
            name = w.stage.name
            w.learn(self.back(readout.error, w.stage), own)
            by_filtered = {v: self.back(by, w.stage) for v, by in carried.items()}
            redeem(w, self.groups[name], kinds[name], traces.get(name, {}), by_filtered)
        return after

    def _filter(self, readout: Window) -> Filter:
        """What the read-out makes of what comes in, over a window of this length."""
        like, layer = readout.run.output, readout.stage.neurons
        if len(like) not in self._filters:
            assert isinstance(layer, Neurons)
            self._filters[len(like)] = filter_of(layer.bound(), like)
        return self._filters[len(like)]


def _input(window: Window) -> Tensor:
    assert isinstance(window.x, Tensor)
    return window.x
