"""What networks of dense connections share: biases, delays, signs, gaps, and how weights are drawn."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from rheobase.config import option
from rheobase.kernels.constant import Constant
from rheobase.layers.connection import Rewiring, Weights, draw_signs
from rheobase.layers.delayed import Delayed
from rheobase.layers.dense import Dense
from rheobase.layers.fluctuation import Regime, fluctuate
from rheobase.layers.network import Network
from rheobase.networks.base import Architecture
from rheobase.neurons.base import Neuron


class Connected(Architecture):
    """An architecture whose layers are joined by dense (or delayed, or sparse) connections."""

    bias: bool = option(default=True, help="whether feed-forward connections have biases")
    weights: Weights = option(default="uniform", help="distribution of the initial weights")
    gain: float = option(default=1.0, above=0, help="factor on the initial weights")
    initial_xi: float | None = option(
        default=None,
        above=0,
        help="draw initial weights such that on the first batch, the threshold is this many standard "
        "deviations of the membrane above its mean (fluctuation-driven)",
    )
    initial_mean: float = option(default=0.0, help="mean of the membranes that initial_xi aims at")
    density: float = option(
        default=1.0, above=0, at_most=1, help="share of connections that exist, drawn at random"
    )
    rewire: bool = option(
        default=False,
        help="whether sparse connections are rewired in training (DEEP R); wants a density below 1",
    )
    rewire_l1: float = option(
        default=0.01, at_least=0, help="how strongly rewired connections are drawn towards zero"
    )
    rewire_temperature: float = option(
        default=0.0, at_least=0, help="noise on the strength of rewired connections"
    )
    excitatory: float | None = option(
        default=None,
        at_least=0,
        at_most=1,
        help="share of hidden neurons that only excite, while the others only inhibit; any signs if none",
    )
    input_excitatory: float | None = option(
        default=None,
        at_least=0,
        at_most=1,
        help="share of inputs that only excite, while the others only inhibit (inputs must not be negative); "
        "any signs if none",
    )
    forward_delay: float | None = option(
        default=None,
        above=0,
        unit="ms",
        help="longest delay of feed-forward connections, each drawn up to it; no delays if none",
    )
    shortest_forward_delay: float = option(
        default=0.0,
        at_least=0,
        unit="ms",
        help="shortest delay of feed-forward connections, if they have any",
    )
    learn_delays: bool = option(default=False, help="whether delays are trained")
    delay_speed: float = option(
        default=100.0, above=0, unit="ms", help="how far a trained delay moves where a weight would by 1"
    )

    def validate(self) -> None:
        if self.learn_delays and not self.has_delays():
            raise ValueError(
                f"{type(self).__name__}.learn_delays: got true without delays; set the longest that may be "
                "learnt"
            )

        if self.shortest_forward_delay > (self.forward_delay or 0.0):
            raise ValueError(
                f"{type(self).__name__}.shortest_forward_delay: got {self.shortest_forward_delay:g} ms, "
                f"wanted at most forward_delay, which is {self.forward_delay or 'none'}; set both to one "
                "time for one delay"
            )

        if self.rewire and self.density == 1.0:
            raise ValueError(
                f"{type(self).__name__}.rewire: got true with a density of 1, at which no connection is left "
                "to draw; set a density below 1"
            )

        if self.initial_xi is not None and self.initial_rate is not None:
            raise ValueError(
                f"{type(self).__name__}: got both initial_xi and initial_rate, wanted one of the two"
            )

    def settles(self) -> bool:
        """Whether a new network's weights depend on what its neurons do on a batch."""
        return self.initial_xi is not None or super().settles()

    def settle(self, network: Network, inputs: Tensor | Constant) -> None:
        """Scale or draw a new network's weights by what happens on a batch, if that was asked for."""
        if self.initial_xi is not None:
            fluctuate(network, inputs, self.regime(self.initial_xi))
        super().settle(network, inputs)

    def regime(self, xi: float) -> Regime:
        """How membranes shall move at the start."""
        return Regime(xi=xi, mean=self.initial_mean)

    def rewiring(self) -> Rewiring | None:
        """Whether and how connections are rewired."""
        return Rewiring(self.rewire_l1, self.rewire_temperature) if self.rewire else None

    def has_delays(self) -> bool:
        """Whether any connection has a delay that may be trained."""
        return self.forward_delay is not None

    def signs(self, size: int) -> Tensor | None:
        """The signs of `size` neurons, drawn at random, or None."""
        return None if self.excitatory is None else draw_signs(self.excitatory, size)

    def input_signs(self, size: int) -> Tensor | None:
        """The signs of `size` inputs, drawn at random, or None."""
        return None if self.input_excitatory is None else draw_signs(self.input_excitatory, size)

    def connect(
        self,
        inputs: int,
        groups: Sequence[tuple[Neuron, int]],
        signs: Tensor | None,
        gain: float | None = None,
    ) -> Dense | Delayed:
        """A connection between two layers.

        Args:
            inputs: Number of neurons in the first.
            groups: Models in the second, and how many neurons of each.
            signs: The signs of the first one's neurons.
            gain: Factor on the initial weights, in place of the architecture's.
        """
        gain = self.gain if gain is None else gain
        outputs, dt = sum(len(model.inputs) * size for model, size in groups), groups[0][0].dt
        if signs is not None and any(len(model.inputs) > 1 for model, _ in groups):
            names = ", ".join(type(model).__name__ for model, _ in groups if len(model.inputs) > 1)
            raise ValueError(
                f"{type(self).__name__}: got signs (excitatory, input_excitatory) in front of neurons with "
                f"several inputs ({names}), wanted none: a connection between layers has weights of its "
                "own for each input, not shared out by sign as recurrent ones are; leave signs free, or "
                "take one hidden layer and a read-out with one input"
            )
        if self.forward_delay is None:
            return Dense(
                inputs,
                outputs,
                bias=self.bias,
                gain=gain,
                weights=self.weights,
                signs=signs,
                density=self.density,
                rewiring=self.rewiring(),
            )
        return Delayed(
            inputs,
            outputs,
            delays=(self.shortest_forward_delay, self.forward_delay),
            dt=dt,
            learn_delays=self.learn_delays,
            delay_speed=self.delay_speed,
            bias=self.bias,
            gain=gain,
            weights=self.weights,
            signs=signs,
            density=self.density,
            rewiring=self.rewiring(),
        )
