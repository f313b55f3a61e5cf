"""Fluctuation-driven initialisation: membranes that move enough to cross the threshold now and then.

A membrane with n inputs, each of mean x and variance y over time (for spikes of probability p per step,
x = p and y = p (1 - p)), and weights of mean m and mean square q, has in its stationary state

    mean       mu = v_rest + n m x E1          E1 = sum_k e_k
    variance   sigma^2 = n q y E2              E2 = sum_k e_k^2

where e_k is its response, k steps later, to a current of 1 in one step. The weights are drawn such that mu
has a chosen value and the threshold lies xi standard deviations above it, sigma = (threshold - mu) / xi:

    m = (mu - v_rest) / (n x E1),   q = sigma^2 / (n y E2),   standard deviation of the weights sqrt(q - m^2)

If several connections lead to a neuron, each brings about its share of both. For weights whose signs are
given (a share p+ of them positive, p- negative), magnitudes are half-normal, their scales

    s+ = c + sqrt((q - c^2) p-/p+),   s- = -c + sqrt((q - c^2) p+/p-),   c = m sqrt(pi/2).

J. Rossbroich, J. Gygax & F. Zenke, "Fluctuation-driven initialization for spiking neural network training",
Neuromorphic Computing and Engineering 2, 044016 (2022), whose integrals over the kernel are sums over steps
here, and whose Poisson spikes are at most one per step. The responses are had from the neurons' equations,
for LIF e_k = a^k (times the input's scale): E1 = 1/(1 - a), E2 = 1/(1 - a^2).

That is over time, on average over neurons. The means of single neurons spread about mu by x E1 / sqrt(y E2)
times sigma, as each has its own weights: where inputs fire often within a time constant, some neurons stay
silent all the same.

Not modelled: correlation of inputs, in time or among each other; spikes, resets and adaptation (mu and sigma
are those of the membrane without them).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rheobase.kernels.constant import Constant
from rheobase.kernels.sequence import Run
from rheobase.layers.connection import constraint_of, trained_weight
from rheobase.layers.network import Network
from rheobase.layers.stateful import NeuronLayer
from rheobase.neurons.spiking import SpikingNeuron

LONGEST, NEGLIGIBLE = 1_000_000, 1e-12  # steps of a response, and the share of its peak at which it has ended


class Input(NamedTuple):
    """The inputs of a neuron: how many, and mean and variance over time of each.

    >>> Input.spikes(100, rate=50.0, dt=1.0)
    Input(number=100, mean=0.05, variance=0.0475)
    """

    number: float
    mean: float
    variance: float

    @classmethod
    def spikes(cls, number: float, rate: float, dt: float) -> Input:
        """Independent spikes of `rate` Hz, at most one per step of `dt` ms."""
        p = rate * dt / 1000.0
        return cls(number, p, p * (1.0 - p))


class Weighting(NamedTuple):
    """Mean and standard deviation of weights."""

    mean: float
    std: float


def response(neuron: SpikingNeuron) -> tuple[float, float]:
    """E1 and E2, the sums of the membrane's response to a current of 1 in one step, and of its square.

    Raises:
        ValueError: If the response does not fade (no leak), is not proportional to the input (conductances),
            or differs between neurons.

    >>> from rheobase.neurons.lif import LIF
    >>> e1, e2 = response(LIF(tau_m=20.0))
    >>> a = math.exp(-1.0 / 20.0)
    >>> math.isclose(e1, 1.0 / (1.0 - a)), math.isclose(e2, 1.0 / (1.0 - a * a))
    (True, True)
    """
    if len(neuron.inputs) > 1:
        raise ValueError(
            f"fluctuations: got {type(neuron).__name__} with the inputs {', '.join(neuron.inputs)}, wanted a "
            "model with one; use initial_rate"
        )
    for name in neuron.parameter_names():
        if isinstance(getattr(neuron, name), Tensor):
            raise ValueError(f"fluctuations: got a {name} per neuron, wanted one number for the whole layer")
    rest, once, twice = neuron.rest(), neuron.rest(), neuron.rest()
    total = squares = peak = 0.0
    for step in range(LONGEST):
        current = 1.0 if step == 0 else 0.0
        rest, once, twice = (
            neuron.integrate(state, factor * current)
            for state, factor in ((rest, 0.0), (once, 1.0), (twice, 2.0))
        )
        e = float(once.v - rest.v)
        total, squares, peak = total + e, squares + e * e, max(peak, abs(e))
        if not math.isclose(float(twice.v - rest.v), 2.0 * e, rel_tol=1e-6, abs_tol=1e-6 * peak):
            raise ValueError(
                f"fluctuations: the membrane of {type(neuron).__name__} does not answer twice the input with "
                "twice the response; use initial_rate"
            )
        if peak and abs(e) <= NEGLIGIBLE * peak:
            return total, squares
    raise ValueError(
        f"fluctuations: the membrane of {type(neuron).__name__} does not return to rest, so it has no "
        "stationary state; use a model with a leak"
    )


def fluctuating(
    neuron: SpikingNeuron, inputs: Input, *, xi: float = 2.0, mean: float = 0.0, share: float = 1.0
) -> Weighting:
    """The weights of `inputs` that put `neuron` into the fluctuation-driven regime.

    Args:
        neuron: The model.
        inputs: What comes in.
        xi: Standard deviations of the membrane from its mean to the threshold.
        mean: Wanted mean of the membrane, below the threshold.
        share: The part of the membrane's mean and variance that these inputs bring about.

    Raises:
        ValueError: On inputs that do not fluctuate, a mean at or above the threshold, or one that weights of
            that spread cannot bring about.

    >>> from rheobase.neurons.lif import LIF
    >>> m, s = fluctuating(LIF(tau_m=20.0), Input.spikes(100, rate=50.0, dt=1.0), xi=2.0)
    >>> m, round(s, 3)
    (0.0, 0.071)
    """
    e1, e2 = response(neuron)
    if inputs.number <= 0 or inputs.variance <= 0.0:
        raise ValueError(
            f"fluctuations: got {inputs}, wanted inputs that vary in time; use an encoder that spikes, or "
            "initial_rate"
        )
    if mean >= neuron.threshold:
        raise ValueError(f"mean: got {mean:g}, wanted a membrane below the threshold, {neuron.threshold:g}")
    sigma = (neuron.threshold - mean) / xi
    m = share * (mean - neuron.v_rest) / (inputs.number * inputs.mean * e1) if mean != neuron.v_rest else 0.0
    square = share * sigma**2 / (inputs.number * inputs.variance * e2)
    if square < m * m:
        raise ValueError(
            f"mean: got {mean:g}, which alone makes the membrane vary more than xi={xi:g} allows; use a mean "
            f"nearer to rest ({neuron.v_rest:g}), or a smaller xi"
        )
    return Weighting(m, math.sqrt(square - m * m))


def draw(weighting: Weighting, signs: Tensor | None, shape: tuple[int, int]) -> Tensor:
    """Weights `[to, from]` of this mean and spread, drawn from torch's global generator.

    Args:
        weighting: Mean and standard deviation.
        signs: +1 or -1, as in a `Constraint`.
        shape: How many to draw.

    Raises:
        ValueError: If these signs cannot balance each other to this mean.
    """
    noise = torch.randn(shape)
    if signs is None:
        return weighting.mean + weighting.std * noise
    positive = float((signs > 0).float().mean())
    c = weighting.mean * math.sqrt(math.pi / 2.0)
    spread = math.sqrt(max(0.0, weighting.std**2 + weighting.mean**2 - c**2))
    ratio = math.sqrt((1.0 - positive) / positive) if 0.0 < positive < 1.0 else math.nan
    excite, inhibit = c + spread * ratio, -c + spread / ratio
    if not (spread > 0.0 and excite >= 0.0 and inhibit >= 0.0):
        raise ValueError(
            f"fluctuations: got {positive:.0%} positive signs, wanted such as can balance to weights of mean "
            f"{weighting.mean:g} and spread {weighting.std:g}; use another share, or a mean nearer to rest"
        )
    return noise.abs() * torch.where(signs > 0, excite, -inhibit)


class Regime(NamedTuple):
    """How membranes shall move at the start.

    Attributes:
        xi: Standard deviations from a membrane's mean to the threshold.
        mean: Mean of the membranes.
        recurrent_share: The part of mean and variance that recurrent connections bring about.
        recurrent_rate: The firing rate in Hz that is assumed for that.

    >>> Regime(xi=1.5).xi
    1.5
    """

    xi: float = 2.0
    mean: float = 0.0
    recurrent_share: float = 0.1
    recurrent_rate: float = 20.0


@torch.no_grad()
def fluctuate(network: Network, inputs: Tensor | Constant, regime: Regime) -> None:
    """Draw the weights in front of and within each spiking layer but the last for the `regime`; no biases.

    Layer by layer, mean and variance of what comes in are those on a batch. Weights are drawn from torch's
    global generator; which exist and which signs they have stays.

    Args:
        network: The network; its weights and biases are changed in place.
        inputs: A batch `[T, B, ...]`.
        regime: What to bring about.

    Raises:
        ValueError: If inputs do not vary in time, the regime cannot be brought about, or there is no dense
            connection in front of a layer.

    >>> from rheobase.layers.dense import Dense
    >>> from rheobase.layers.neurons import Neurons
    >>> from rheobase.neurons.lif import LIF
    >>> _ = torch.manual_seed(0)
    >>> net = Network(dense=Dense(100, 50), hidden=Neurons(LIF()), readout=Neurons(LIF()))
    >>> fluctuate(net, (torch.rand(200, 4, 100) < 0.05).float(), Regime(xi=2.0))
    >>> round(net.layers["dense"].weight.std().item(), 2)
    0.07
    """
    mode = network.training
    network.eval()
    x: Tensor | Constant = inputs
    connection: tuple[nn.Module, Tensor | Constant] | None = None  # the last one, and what goes into it
    for name, layer in network.layers.items():
        if isinstance(layer, NeuronLayer):
            if layer.spiking and name != network.last:
                _settle(name, layer, connection, regime)
            connection = None
        elif trained_weight(layer) is not None:
            connection = (layer, x)
        result = layer(x)
        x = result.output if isinstance(result, Run) else result
    network.train(mode)


def _settle(
    name: str, layer: NeuronLayer, connection: tuple[nn.Module, Tensor | Constant] | None, regime: Regime
) -> None:
    if connection is None:
        raise ValueError(f"fluctuations: got no dense connection in front of '{name}'; use initial_rate")
    share = regime.recurrent_share if trained_weight(layer) is not None else 0.0
    module, x = connection
    x = (x.expand() if isinstance(x, Constant) else x).flatten(2)
    mean, variance = float(x.mean()), float(x.var(0, unbiased=False).mean())
    _redraw(module, layer, mean, variance, 1.0 - share, regime)
    bias = getattr(module, "bias", None)
    if isinstance(bias, Tensor):
        bias.zero_()
    if share:
        _, mean, variance = Input.spikes(1, regime.recurrent_rate, layer.dt)
        _redraw(layer, layer, mean, variance, share, regime)


def _redraw(
    module: nn.Module, layer: NeuronLayer, mean: float, variance: float, share: float, regime: Regime
) -> None:
    """Draw the weights of `module`, which leads to the neurons of `layer`."""
    weight, constraint = trained_weight(module), constraint_of(module)
    assert weight is not None
    mask = None if constraint is None else constraint.mask
    signs = None if constraint is None else constraint.signs
    for neuron, rows in layer.models():
        if not isinstance(neuron, SpikingNeuron):
            raise ValueError(f"fluctuations: got {type(neuron).__name__}, wanted neurons with a threshold")
        part = weight[rows]
        number = part.shape[1] if mask is None else float(mask[rows].sum()) / len(part)
        own = signs if signs is None or signs.dim() == 1 else signs[rows]
        weighting = fluctuating(
            neuron, Input(number, mean, variance), xi=regime.xi, mean=regime.mean, share=share
        )
        part.copy_(draw(weighting, own, (part.shape[0], part.shape[1])))
    if mask is not None:
        weight.mul_(mask)
