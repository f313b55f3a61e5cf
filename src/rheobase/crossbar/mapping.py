"""How weights are kept as conductances: which cells stand for a weight, and what they come to.

Cells are `[planes, columns, inputs]`: each plane holds one cell per connection, column j of it belongs to
output j, and rows of the array are inputs. With normalised conductances g (0 and 1 are the ends of the
device's range) and the largest weight W:

    differential_pair   w = W (g0 - g1)              two cells per weight, of either sign
    offset              w = W (2 g - 1)              one cell; the middle is subtracted digitally
    reference_column    w = 2 W (g - g_ref)          one cell; g_ref is a column of real cells
    one_signed          w = s W g                    one cell; s is the presynaptic sign (Dale); the current
                                                     of g = 0 is subtracted digitally
    bit_sliced          w = W sum_k c_k (g0_k - g1_k)    a pair per slice of `bits` bits,
                        c_k = B^(K-1-k) (B - 1) / (B^K - 1), B = 2^bits

`encode` gives the conductances that stand for a weight, `decode` the weight of any conductances (it is linear
in them), and `spread` the smallest change of conductances that changes the weight by so much: decode(g +
spread(dw)) = decode(g) + dw, as long as no cell is at its bounds.

Weights beyond W are kept as W. Not modelled: error-correcting codes, mappings that depend on the data. The
reference column is one for all of an array's tiles; with wires it sits in the last of them.

Differential pairs and reference columns: Burr et al., IEEE Trans. Electron Devices 62 (2015); bit slicing:
Shafiee et al., "ISAAC", ISCA 2016.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor, cat, div, neg, stack, zeros_like

from rheobase.config import Config, option


class WeightMapping(Config, ABC):
    """Which cells stand for a weight `[outputs, inputs]`.

    `largest` is W everywhere, and `signs` are +1 or -1 per input, `[inputs]`, or per connection `[outputs,
    inputs]`, where connections have signs, else None.
    """

    room: ClassVar[str] = "rheobase.crossbar.mapping"
    wants_signs: ClassVar[bool] = False

    @property
    def planes(self) -> int:
        """Cells per connection."""
        return 1

    def shape(self, outputs: int, inputs: int) -> tuple[int, int, int]:
        """Planes, columns and inputs of the cells."""
        return (self.planes, outputs, inputs)

    @abstractmethod
    def encode(self, weight: Tensor, largest: float, signs: Tensor | None = None) -> Tensor:
        """The conductances that stand for `weight`, between 0 and 1."""

    @abstractmethod
    def decode(self, g: Tensor, largest: float, signs: Tensor | None = None) -> Tensor:
        """The weight that conductances come to."""

    @abstractmethod
    def spread(self, change: Tensor, largest: float, signs: Tensor | None = None) -> Tensor:
        """The smallest change of conductances that changes the weight by so much."""


class DifferentialPair(WeightMapping):
    """Two cells per weight, of which the difference counts.

    >>> import torch
    >>> DifferentialPair().encode(torch.tensor([[0.5]]), 1.0).flatten().tolist()
    [0.75, 0.25]
    >>> DifferentialPair(rest="low").encode(torch.tensor([[0.5]]), 1.0).flatten().tolist()
    [0.5, 0.0]
    """

    rest: Literal["middle", "low"] = option(
        default="middle",
        help="where a weight of 0 keeps both cells: in the middle of their range (each makes half of a "
        "change, in either direction) or at its low end (least current)",
    )

    @property
    def planes(self) -> int:
        return 2

    def encode(self, weight: Tensor, largest: float, signs: Tensor | None = None) -> Tensor:
        x = (weight / largest).clamp(-1.0, 1.0)
        if self.rest == "middle":
            return stack([0.5 + x / 2, 0.5 - x / 2])
        return stack([x.clamp(min=0.0), (-x).clamp(min=0.0)])

    def decode(self, g: Tensor, largest: float, signs: Tensor | None = None) -> Tensor:
        return (g[0] - g[1]) * largest

    def spread(self, change: Tensor, largest: float, signs: Tensor | None = None) -> Tensor:
        if change.requires_grad:
            half = change / (2 * largest)
            return stack([half, -half])
        moved = change.new_empty((2, *change.shape))  # the same without passes that only copy
        div(change, 2 * largest, out=moved[0])
        neg(moved[0], out=moved[1])
        return moved


class Offset(WeightMapping):
    """One cell per weight; the middle of its range, which stands for 0, is subtracted digitally.

    >>> import torch
    >>> Offset().encode(torch.tensor([[0.5]]), largest=1.0).flatten().tolist()
    [0.75]
    """

    def encode(self, weight: Tensor, largest: float, signs: Tensor | None = None) -> Tensor:
        return (0.5 + (weight / largest).clamp(-1.0, 1.0) / 2).unsqueeze(0)

    def decode(self, g: Tensor, largest: float, signs: Tensor | None = None) -> Tensor:
        return (g[0] - 0.5) * (2 * largest)

    def spread(self, change: Tensor, largest: float, signs: Tensor | None = None) -> Tensor:
        return (change / (2 * largest)).unsqueeze(0)


class ReferenceColumn(WeightMapping):
    """One cell per weight, and a column of cells in the middle of their range that is subtracted from each.

    >>> ReferenceColumn().shape(10, 4)
    (1, 11, 4)
    """

    def shape(self, outputs: int, inputs: int) -> tuple[int, int, int]:
        return (1, outputs + 1, inputs)

    def encode(self, weight: Tensor, largest: float, signs: Tensor | None = None) -> Tensor:
        x = (weight / largest).clamp(-1.0, 1.0)
        return (0.5 + cat([x, zeros_like(x[:1])]) / 2).unsqueeze(0)

    def decode(self, g: Tensor, largest: float, signs: Tensor | None = None) -> Tensor:
        return (g[0, :-1] - g[0, -1:]) * (2 * largest)

    def spread(self, change: Tensor, largest: float, signs: Tensor | None = None) -> Tensor:
        # The reference stays: a change of it would move the weights of all outputs.
        moved = change / (2 * largest)
        return cat([moved, zeros_like(moved[:1])]).unsqueeze(0)


class OneSigned(WeightMapping):
    """One cell per weight whose sign is known: half the devices where neurons keep Dale's law.

    >>> import torch
    >>> weight, signs = torch.tensor([[0.5, -0.25]]), torch.tensor([1.0, -1.0])
    >>> OneSigned().encode(weight, largest=1.0, signs=signs).flatten().tolist()
    [0.5, 0.25]
    """

    wants_signs: ClassVar[bool] = True

    def encode(self, weight: Tensor, largest: float, signs: Tensor | None = None) -> Tensor:
        return (weight * _known(signs) / largest).clamp(0.0, 1.0).unsqueeze(0)

    def decode(self, g: Tensor, largest: float, signs: Tensor | None = None) -> Tensor:
        return g[0] * (_known(signs) * largest)

    def spread(self, change: Tensor, largest: float, signs: Tensor | None = None) -> Tensor:
        return (change * (_known(signs) / largest)).unsqueeze(0)


class BitSliced(WeightMapping):
    """A pair of cells per slice of a few bits; the first slice is worth most.

    >>> import torch
    >>> mapping = BitSliced(bits=2, slices=2)  # 7 is 1 and 3, 15 is 3 and 3
    >>> (3 * mapping.encode(torch.tensor([[7 / 15, -1.0]]), 1.0)[:, 0]).tolist()
    [[1.0, 0.0], [0.0, 3.0], [3.0, 0.0], [0.0, 3.0]]
    """

    bits: int = option(default=2, at_least=1, at_most=8, help="bits per cell")
    slices: int = option(default=4, at_least=1, at_most=16, help="pairs of cells per weight")

    @property
    def planes(self) -> int:
        return 2 * self.slices

    def shares(self) -> list[float]:
        """What each slice contributes at most, as a share of the largest weight."""
        base = 2**self.bits
        whole = base**self.slices - 1
        return [base ** (self.slices - 1 - k) * (base - 1) / whole for k in range(self.slices)]

    def encode(self, weight: Tensor, largest: float, signs: Tensor | None = None) -> Tensor:
        base = 2**self.bits
        rest = ((weight.abs() / largest).clamp(max=1.0).double() * (base**self.slices - 1)).round()
        digits = []
        for k in range(self.slices):
            worth = base ** (self.slices - 1 - k)
            digit = div(rest, worth, rounding_mode="floor")
            rest = rest - digit * worth
            share = (digit / (base - 1)).to(weight.dtype)
            digits += [share * (weight > 0), share * (weight < 0)]
        return stack(digits)

    def decode(self, g: Tensor, largest: float, signs: Tensor | None = None) -> Tensor:
        shares = g.new_tensor(self.shares()).view(-1, 1, 1)
        return ((g[0::2] - g[1::2]) * shares).sum(0) * largest

    def spread(self, change: Tensor, largest: float, signs: Tensor | None = None) -> Tensor:
        shares = self.shares()
        moved = change / (2 * sum(share * share for share in shares) * largest)
        return stack([sign * share * moved for share in shares for sign in (1.0, -1.0)])


def _known(signs: Tensor | None) -> Tensor:
    if signs is None:
        raise ValueError(
            "one_signed: got connections without signs, wanted a sign per presynaptic neuron (an option of "
            "the network); or use the mapping differential_pair"
        )
    return signs
