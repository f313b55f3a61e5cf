"""Converters at the edges of an array: what goes in and what comes out has so many levels.

With b bits and full scale F, values are rounded to multiples of F / (2^b - 1) and held within 0 to F, or, for
a signed converter, of 2 F / (2^b - 2) within -F to F. Derivatives pass as if nothing had been rounded
(straight-through), and not where a value is out of range.

    DAC     per input of a dense or delayed connection. Spikes need none: they are 0 or full scale already
    ADC     per tile and output, before the tiles' sums and the bias, which are digital. Full scale is a share
            of what a tile could give: range * W * rows, W the largest weight. Each delay is a read of its own

Sums within a recurrent layer are read at every step, which the fused kernels do not know: such a layer runs
step by step, on the backend "torch". Without an ADC, neurons take currents as they come (analogue
integration).

Not modelled: offsets, gain errors and noise of converters.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

from rheobase.crossbar.array import array_of
from rheobase.crossbar.circuit import pieces
from rheobase.kernels.constant import Constant
from rheobase.kernels.products import linear
from rheobase.layers.delayed import Delayed
from rheobase.layers.dense import Dense
from rheobase.layers.over_time import over_time
from rheobase.layers.recurrent import Recurrent


def quantise(x: Tensor, bits: int, full_scale: float, *, signed: bool) -> Tensor:
    """`x` as a converter gives it.

    >>> quantise(torch.tensor([0.2, 0.4, 3.0]), 1, 1.0, signed=False).tolist()
    [0.0, 0.0, 1.0]
    >>> quantise(torch.tensor([-0.7, 0.3, 0.6]), 2, 1.0, signed=True).tolist()
    [-1.0, 0.0, 1.0]
    """
    low = -full_scale if signed else 0.0
    step = full_scale / (2 ** (bits - 1) - 1) if signed else full_scale / (2**bits - 1)
    inside = x.clamp(low, full_scale)
    rounding: Tensor = (inside / step).round() * step - inside
    return inside + rounding.detach()


class Converters:
    """DAC and ADC of the connections on arrays.

    Args:
        dac_bits, dac_range: Bits of the DAC (None for no DAC), and its full scale in units of the input.
        adc_bits, adc_range: Bits of the ADC (None for no ADC), and its full scale as a share of the largest
            sum.
        rows: Largest number of rows of a tile.
    """

    def __init__(
        self, dac_bits: int | None, dac_range: float, adc_bits: int | None, adc_range: float, rows: int
    ) -> None:
        self.dac_bits, self.dac_range, self.adc_bits, self.adc_range = (
            dac_bits,
            dac_range,
            adc_bits,
            adc_range,
        )
        self.rows = rows

    def attach(self, name: str, layer: nn.Module) -> None:
        """Convert what goes into and comes out of a connection from now on.

        Raises:
            ValueError: If there is no place for a converter in such a layer.
        """
        if isinstance(layer, (Dense, Delayed)) and self.dac_bits is not None:
            layer.register_forward_pre_hook(self._before)
        if self.adc_bits is None:
            return
        if isinstance(layer, Dense):
            layer.register_forward_hook(self._after)
        elif isinstance(layer, (Delayed, Recurrent)):
            layer.read_by(functools.partial(self._read, layer))
        else:
            raise ValueError(
                f"adc_bits: got {self.adc_bits} with layer '{name}' ({type(layer).__name__}), for which "
                "there are no converters; leave adc_bits out, or list other layers in 'layers'"
            )

    def _before(self, layer: nn.Module, arguments: Any) -> Any:
        bits, x = self.dac_bits, arguments[0]
        assert bits is not None
        signed = bool(((x.value if isinstance(x, Constant) else x) < 0).any())
        return (over_time(lambda v: quantise(v, bits, self.dac_range, signed=signed), x), *arguments[1:])

    def _after(self, layer: nn.Module, arguments: Any, output: Any) -> Any:
        assert isinstance(layer, Dense)
        weight, bias = layer.weight, layer.bias

        def read(x: Tensor) -> Tensor:
            sums = self._read(layer, x.flatten(1), weight)
            return sums if bias is None else sums + bias

        return over_time(read, arguments[0])

    def _read(self, layer: nn.Module, x: Tensor, weight: Tensor) -> Tensor:
        """x W^T for `x` `[B, N]`, converted tile by tile."""
        array, bits = array_of(layer), self.adc_bits
        assert array is not None
        assert bits is not None
        parts, total = pieces(weight.shape[1], self.rows), None
        for part, own in zip(torch.split(x, parts, 1), torch.split(weight, parts, 1), strict=True):
            scale = self.adc_range * float(array.largest) * own.shape[1]
            sums = quantise(linear(part, own, None), bits, scale, signed=True)
            total = sums if total is None else total + sums
        assert total is not None
        return total
