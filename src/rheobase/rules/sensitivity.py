"""Learnt sensitivities: what a spike does to a signal later on, as an exponential of time.

    ds_i(t) / dz_j(t')  =  beta_ij exp(-gamma_j (t - t'))        for t' <= t, in steps

With noise psi added to what the neurons emit, a twin of the network departs from it by about

    d_i(t) = sum_j beta_ij Theta_j(t),    Theta_j(t) = exp(-gamma_j) Theta_j(t-1) + psi_j(t)

so that beta and gamma are found by regression of the departure on Theta: RMSProp on the squared error. It
is an online rule; here a batch takes one step with the mean over its samples and steps. The filter and its
derivative by gamma are one pass of a fused kernel forward and one backward (that of a leaky integrator, whose
membrane Theta is), and so is the filter in reversed time that turns errors into learning signals:

    L_j(t') = sum_{t >= t'} exp(-gamma_j (t - t')) sum_i beta_ij dE/ds_i(t)

Where signals add up what they get (a read-out with a long time constant), departures are a random walk, whose
values repeat each other; the regression of their increments has the same solution and much less noise.

Roth, Kanitscheider & Fiete, "Kernel RNN learning (KeRNL)", ICLR 2019 (values, not increments).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rheobase.kernels.sequence import sequence
from rheobase.neurons.leaky_integrator import LeakyIntegrator

#: Slower than this no kernel becomes: it must stay an exponential that falls.
SLOWEST = 1e-6
_KEPT = 0.99  # share of its mean square that RMSProp keeps per batch


def decayed(x: Tensor, gamma: Tensor) -> Tensor:
    """x `[T, B, N]` filtered: y(t) = exp(-gamma) y(t-1) + x(t), gamma `[N]`, differentiably.

    >>> decayed(torch.tensor([1.0, 0.0, 0.0]).reshape(3, 1, 1), torch.tensor([0.6931])).flatten()
    tensor([1.0000, 0.5000, 0.2500])
    """
    return sequence(LeakyIntegrator().bind({"tau_m": 1.0 / gamma}), x).output


@dataclass(frozen=True)
class Sensitivity:
    """The sensitivities of R signals to the N neurons of a layer, and where RMSProp is.

    Attributes:
        beta: `[R, N]`.
        gamma: Decay per step, `[N]`, above 0.
        beta_square, gamma_square: Running mean squares of their gradients.
        steps: How many steps RMSProp has taken, int64 `[]`.
    """

    beta: Tensor
    gamma: Tensor
    beta_square: Tensor
    gamma_square: Tensor
    steps: Tensor

    @classmethod
    def start(cls, beta: Tensor, gamma: Tensor) -> Sensitivity:
        """From first values of the kernels, before any step."""
        gamma = gamma.clamp(min=SLOWEST)
        zero = torch.zeros((), dtype=torch.int64)
        return cls(beta, gamma, torch.zeros_like(beta), torch.zeros_like(gamma), zero)

    def signal(self, errors: Tensor) -> Tensor:
        """The learning signals `[T, B, N]` that errors dE/ds `[T, B, R]` come to."""
        return decayed((errors @ self.beta).flip(0), self.gamma).flip(0)

    def step(self, by_beta: Tensor, by_gamma: Tensor, beta_rate: float, gamma_rate: float) -> Sensitivity:
        """One step of RMSProp down these gradients, its mean squares freed of their start at 0."""
        count = self.steps + 1
        start = float(1.0 - _KEPT**count)
        square, other = (
            _KEPT * old + (1.0 - _KEPT) * new.square()
            for old, new in ((self.beta_square, by_beta), (self.gamma_square, by_gamma))
        )
        beta = self.beta - beta_rate * _unit(by_beta, square / start)
        gamma = self.gamma - gamma_rate * _unit(by_gamma, other / start)
        return Sensitivity(beta, gamma.clamp(min=SLOWEST), square, other, count)

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, for a rule's memory."""
        return dict(vars(self))


def fitted(
    layers: Mapping[str, Sensitivity],
    noise: Mapping[str, Tensor],
    departure: Tensor,
    *,
    increments: bool,
    beta_rate: float,
    gamma_rate: float,
) -> tuple[dict[str, Sensitivity], float]:
    """The sensitivities after one step of regression, and the share of the departure that was unexplained.

    Args:
        layers: The sensitivities to each layer's neurons.
        noise: What was added to what they emitted, `[T, B, N]`.
        departure: What became of the signals, `[T, B, R]`.
        increments: Whether changes from step to step are explained, and not the values.
        beta_rate, gamma_rate: Step sizes.
    """
    betas = {name: one.beta.detach().clone().requires_grad_() for name, one in layers.items()}
    gammas = {name: one.gamma.detach().clone().requires_grad_() for name, one in layers.items()}
    explained = torch.stack([decayed(noise[n], gammas[n]) @ betas[n].t() for n in layers]).sum(0)
    wanted = departure
    if increments:
        explained, wanted = (torch.cat([x[:1], x.diff(dim=0)]) for x in (explained, wanted))
    error = (wanted - explained).square().sum(2).mean()
    found = torch.autograd.grad(error, [*betas.values(), *gammas.values()])
    after = {
        name: layers[name].step(by_beta, by_gamma, beta_rate, gamma_rate)
        for name, by_beta, by_gamma in zip(layers, found[: len(layers)], found[len(layers) :], strict=True)
    }
    power = float(wanted.square().sum(2).mean())
    return after, float(error.detach()) / power if power > 0.0 else 0.0


def _unit(gradient: Tensor, square: Tensor) -> Tensor:
    return gradient / square.sqrt().clamp(min=torch.finfo(gradient.dtype).tiny ** 0.5)
