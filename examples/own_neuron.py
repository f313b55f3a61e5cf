"""A neuron model of your own: from its equations to fused kernels and a trained parameter."""

from typing import Any

import torch

import rheobase as rb
from rheobase.operators import exp


class Adaptive(rb.SpikingNeuron):
    """A neuron that tires: each spike adds to a current w that works against the input."""

    tau_m: Any = rb.parameter(default=20.0, unit="ms", above=0, help="membrane time constant")
    tau_w: Any = rb.parameter(default=100.0, unit="ms", above=0, help="time constant of adaptation")
    jump: Any = rb.parameter(default=0.02, at_least=0, help="what a spike adds to w")

    def rest(self) -> rb.State:
        return rb.State(v=0.0, w=0.0)

    def integrate(self, state: rb.State, current: Any) -> rb.State:
        v = exp(-self.dt / self.tau_m) * state.v + current - state.w
        return rb.State(v=v, w=exp(-self.dt / self.tau_w) * state.w)

    def settle(self, state: rb.State, z: Any) -> rb.State:
        return super().settle(state, z).replace(w=state.w + self.jump * z)


def main(updates: int = 60) -> list[int]:
    """Learn the threshold that gives 10 spikes in 200 ms; return the spikes at each update."""
    layer = rb.Neurons(Adaptive(), trainable=["threshold"])
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    counts = []
    for _ in range(updates):
        spikes = layer(torch.full((200, 1, 1), 0.1)).output.sum()  # input [T, B, N], steps of 1 ms
        counts.append(int(spikes))
        optimizer.zero_grad()
        (spikes - 10.0).square().backward()
        optimizer.step()
    return counts


if __name__ == "__main__":
    print(main())
    print(rb.kernel_source(Adaptive()))
