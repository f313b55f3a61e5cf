"""A network as its stages: a connection and the neurons that it leads to, one after the other.

    inputs -> [before] connection [noise] neurons -> ... -> [before] connection [noise] read-out

Rules that work layer by layer see a network in this form. What has no weights (pooling, dropout) may stand in
front of a connection, noise behind it. A layer of neurons may have connections among its own neurons
(`Recurrent`); these are part of the layer, not a stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from torch import Tensor, nn

from rheobase.kernels.constant import Constant
from rheobase.layers.delayed import Delayed
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network, NetworkState
from rheobase.layers.noise import Noise
from rheobase.layers.over_time import OverTime
from rheobase.layers.stateful import NeuronLayer, Stateful


@dataclass(frozen=True)
class Stage:
    """One connection, and the neurons behind it.

    Attributes:
        name: The name of the layer of neurons.
        neurons: That layer.
        source: The name of the connection.
        connection: The module with the weights: `Dense`, `Delayed`, or of another kind that was allowed.
        before: What stands in front of the connection and has nothing to train, by name.
        noise: What stands between connection and neurons, by name.
        readout: Whether this is the network's last stage.
    """

    name: str
    neurons: NeuronLayer
    source: str
    connection: nn.Module
    before: tuple[tuple[str, nn.Module], ...] = ()
    noise: tuple[tuple[str, Noise], ...] = ()
    readout: bool = False

    def current(
        self, x: Tensor | Constant, state: NetworkState | None = None
    ) -> tuple[Tensor | Constant, dict[str, dict[str, Tensor]]]:
        """What goes into the neurons `[T, B, columns]`, and the states of the modules that it passed.

        Args:
            x: What the stage before emitted, or the network's input, `[T, B, ...]`.
            state: The network's; modules that are missing in it start at rest.
        """
        states: dict[str, dict[str, Tensor]] = {}
        for name, module in (*self.before, (self.source, self.connection), *self.noise):
            if isinstance(module, Stateful):
                run = module(x, (state or {}).get(name))
                x, states[name] = run.output, run.state
            else:
                x = module(x)
        return x, states


def stages(
    network: Network, rule: str, connections: tuple[type[nn.Module], ...] = (Dense, Delayed)
) -> tuple[Stage, ...]:
    """The stages of `network`, the read-out last.

    Args:
        network: The network.
        rule: Who asks, for the messages of errors.
        connections: The kinds of connections that it can do with.

    Raises:
        ValueError: If the network has another form; it names the module that does not fit.

    >>> from rheobase.neurons.lif import LIF
    >>> from rheobase.layers.neurons import Neurons
    >>> net = Network(a=Dense(4, 8), hidden=Neurons(LIF()), b=Dense(8, 2), out=Neurons(LIF()))
    >>> stages(net, "mine", (Delayed,))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: mine: got the layer 'a' (Dense), wanted Delayed in front of each layer of ...
    >>> net = Network(a=Dense(4, 8), hidden=Neurons(LIF()), b=Dense(8, 2), out=Neurons(LIF()))
    >>> [(stage.source, stage.name, stage.readout) for stage in stages(net, "mine")]
    [('a', 'hidden', False), ('b', 'out', True)]
    """
    kinds = " or ".join(kind.__name__ for kind in connections)

    def refuse(name: str, module: nn.Module, wanted: str) -> NoReturn:
        raise ValueError(
            f"{rule}: got the layer '{name}' ({type(module).__name__}), wanted {wanted}; "
            "bptt trains networks of any form"
        )

    found: list[Stage] = []
    before: list[tuple[str, nn.Module]] = []
    connection: tuple[str, nn.Module] | None = None
    noise: list[tuple[str, Noise]] = []
    for name, module in network.layers.items():
        if isinstance(module, NeuronLayer):
            if connection is None:
                refuse(name, module, f"{kinds} in front of each layer of neurons")
            found.append(
                Stage(name, module, *connection, tuple(before), tuple(noise), readout=name == network.last)
            )
            before, connection, noise = [], None, []
        elif isinstance(module, connections) and any(True for _ in module.parameters()):
            if connection is not None:
                refuse(name, module, f"neurons between it and the connection '{connection[0]}'")
            connection = (name, module)
        elif isinstance(module, Noise) and connection is not None:
            noise.append((name, module))
        elif (
            isinstance(module, OverTime) and connection is None and not any(True for _ in module.parameters())
        ):
            before.append((name, module))
        else:
            refuse(name, module, f"{kinds} in front of each layer of neurons")
    if before or connection or not found:
        name, module = connection or (before or list(network.layers.items()))[-1]
        refuse(name, module, "a layer of neurons, the read-out, at the end")
    return tuple(found)


def signal_of(name: str) -> tuple[str, str]:
    """The layer and the variable of a signal's name, as in `Record.signals`.

    >>> signal_of("hidden1.adaptive.b")
    ('hidden1', 'adaptive.b')
    """
    layer, variable = name.split(".", 1)
    return layer, variable


def by_layer(signals: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Signals by layer and variable.

    >>> import torch
    >>> sorted(by_layer({"a.v": torch.zeros(1), "a.spikes": torch.zeros(1)})["a"])
    ['spikes', 'v']
    """
    found: dict[str, dict[str, Tensor]] = {}
    for name, signal in signals.items():
        layer, variable = signal_of(name)
        found.setdefault(layer, {})[variable] = signal
    return found
