"""Values as the time of one spike: t = tau ln(x / (x - threshold)) or tau (1 - x), t and tau in ms."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from rheobase.coding.encoders.base import Encoder
from rheobase.config import option
from rheobase.kernels.workspace import zeros


class Latency(Encoder):
    """At most one spike for each value: the larger, the earlier. Values up to `threshold` stay silent.

    `charging`: t = tau ln(x / (x - threshold)), the time in which a leaky integrator with time constant tau,
    driven by x, reaches the threshold. `linear`: t = tau (1 - x). The spike falls in step floor(t / dt); a
    time at or after the end, `steps` x dt, gives no spike.

    Source: SpyTorch tutorial 2 (charging; tau 20 ms, threshold 0.2, 100 steps),
    https://github.com/fzenke/spytorch; snnTorch `spikegen.latency` (linear).

    >>> Latency(steps=30).encode(torch.tensor([[1.0, 0.3, 0.2]])).argmax(0)  # 0.2 is silent
    tensor([[ 4, 21,  0]])
    """

    steps: int = option(default=100, unit="steps", at_least=1, help="time steps in which a spike can fall")
    tau: float = option(default=20.0, unit="ms", above=0, help="time constant of the latency")
    threshold: float = option(default=0.2, at_least=0, help="values up to this one give no spike")
    dt: float = option(default=1.0, unit="ms", above=0, help="duration of a time step")
    curve: Literal["charging", "linear"] = option(
        default="charging", help="how the time depends on the value"
    )

    def validate(self) -> None:
        if self.threshold >= 1:
            raise ValueError(
                f"Latency.threshold: got {self.threshold:g}, wanted below 1, or no value ever spikes"
            )
        if self.threshold == 0 and self.curve == "charging":
            raise ValueError(
                "Latency.threshold: got 0 with curve 'charging', where every time is then 0 ms; wanted "
                "above 0, or curve 'linear'"
            )

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.steps, *input_shape)

    def _encode(self, values: Tensor, generator: torch.Generator | None) -> Tensor:
        fires = values > self.threshold
        x = torch.where(fires, values, 1.0)  # keeps the logarithm finite where there is no spike
        charging = self.curve == "charging"
        times = self.tau * (torch.log(x / (x - self.threshold)) if charging else 1.0 - x)  # ms
        index = (times / self.dt).clamp(max=self.steps).long()  # truncates; `steps` means too late
        on = fires & (index < self.steps)
        spikes = zeros((self.steps, *values.shape), values.dtype, values.device)
        return spikes.scatter_(
            0, index.clamp(max=self.steps - 1).unsqueeze(0), on.to(values.dtype).unsqueeze(0)
        )
