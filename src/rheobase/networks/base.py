"""What an architecture is: options, and a `build` that turns shapes and neurons into a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from rheobase.config import Config, option
from rheobase.kernels.constant import Constant
from rheobase.kernels.sequence import Backend
from rheobase.layers.initialise import match_rates
from rheobase.layers.network import Network
from rheobase.layers.neurons import Neurons
from rheobase.layers.noise import Noise
from rheobase.neurons.base import Neuron


class Architecture(Config, ABC):
    """A kind of network. Weights are drawn from torch's global generator: seed it before `build`."""

    room: ClassVar[str] = "rheobase.networks"

    train_neurons: tuple[str, ...] = option(
        default=(), help="neuron parameters to train (e.g. tau_m,threshold), one value per neuron"
    )
    checkpoint_every: int | None = option(
        default=None, at_least=1, help="keep only every so many steps for the backward pass (memory for time)"
    )
    initial_rate: float | None = option(
        default=None,
        above=0,
        unit="Hz",
        help="scale the initial weights so that hidden layers fire at this rate on the first batch",
    )
    noise: float = option(
        default=0.0, at_least=0, help="standard deviation of the noise current into hidden neurons"
    )
    noise_tau: float | None = option(
        default=None, above=0, unit="ms", help="correlation time of that noise; white noise if none"
    )
    backend: Backend = option(default="auto", help="auto, numba (fused kernels) or torch (reference)")

    def neurons(self, neuron: Neuron, size: int) -> Neurons:
        """A layer of `size` neurons with this architecture's options."""
        names = [name for name in self.train_neurons if name in neuron.parameter_names()]
        return Neurons(
            neuron,
            trainable=names,
            size=size if names else None,
            backend=self.backend,
            checkpoint_every=self.checkpoint_every,
        )

    def noisy(self, name: str, dt: float) -> dict[str, nn.Module]:
        """A noise layer of that name to stand in front of hidden neurons, or nothing."""
        return {name: Noise(self.noise, tau=self.noise_tau, dt=dt)} if self.noise else {}

    def settles(self) -> bool:
        """Whether a new network's weights depend on what its neurons do on a batch."""
        return self.initial_rate is not None

    def settle(self, network: Network, inputs: Tensor | Constant) -> None:
        """Scale a new network's weights by what its neurons do on a batch, if that was asked for."""
        if self.initial_rate is not None:
            dt = next(iter(network.neurons().values())).dt
            match_rates(network, inputs, self.initial_rate * dt / 1000.0)

    @abstractmethod
    def build(self, input_shape: tuple[int, ...], outputs: int, neuron: Neuron, readout: Neuron) -> Network:
        """The network.

        Args:
            input_shape: Shape of one sample at one time step.
            outputs: Number of read-out units.
            neuron: Model of the hidden layers.
            readout: Model of the last layer, which is called "readout".
        """
