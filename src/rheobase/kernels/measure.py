"""How fast a neuron's fused kernel is beside its step-by-step reference, on this machine.

Both run the same random currents `[T, B, N]` forward and backward. What they emit, and the gradient
of the current, is compared before anything is timed: a fast wrong kernel is an error, not a result.
One update is one neuron of one sample over one time step, forward and backward.

Not measured: connections, losses, memory. Times are medians over the repeats.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rheobase.kernels.cache import Kernel
from rheobase.kernels.sequence import sequence
from rheobase.neurons.base import Neuron
from rheobase.registry import name_of

#: Both round alike except in the last bits of transcendental functions, which may move a spike.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Measurement:
    """One neuron, measured.

    Attributes:
        neuron: Registry name of the model.
        kernel_ms, reference_ms: Forward and backward over the whole sequence.
        updates: T * B * N.
        differing: Share of emitted values in which the two differ, at most `TOLERANCE`.
        compile_seconds: Spent compiling before the kernel's first run; 0 if it was cached.
    """

    neuron: str
    kernel_ms: float
    reference_ms: float
    updates: int
    differing: float
    compile_seconds: float

    @property
    def updates_per_second(self) -> float:
        """Updates per second of the kernel."""
        return self.updates / (self.kernel_ms / 1000)

    @property
    def speed_up(self) -> float:
        """How many times faster the kernel is."""
        return self.reference_ms / self.kernel_ms


def measure(
    neuron: Neuron, *, steps: int = 100, batch: int = 32, size: int = 256, repeats: int = 5, seed: int = 0
) -> Measurement:
    """Measure a neuron on `[steps, batch, size]` float32 currents.

    Raises:
        ValueError: If a size is below 1, or the kernel disagrees with the reference.
        TraceError: If there is no kernel because the equations cannot be traced.

    >>> from rheobase.neurons.lif import LIF
    >>> measure(LIF(), steps=5, batch=2, size=3, repeats=1).updates
    30
    """
    sizes = {"steps": steps, "batch": batch, "size": size, "repeats": repeats}
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name}: got {value}, wanted at least 1")
    generator = torch.Generator().manual_seed(seed)
    # Strong enough that neurons fire, weak enough that they do not fire all the time.
    current = torch.rand(steps, batch, size * len(neuron.inputs), generator=generator)
    pull = torch.randn(steps, batch, size, generator=generator)
    before = Kernel.seconds
    fused = _pass(neuron, current, pull, "numba")
    compiling = Kernel.seconds - before
    differing = _differing(neuron, fused, _pass(neuron, current, pull, "torch"))
    return Measurement(
        neuron=name_of(type(neuron)),
        kernel_ms=_milliseconds(neuron, current, pull, "numba", repeats),
        reference_ms=_milliseconds(neuron, current, pull, "torch", repeats),
        updates=steps * batch * size,
        differing=differing,
        compile_seconds=compiling,
    )


def _pass(
    neuron: Neuron, current: Tensor, pull: Tensor, backend: Literal["numba", "torch"]
) -> tuple[Tensor, Tensor]:
    """What is emitted, and the gradient of the current of a loss whose derivative is `pull`."""
    leaf = current.clone().requires_grad_()
    emitted = sequence(neuron, leaf, backend=backend).output
    (gradient,) = torch.autograd.grad(emitted, leaf, pull)
    return emitted.detach(), gradient


def _differing(neuron: Neuron, fused: tuple[Tensor, Tensor], reference: tuple[Tensor, Tensor]) -> float:
    shares = [
        1.0 - torch.isclose(a, b, rtol=1e-3, atol=1e-4).double().mean().item()
        for a, b in zip(fused, reference, strict=True)
    ]
    # A spike moved by rounding changes the gradient of all earlier steps of its neuron: more is allowed.
    if shares[0] > TOLERANCE or shares[1] > 100 * TOLERANCE:
        emitted, gradient = (f"{100 * share:.3g} %" for share in shares)
        raise ValueError(
            f"{type(neuron).__name__}: the kernel and the reference differ in {emitted} of what is emitted "
            f"and {gradient} of the gradient, wanted them alike; the kernel is wrong, use backend='torch'"
        )
    return shares[0]


def _milliseconds(
    neuron: Neuron, current: Tensor, pull: Tensor, backend: Literal["numba", "torch"], repeats: int
) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        _pass(neuron, current, pull, backend)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)
