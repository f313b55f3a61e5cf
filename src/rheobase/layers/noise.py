"""Injected noise: a random current, added to what goes into neurons.

    white                 I'[t] = I[t] + std xi[t]
    Ornstein-Uhlenbeck    I'[t] = I[t] + u[t],  u[t] = rho u[t-1] + std sqrt(1 - rho^2) xi[t],
                          rho = exp(-dt/tau), u[0] = std xi[0]

with xi independent standard normal numbers. Of either, std is the standard deviation at any one time step;
only with a time constant does what a membrane makes of it not depend on the length of a step.

The numbers are a pure function of the layer's key, the sample's place in the batch, the neuron and the time
step (a counter-based generator: Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3",
SC 2011; Box & Muller's transform). So they do not depend on back-end, device, number of threads, batch size,
or on where a sequence is cut. A layer gives the same noise at each call until it gets another key
(`renew_noise`), from a generator that the caller holds: rules that run a network several times on a batch
need that, and training and evaluation renew the keys for each batch.

Not modelled: noise that neurons share, noise that depends on the input (see the encoders) or on the state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from rheobase.kernels.constant import Constant
from rheobase.kernels.sequence import Run
from rheobase.layers.stateful import Stateful
from rheobase.registry import unknown

STEP, LAST = "step", "noise"  # state: time steps gone by, int64 []; u of the last one, `[B, ...]`


class Keyed(nn.Module):
    """What draws random numbers that are the same at each call until it gets another key (`renew_noise`).

    Attributes:
        key: The seed of its numbers, any whole number.
        place: That of the first sample, where a batch is the part of a larger one.
    """

    key: int
    place: int = 0


class Noise(Stateful, Keyed):
    """Adds Gaussian noise; in training and in evaluation alike, as it belongs to the model.

    Args:
        std: Standard deviation of the current at each time step, at least 0.
        tau: Correlation time in ms (Ornstein-Uhlenbeck); None for noise that is independent at each step.
        dt: Duration of a time step in ms.
        seed: What the key is before the first `renew_noise`.

    Shape: `[T, B, ...] -> [T, B, ...]`. State: "step", and with `tau`, "noise".

    Raises:
        ValueError: On an std or a tau that is out of range or not finite, or a state that does not fit.

    >>> noise = Noise(0.5, seed=3)
    >>> x = torch.zeros(200, 2, 100)
    >>> round(noise(x).output.std().item(), 1), torch.equal(noise(x).output, noise(x).output)
    (0.5, True)
    """

    def __init__(self, std: float, *, tau: float | None = None, dt: float = 1.0, seed: int = 0) -> None:
        super().__init__()
        if not (math.isfinite(std) and std >= 0.0):
            raise ValueError(f"Noise.std: got {std}, wanted a finite number, at least 0")
        if tau is not None and not (math.isfinite(tau) and tau > 0.0):
            raise ValueError(f"Noise.tau: got {tau} ms, wanted a finite number above 0 ms, or None")
        if not (math.isfinite(dt) and dt > 0.0):
            raise ValueError(f"Noise.dt: got {dt} ms, wanted a finite number above 0 ms")
        self.std, self.tau, self.dt = float(std), tau, dt
        self.key = seed

    @property
    def states(self) -> tuple[str, ...]:
        """None that can be recorded."""
        return ()

    def forward(
        self, x: Tensor | Constant, state: Mapping[str, Tensor] | None = None, record: Sequence[str] = ()
    ) -> Run:
        """The input with noise at each time step, from the first step on, or from where `state` is."""
        for name in record:
            raise ValueError(unknown("state variable", name, self.states))
        current = x.expand() if isinstance(x, Constant) else x
        steps, batch, *shape = current.shape
        done, last = self._start(current, state)
        after = {STEP: torch.tensor(done + steps)}
        work = np.float64 if current.dtype is torch.float64 else np.float32
        drawn = standard_normal(self.key, done, self.place, (steps, batch, math.prod(shape)), work)
        if self.tau is None:
            drawn *= self.std
        else:
            _correlate(drawn, last, self.std, self.dt / self.tau)
        added = torch.from_numpy(drawn).reshape(current.shape).to(current.device, current.dtype)
        if self.tau is not None:
            after[LAST] = added[-1]
        return Run(current + added, after, {})

    def _start(
        self, x: Tensor, state: Mapping[str, Tensor] | None
    ) -> tuple[int, npt.NDArray[np.floating[Any]] | None]:
        """Steps gone by, and the last noise `[B, N]`."""
        if state is None:
            return 0, None
        wanted = [LAST, STEP] if self.tau is not None else [STEP]
        if sorted(state) != wanted:
            raise ValueError(f"state: got the variables {sorted(state)}, wanted {wanted}")
        if self.tau is None:
            return int(state[STEP]), None
        if state[LAST].shape != x.shape[1:]:
            raise ValueError(
                f"state '{LAST}': got shape {tuple(state[LAST].shape)}, wanted {tuple(x.shape[1:])}"
            )
        last = state[LAST].detach().cpu().reshape(x.shape[1], -1)
        return int(state[STEP]), (last if last.dtype is torch.float64 else last.float()).numpy()

    def extra_repr(self) -> str:
        return f"std={self.std:g}" + ("" if self.tau is None else f", tau={self.tau:g} ms")


def renew_noise(network: nn.Module, generator: torch.Generator, place: int = 0) -> None:
    """Give each source of noise in `network` a new key, drawn from `generator` (untouched if there is none).

    `place` is that of the next batch's first sample, where that is the part of a larger batch.

    >>> noise = Noise(1.0)
    >>> renew_noise(noise, torch.Generator().manual_seed(0))
    >>> noise.key == 0
    False
    """
    for module in network.modules():
        if isinstance(module, Keyed):
            module.key = int(torch.randint(2**63 - 1, (), generator=generator))
            module.place = place


def standard_normal(
    key: int, first: int, place: int, shape: tuple[int, int, int], dtype: type[np.floating[Any]]
) -> npt.NDArray[np.floating[Any]]:
    """Standard normal numbers `[T, B, N]` for the time steps from `first` and the samples from `place` on."""
    steps, batch, size = shape
    pairs = -(-size // 2)
    blocks = -(-pairs // 4)  # the generator counts in blocks of four 64-bit numbers
    out = np.empty(shape, dtype)
    for sample in range(batch):
        source = np.random.Philox(key=[key % 2**64, place + sample], counter=[first * blocks, 0, 0, 0])
        raw = source.random_raw(steps * blocks * 4).reshape(steps, blocks * 4)[:, :pairs]
        radius = np.sqrt(-2.0 * np.log(((raw >> np.uint64(32)) + 0.5) * 2.0**-32))
        angle = (raw & np.uint64(2**32 - 1)) * (2.0 * math.pi * 2.0**-32)
        out[:, sample, :pairs] = radius * np.cos(angle)
        out[:, sample, pairs:] = (radius * np.sin(angle))[:, : size - pairs]
    return out


def _correlate(
    xi: npt.NDArray[np.floating[Any]], last: npt.NDArray[np.floating[Any]] | None, std: float, elapsed: float
) -> None:
    """Independent numbers into an Ornstein-Uhlenbeck process, in place; `elapsed` is dt / tau."""
    number = xi.dtype.type
    decay, share = number(math.exp(-elapsed)), number(std * math.sqrt(-math.expm1(-2.0 * elapsed)))
    if last is None:
        xi[0] *= number(std)
    else:
        xi[0] = decay * last + share * xi[0]
    for t in range(1, len(xi)):
        xi[t] = decay * xi[t - 1] + share * xi[t]
