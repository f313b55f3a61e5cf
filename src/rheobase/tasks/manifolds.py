"""Smooth random manifolds, and spike times on them (Randman): as in the authors' torch version.

A manifold of dimension D in E dimensions, for coordinates x in [0, 1]^D:

    y_e(x) = prod_d sum_i a_edi s_i sin(2 pi (i x_d b_edi + c_edi)),    s_i = 1 / ((i + 1)^alpha + 1)

a, b, c uniform in [0, 1), but a_ed0 = 0; i = 0 ... F - 1, F = min(ceil(1000^(1 / alpha)), 1000). The larger
alpha, the smoother. To make spikes, each class has a manifold for each spike that a unit fires; the E
values of a sample are scaled to [0, 1) by the least and largest of the class,

    t = (y - min) / (max - min + 1e-7)

and are times, as a share of the span in which spikes fall.

The numbers of a data set are those that the published code draws for the same seed (NumPy's legacy
generator, and torch's for each manifold), from generators of our own: the published code sets the global
ones. Values are computed in float64. In float32, as published, the scale can round to 1, a time step that
there is not.

Zenke & Vogels, "The remarkable robustness of surrogate gradient learning for instilling complex function in
spiking neural networks", Neural Computation 33 (2021), https://doi.org/10.1162/neco_a_01367;
https://github.com/fzenke/randman. Not modelled: its NumPy version, whose s_i is 1 / (i + 1)^alpha; its
option of a bias.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_LARGEST_FREQUENCY, _PRECISION, _EPSILON = 1000, 1e-3, 1e-7


@dataclass(frozen=True)
class Manifold:
    """A smooth random map from [0, 1]^D to E values.

    >>> manifold = Manifold.draw(embedding=5, dim=2, alpha=2.0, seed=0)
    >>> manifold(torch.rand(7, 2, generator=torch.Generator())).shape
    torch.Size([7, 5])
    """

    parameters: Tensor  # a, b, c: shape [E, D, 3, F]
    alpha: float

    @classmethod
    def draw(cls, embedding: int, dim: int, alpha: float, seed: int) -> Manifold:
        """The manifold of a seed."""
        frequencies = min(math.ceil(_PRECISION ** (-1 / alpha)), _LARGEST_FREQUENCY)
        source = torch.Generator().manual_seed(seed)
        parameters = torch.rand(embedding, dim, 3, frequencies, generator=source)
        parameters[:, :, 0, 0] = 0
        return cls(parameters, alpha)

    def __call__(self, x: Tensor) -> Tensor:
        """The values, float64 `[N, E]`, at coordinates `[N, D]`."""
        amplitude, frequency, phase = self.parameters.double().unbind(2)  # shape: [E, D, F]
        places = x.double().unsqueeze(1)  # shape: [N, 1, D]
        total = torch.zeros(len(x), *amplitude.shape[:2], dtype=torch.float64)
        for i in range(amplitude.shape[2]):
            weight = amplitude[:, :, i] / ((i + 1) ** self.alpha + 1)
            turns = i * places * frequency[:, :, i] + phase[:, :, i]
            total.addcmul_(weight, torch.sin(2 * math.pi * turns))
        return total.prod(2)


@dataclass(frozen=True)
class ManifoldSpikes:
    """Samples on the manifolds of several classes, in random order.

    Attributes:
        times: As shares of the span, float64 `[N, spikes, units]` in [0, 1).
        labels: Classes, int64 `[N]`.
        coordinates: On the manifold, float64 `[N, dim]`.
    """

    times: Tensor
    labels: Tensor
    coordinates: Tensor

    @classmethod
    def draw(
        cls, *, classes: int, units: int, dim: int, spikes: int, samples: int, alpha: float, seed: int
    ) -> ManifoldSpikes:
        """The data set of a seed: `samples` for each of `classes` (see the module)."""
        source = np.random.RandomState(seed)
        seeds = source.randint(np.iinfo(np.int64).max, size=(classes, spikes), dtype=np.int64)
        times, coordinates = [], []
        for row in seeds:
            x = torch.from_numpy(source.rand(samples, dim))
            y = torch.stack([Manifold.draw(units, dim, alpha, int(s))(x.float()) for s in row], 1)
            low, high = y.aminmax(dim=0)
            times.append((y - low) / (high - low + _EPSILON))
            coordinates.append(x)
        order = np.arange(classes * samples)
        source.shuffle(order)
        chosen = torch.from_numpy(order)
        labels = torch.arange(classes).repeat_interleave(samples)
        return cls(torch.cat(times)[chosen], labels[chosen], torch.cat(coordinates)[chosen])
