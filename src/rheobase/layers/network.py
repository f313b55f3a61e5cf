"""The network: named layers in sequence, with explicit state and a record of what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from rheobase.kernels.constant import Constant
from rheobase.layers.dense import Dense
from rheobase.layers.stateful import SPIKES, NeuronLayer, Stateful
from rheobase.neurons.spiking import SpikingNeuron
from rheobase.registry import unknown

NetworkState = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True)
class Record:
    """What a network did over a sequence.

    Attributes:
        output: What the last layer emitted at each step, `[T, B, N]`.
        signals: The signals asked for, by "layer.spikes" or "layer.<state variable>", `[T, B, N]`.
        state: The final state per layer that has one; pass it back in to go on.

    >>> from rheobase.layers.neurons import Neurons
    >>> from rheobase.neurons.lif import LIF
    >>> record = Network(hidden=Neurons(LIF()))(torch.ones(5, 2, 3), record=["hidden.v"])
    >>> record.output.shape, record["hidden.v"].shape, record.state["hidden"]["v"].shape
    (torch.Size([5, 2, 3]), torch.Size([5, 2, 3]), torch.Size([2, 3]))
    """

    output: Tensor
    signals: dict[str, Tensor] = field(default_factory=dict)
    state: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def __getitem__(self, signal: str) -> Tensor:
        if signal not in self.signals:
            raise KeyError(
                f"'{signal}' was not recorded; recorded: {', '.join(self.signals) or 'nothing'}. Ask for "
                f"it: net(x, record=['{signal}'])"
            )
        return self.signals[signal]

    def detached(self) -> Record:
        """The same without derivatives."""
        return self._each(Tensor.detach)

    def cloned(self) -> Record:
        """A copy."""
        return self._each(Tensor.clone)

    def _each(self, function: Callable[[Tensor], Tensor]) -> Record:
        return Record(
            function(self.output),
            {name: function(signal) for name, signal in self.signals.items()},
            {layer: {n: function(x) for n, x in s.items()} for layer, s in self.state.items()},
        )


# torch.export then takes it as a result.
torch.export.register_dataclass(Record, serialized_type_name="rheobase.Record")


class Network(nn.Module):
    """Layers in sequence, each with a name.

    `Stateful` layers (`Neurons`, `Recurrent`, `Delayed`, `Noise`) carry state; all others act on each time
    step alone.

    Args:
        layers: Modules by name, in order. Modules that know no time go into `OverTime`.

    >>> import torch
    >>> from rheobase.layers.dense import Dense
    >>> from rheobase.layers.neurons import Neurons
    >>> from rheobase.neurons.lif import LIF
    >>> net = Network(fc=Dense(4, 8), hidden=Neurons(LIF()), out=Dense(8, 2), readout=Neurons(LIF()))
    >>> record = net(torch.rand(10, 3, 4), record=["hidden.spikes", "readout.v"])
    >>> record.output.shape, record["hidden.spikes"].shape
    (torch.Size([10, 3, 2]), torch.Size([10, 3, 8]))
    >>> later = net(torch.rand(10, 3, 4), state=record.state)
    """

    def __init__(self, **layers: nn.Module) -> None:
        super().__init__()
        if not layers:
            raise ValueError("Network: got no layers, wanted at least one")
        self.layers = nn.ModuleDict(layers)

    def neurons(self) -> dict[str, NeuronLayer]:
        """The layers of neurons by name."""
        return {n: m for n, m in self.layers.items() if isinstance(m, NeuronLayer)}

    def stateful(self) -> dict[str, Stateful]:
        """The layers that carry state by name: those of neurons, delayed connections, noise."""
        return {n: m for n, m in self.layers.items() if isinstance(m, Stateful)}

    @property
    def spiking(self) -> tuple[str, ...]:
        """The names of the layers that spike."""
        return tuple(name for name, layer in self.neurons().items() if layer.spiking)

    @property
    def last(self) -> str:
        """The name of the last layer of neurons, the read-out."""
        names = tuple(self.neurons())
        if not names:
            raise ValueError("Network: it has no layer of neurons, so there is no read-out")
        return names[-1]

    def signals(self) -> tuple[str, ...]:
        """The names of all signals that can be recorded."""
        return tuple(f"{name}.{s}" for name, layer in self.neurons().items() for s in layer.signals)

    def forward(
        self, x: Tensor | Constant, state: NetworkState | None = None, record: Sequence[str] = ()
    ) -> Record:
        """Run all layers over all time steps.

        Args:
            x: `[T, B, ...]`, or a `Constant` input.
            state: As returned in `Record.state`; layers that are missing in it start at rest. None for the
                whole of a sequence, `{}` for its first part.
            record: Names from `signals()`.

        Raises:
            ValueError: On an unknown signal or layer, on shapes that do not fit, or on a refractory period
                longer than the whole sequence.
        """
        for name in record:
            self._check_signal(name)
        for name in state or {}:
            if name not in self.stateful():
                raise ValueError(unknown("layer with state", name, self.stateful()))
        if state is None:
            self.check_refractory(x.shape[0])
        signals: dict[str, Tensor] = {}
        states: dict[str, dict[str, Tensor]] = {}
        layers = list(self.layers.items())
        held: Dense | None = None  # a connection that the layer behind it will run
        joined = False  # whether the layer before has run this one
        for i, (name, layer) in enumerate(layers):
            behind = layers[i + 1][1] if i + 1 < len(layers) else None
            if joined:
                joined = False
            elif isinstance(layer, Stateful):
                wanted = [s for s in (SPIKES, *layer.states) if f"{name}.{s}" in record] if record else []
                joint = layer.join(
                    held, x, behind if isinstance(behind, Dense) else None, (state or {}).get(name), wanted
                )
                x, states[name], joined, held = joint.output, joint.state, joint.joined, None
                for of, signal in joint.signals.items():
                    signals[f"{name}.{of}"] = signal
            elif isinstance(layer, Dense) and isinstance(behind, Stateful):
                held = layer
            else:
                x = layer(x)
        output = x.expand() if isinstance(x, Constant) else x
        return Record(output, signals, states)

    def _check_signal(self, name: str) -> None:
        """Raise `ValueError` on what is no signal of this network."""
        of, _, what = name.partition(".")
        if of in self.layers:
            layer = self.layers[of]
            if isinstance(layer, NeuronLayer) and what in layer.signals:
                return
        raise ValueError(unknown("signal", name, self.signals()))

    def check_refractory(self, steps: int) -> None:
        """Raise `ValueError` on a refractory period longer than a sequence of so many steps."""
        for name, layer in self.layers.items():
            if not isinstance(layer, NeuronLayer) or layer.refractory_steps <= steps:
                continue
            for model, _ in layer.models():
                if isinstance(model, SpikingNeuron) and model.refractory_steps > steps:
                    raise ValueError(
                        f"layer '{name}': got a refractory period of {model.refractory:g} ms, longer than "
                        f"the sequence of {steps} steps of {model.dt:g} ms, in which no neuron could fire "
                        "twice; use a shorter period or a longer sequence (or state={} if this is the first "
                        "part of a longer one)"
                    )
