"""The heterosynaptic regulariser of SuperSpike: it keeps a hidden layer from firing without end.

    a_ij  =  rho w_ij <zeta_i>,    zeta = z^4,    z(t) = exp(-dt / tau) z(t-1) + spikes(t)

is added to the direction that is descended, for each weight w_ij to a neuron i; the mean is over time and
samples. Where errors become rare, it goes on to pull until there are some again; a number of updates N lets
it fade out, rho (1 - n/N) at update n, and is not in the paper. Biases are not pulled.

Zenke & Ganguli, Neural Computation 30 (2018).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rheobase.kernels.linear import LinearSystem, respond
from rheobase.rules.synapses import Layer


@dataclass(frozen=True)
class Heterosynaptic:
    """Attributes:
    rho: The strength at first; 0 for none.
    tau: Time constant of the trace of spikes, in ms.
    updates: After how many the strength has faded out, linearly; it stays as it is if None.
    """

    rho: float
    tau: float
    updates: int | None = None

    def strength(self, update: int) -> float:
        """rho at this update, from 0.

        >>> [Heterosynaptic(1.0, 100.0, updates=4).strength(n) for n in (0, 1, 4, 5)]
        [1.0, 0.75, 0.0, 0.0]
        """
        return self.rho if self.updates is None else self.rho * max(0.0, 1.0 - update / self.updates)

    def activity(self, layer: Layer, spikes: Tensor, trace: Tensor | None) -> tuple[Tensor, Tensor]:
        """The mean of zeta, `[I]`, and the state of its trace after the spikes.

        Args:
            layer: The layer.
            spikes: Its spikes, `[T, B, I]`.
            trace: The state of the trace before them; none yet if None.
        """
        decay = float(torch.exp(torch.tensor(-layer.neuron.dt / self.tau, dtype=torch.float64)))
        z, after = respond(LinearSystem(((decay,),), (1.0,), (1.0,)), spikes, trace)
        return z.square().square().mean((0, 1)), after


def pull(layer: Layer, gradient: Tensor, zeta: Tensor, strength: float) -> None:
    """Add the regulariser to a direction `[I, J]`, or `[I, J + 1]` with that of the biases, in place."""
    gradient[:, : layer.inputs] += strength * layer.weight.detach() * zeta.unsqueeze(1)
