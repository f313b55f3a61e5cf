"""Recurrent networks: hidden layers whose neurons are connected among themselves, of one or two models."""

from __future__ import annotations

import math

from torch import Tensor, nn

from rheobase.config import option
from rheobase.layers.fluctuation import Regime
from rheobase.layers.network import Network
from rheobase.layers.recurrent import Recurrent as RecurrentLayer
from rheobase.networks.connected import Connected
from rheobase.neurons.adaptive_lif import AdaptiveLIF
from rheobase.neurons.base import Neuron


class Recurrent(Connected):
    """Inputs -> recurrent hidden layers -> read-out.

    With `adaptive` above 0, each hidden layer has so many neurons of a second model beside those of the first
    (the groups are called "regular" and "adaptive"): the LSNN of Bellec, Salaj, Subramoney, Legenstein &
    Maass, NeurIPS 2018. With signs, a neuron has one sign in all that leaves it, within its layer and on.

    >>> from rheobase.neurons.lif import LIF
    >>> net = Recurrent(hidden=(8,), adaptive=4).build((1, 4, 4), 2, LIF(), LIF())
    >>> net.layers["hidden1"].states
    ('regular.v', 'adaptive.v', 'adaptive.b')
    """

    hidden: tuple[int, ...] = option(default=(200,), at_least=1, help="neurons per hidden layer")
    adaptive: int = option(
        default=0, at_least=0, help="further neurons in each hidden layer, of a second model"
    )
    adaptive_neuron: Neuron = option(default=AdaptiveLIF(), help="model of the adaptive neurons")
    shortest_delay: float | None = option(
        default=None, above=0, unit="ms", help="shortest delay of recurrent connections; one step if none"
    )
    longest_delay: float | None = option(
        default=None, above=0, unit="ms", help="their longest delay, each being drawn; all alike if none"
    )
    self_connections: bool = option(default=False, help="whether a neuron may excite itself")
    recurrent_gain: float = option(default=1.0, above=0, help="factor on the initial recurrent weights")
    balanced: bool = option(
        default=False,
        help="where hidden neurons have signs, whether recurrent weights of the rarer sign are larger at "
        "the start, so that excitation and inhibition cancel on average",
    )
    recurrent_share: float = option(
        default=0.1,
        at_least=0,
        at_most=1,
        help="part of the membrane's mean and variance that initial_xi leaves to recurrent connections",
    )
    recurrent_rate: float = option(
        default=20.0,
        above=0,
        unit="Hz",
        help="firing rate of hidden neurons that initial_xi assumes for that",
    )
    plain_readout: bool = option(
        default=False,
        help="whether the read-out's connection has neither delays nor signs, whatever the others have",
    )
    readout_gain: float | None = option(
        default=None, above=0, help="factor on the read-out's initial weights (that of the others if none)"
    )

    def validate(self) -> None:
        super().validate()
        if self.longest_delay is not None and self.longest_delay < (self.shortest_delay or 0.0):
            raise ValueError(
                f"Recurrent.longest_delay: got {self.longest_delay:g} ms, wanted at least the shortest, "
                f"{self.shortest_delay:g} ms"
            )

    def regime(self, xi: float) -> Regime:
        """How membranes shall move at the start."""
        return Regime(xi, self.initial_mean, self.recurrent_share, self.recurrent_rate)

    def has_delays(self) -> bool:
        """Whether any connection has a delay that may be trained."""
        return super().has_delays() or self.longest_delay is not None

    def build(self, input_shape: tuple[int, ...], outputs: int, neuron: Neuron, readout: Neuron) -> Network:
        layers: dict[str, nn.Module] = {}
        before = math.prod(input_shape)
        signs = self.input_signs(before)
        for i, number in enumerate(self.hidden, start=1):
            size = number + self.adaptive
            groups = [(neuron, number), *([(self.adaptive_neuron, self.adaptive)] if self.adaptive else [])]
            layers[f"dense{i}"] = self.connect(before, groups, signs)
            before, signs = size, self.signs(size)
            layers |= self.noisy(f"noise{i}", neuron.dt)
            layers[f"hidden{i}"] = self.layer(neuron, number, signs)
        last = self.replace(forward_delay=None, learn_delays=False) if self.plain_readout else self
        layers[f"dense{len(self.hidden) + 1}"] = last.connect(
            before, [(readout, outputs)], None if self.plain_readout else signs, self.readout_gain
        )
        layers["readout"] = self.neurons(readout, outputs)
        return Network(**layers)

    def layer(self, neuron: Neuron, size: int, signs: Tensor | None) -> RecurrentLayer:
        """A hidden layer of `size` neurons, and those of the second model."""
        groups: dict[str, tuple[Neuron, int]] = {"regular": (neuron, size)}
        if self.adaptive:
            groups["adaptive"] = (self.adaptive_neuron, self.adaptive)
        known = {name for model, _ in groups.values() for name in model.parameter_names()}
        shortest = self.shortest_delay or neuron.dt
        delays = (shortest, self.longest_delay or shortest)
        return RecurrentLayer(
            groups if self.adaptive else neuron,
            None if self.adaptive else size,
            delays=None if self.shortest_delay is self.longest_delay is None else delays,
            learn_delays=self.learn_delays and self.longest_delay is not None,
            delay_speed=self.delay_speed,
            self_connections=self.self_connections,
            signs=signs,
            density=self.density,
            rewiring=self.rewiring(),
            balanced=self.balanced,
            trainable=[name for name in self.train_neurons if name in known],
            gain=self.recurrent_gain,
            weights=self.weights,
            backend=self.backend,
            checkpoint_every=self.checkpoint_every,
        )
