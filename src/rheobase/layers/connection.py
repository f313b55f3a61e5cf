"""Weights of connections: how they are drawn, which exist, and which sign they may have.

`make_weight` gives a module its `weight` [to, from], the same way for dense, delayed and recurrent
connections. Without constraints it is a plain parameter. With signs or absent connections it is
parametrised (`torch.nn.utils.parametrize`): the trained values are `parametrizations.weight.original`, and
`weight` is what they come to,

    weight = mask * P(original),   P: the nearest weight of the presynaptic neuron's sign, or 0

Dale's law: all that leaves a neuron has its sign. P is a projection (see `projection`), so no weight ever
crosses zero, whichever optimizer steps, and one at zero can grow again. Signs and mask are buffers.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from rheobase.layers.projection import projected

Weights = Literal["uniform", "normal"]
#: +1 or -1 per presynaptic neuron, or the share of those with +1, drawn at random.
Signs = Tensor | Sequence[int] | float


class Rewiring(NamedTuple):
    """That connections are rewired in training: see `rheobase.layers.rewire`.

    Attributes:
        l1: How strongly connections are drawn towards zero, in units of the gradient.
        temperature: Variance of the noise on their strength, per step and learning rate, over 2.

    >>> Rewiring(l1=0.1)
    Rewiring(l1=0.1, temperature=0.0)
    """

    l1: float = 0.01
    temperature: float = 0.0


class Constraint(nn.Module):
    """The parametrisation of a constrained `weight` [to, from].

    Args:
        signs: +1 or -1 per presynaptic neuron, `[from]`, or per connection, `[to, from]`, or None.
        mask: Which connections exist, bool `[to, from]`, or None for all.
        self_connections: Whether those of a neuron with itself may exist.
        rewiring: Whether and how the mask changes in training.
    """

    signs: Tensor | None
    mask: Tensor | None

    def __init__(
        self,
        signs: Tensor | None,
        mask: Tensor | None,
        *,
        self_connections: bool = True,
        rewiring: Rewiring | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("signs", signs)
        self.register_buffer("mask", mask)
        self.self_connections = self_connections
        self.rewiring = rewiring

    def forward(self, original: Tensor) -> Tensor:
        """The weights that the trained values come to."""
        weight = self.signed(original)
        return weight if self.mask is None else weight * self.mask

    def signed(self, original: Tensor) -> Tensor:
        """The trained values, each with its sign or zero."""
        if self.signs is None:
            return original
        zero = torch.zeros_like(self.signs)
        low = torch.where(self.signs > 0, zero, -torch.inf)
        high = torch.where(self.signs < 0, zero, torch.inf)
        return projected(original, low, high)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The trained values that stand for `weight`, which must keep the constraints."""
        return weight

    def possible(self) -> Tensor:
        """Which connections may exist, bool `[to, from]`."""
        assert self.mask is not None
        return _possible(self.mask.shape, self.self_connections).to(self.mask.device)


def make_weight(
    module: nn.Module,
    outputs: int,
    inputs: int,
    *,
    gain: float = 1.0,
    weights: Weights = "uniform",
    signs: Signs | None = None,
    density: float = 1.0,
    self_connections: bool = True,
    rewiring: Rewiring | None = None,
    balanced: bool = False,
    sole: bool = True,
) -> None:
    """Give `module` its `weight` `[outputs, inputs]`, drawn from torch's global generator.

    With n = density * inputs connections per neuron, initial weights are uniform in +-gain/sqrt(n), or normal
    with a standard deviation of gain/sqrt(n); signs, if given, replace their own.

    Args:
        module: The layer.
        outputs, inputs: Number of postsynaptic and of presynaptic units.
        gain, weights: Scale and distribution of the initial weights.
        signs: See `Signs`; None leaves signs free.
        density: Share of all possible connections that exist, drawn at random.
        self_connections: Whether unit i may connect to unit i.
        rewiring: Whether and how connections are rewired in training.
        balanced: Whether initial weights of the rarer sign are larger by so much that both signs cancel on
            average.
        sole: Whether this is all the input that the units get: then it warns of units without any.

    Raises:
        ValueError: On a density that leaves no connection, on rewiring without gaps, or on signs that are not
            one +1 or -1 per input.
    """
    spread = gain / math.sqrt(max(1.0, density * inputs))
    weight = torch.empty(outputs, inputs)
    if weights == "normal":
        weight.normal_(0.0, spread)
    else:
        weight.uniform_(-spread, spread)
    chosen = None if signs is None else _signs(signs, inputs).to(weight.dtype)
    mask = _thinned(_possible(weight.shape, self_connections), density)
    if chosen is not None:
        weight = weight.abs() * (_balance(chosen) if balanced else chosen)
    if rewiring is not None:
        if density == 1.0:
            raise ValueError(
                "rewiring: got a density of 1, at which all connections exist; use a lower density"
            )
        chosen = torch.where(weight < 0, -1.0, 1.0) if chosen is None else chosen
    elif sole:
        _warn_unreached(mask, density)
    gaps = not bool(mask.all())
    constrained = chosen is not None or gaps
    module.register_parameter("weight", nn.Parameter(weight * mask if constrained else weight))
    if constrained:
        constraint = Constraint(
            chosen, mask if gaps else None, self_connections=self_connections, rewiring=rewiring
        )
        parametrize.register_parametrization(module, "weight", constraint)


def trained_weight(module: nn.Module) -> Tensor | None:
    """The parameter behind the `weight` of a connection, or None for what has no such weight."""
    chain = _chain(module)
    if chain is not None:
        original: Tensor = chain.original
        return original
    weight = getattr(module, "weight", None)
    return weight if isinstance(weight, nn.Parameter) else None


def masked_weight(module: nn.Module) -> tuple[Tensor, Tensor | None]:
    """The `weight` of a connection, and which of its entries count as they are, the others as zeros.

    So a kernel can leave out what does not exist, where a product with the mask would take longer. None where
    all count.
    """
    chain = _chain(module)
    if chain is not None and len(chain) == 1:
        constraint = next(iter(chain))
        if isinstance(constraint, Constraint) and constraint.mask is not None:
            return constraint.signed(chain.original), constraint.mask
    weight: Tensor = module.weight  # type: ignore[assignment]
    return weight, None


def constraint_of(module: nn.Module) -> Constraint | None:
    """The constraint on the `weight` of a connection, if there is one."""
    first = next(iter(_chain(module) or ()), None)
    return first if isinstance(first, Constraint) else None


def _chain(module: nn.Module) -> Any:
    """The parametrization of a module's `weight`, or None.

    `is_parametrized` asks for an attribute that most modules do not have, which takes torch several
    microseconds to say; a connection is asked in every call.
    """
    chains = module._modules.get("parametrizations")
    return chains["weight"] if isinstance(chains, nn.ModuleDict) and "weight" in chains else None


def count_parameters(module: nn.Module) -> int:
    """The number of parameters, of sparse connections those that exist.

    >>> count_parameters(nn.Linear(3, 2))
    8
    """
    absent = sum(
        int((~constraint.mask).sum())
        for constraint in module.modules()
        if isinstance(constraint, Constraint) and constraint.mask is not None
    )
    return sum(p.numel() for p in module.parameters()) - absent


def draw_signs(excitatory: float, size: int) -> Tensor:
    """+1 for a share of `size` neurons, -1 for the others: int64 `[size]`, from torch's global generator.

    >>> int(draw_signs(0.8, 10).sum())
    6
    """
    if not 0.0 <= excitatory <= 1.0:
        raise ValueError(f"signs: got a share of {excitatory} excitatory neurons, wanted 0 to 1")
    return torch.where(torch.randperm(size) < round(excitatory * size), 1, -1)


def _signs(signs: Signs, inputs: int) -> Tensor:
    if isinstance(signs, (int, float)):
        return draw_signs(signs, inputs)
    values = torch.as_tensor(signs)
    if tuple(values.shape) != (inputs,):
        raise ValueError(
            f"signs: got shape {tuple(values.shape)}, wanted one sign per presynaptic neuron, ({inputs},)"
        )
    if not bool((values.abs() == 1).all()):
        raise ValueError(f"signs: got the values {sorted(set(values.tolist()))}, wanted +1 and -1 only")
    return values


def _balance(signs: Tensor) -> Tensor:
    """Signs times factors of mean 1 with which they cancel, or as they are where there is only one.

    >>> _balance(torch.tensor([1.0, -1.0, 1.0, 1.0]))[1].item()
    -2.0
    """
    up = float((signs > 0).float().mean())
    if up in (0.0, 1.0):
        return signs
    return torch.where(signs > 0, 0.5 / up, -0.5 / (1.0 - up)).to(signs.dtype)


def _possible(shape: torch.Size, self_connections: bool) -> Tensor:
    possible = torch.ones(shape, dtype=torch.bool)
    return possible if self_connections else possible.fill_diagonal_(False)


def _thinned(possible: Tensor, density: float) -> Tensor:
    """`density` of the possible connections, drawn at random."""
    if not 0.0 < density <= 1.0:
        raise ValueError(f"density: got {density}, wanted a share of connections above 0, at most 1")
    if density == 1.0:
        return possible
    places = possible.flatten().nonzero().flatten()
    number = round(density * len(places))
    if number == 0:
        raise ValueError(
            f"density: got {density}, which leaves none of {len(places)} connections; use a larger one"
        )
    mask = torch.zeros(possible.numel(), dtype=torch.bool)
    mask[places[torch.randperm(len(places))[:number]]] = True
    return mask.reshape(possible.shape)


def _warn_unreached(mask: Tensor, density: float) -> None:
    number = int((~mask.any(1)).sum())
    if number:
        warnings.warn(
            f"density {density:g}: {number} of {len(mask)} neurons have no input connection; raise the "
            "density, or let connections be rewired",
            stacklevel=4,
        )


def plain_name(parameter: str) -> str:
    """A parameter's name without what its constraints add.

    >>> plain_name("layers.dense1.parametrizations.weight.original")
    'layers.dense1.weight'
    """
    return parameter.replace("parametrizations.weight.original", "weight")
