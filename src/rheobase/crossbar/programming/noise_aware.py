"""Noise-aware training: ideal gradients and ideal writes, with noise on the weights of every batch.

    w <- w + wish (digital);   the cells stand for w + noise W xi, drawn anew with each update

with W the largest weight and xi standard normal; so the network learns to do with weights that are off by as
much. What is on the array in the end is noisy too: program it with `one_shot.program`, from the copy.

Joshi et al., "Accurate deep neural network inference using computational phase-change memory", Nature
Communications 11 (2020). No pulses are spent; not a way to train in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from rheobase.config import option
from rheobase.crossbar.array import Placed
from rheobase.crossbar.programming.base import Programming, State
from rheobase.crossbar.programming.write_verify import hold


class NoiseAware(Programming):
    """Digital weights, seen with noise.

    >>> import torch
    >>> from rheobase.crossbar.array import place
    >>> from rheobase.crossbar.devices.constant_step import ConstantStep
    >>> from rheobase.crossbar.mapping import Offset
    >>> from rheobase.layers.dense import Dense
    >>> law = ConstantStep(step_up=0.01, step_down=0.01)  # 0.02 of a weight's range of -1 to 1
    >>> placed = place(Dense(3, 2), law, Offset(), generator=None, largest=1.0)
    >>> generator = torch.Generator().manual_seed(0)
    >>> scheme = NoiseAware(noise=0.1)
    >>> state, before = scheme.begin(placed), placed.parameter.detach().clone()
    >>> scheme.write(placed, torch.full((2, 3), 0.05), state, generator)
    >>> bool(torch.allclose(state["copy"], before + 0.05)), bool(torch.equal(placed.parameter, state["copy"]))
    (True, False)
    """

    digital: ClassVar[str] = "one number per weight (the weight itself)"
    in_place: ClassVar[bool] = False

    noise: float = option(default=0.03, at_least=0, help="noise on weights, as a share of the largest")

    def _begin(self, placed: Placed) -> State:
        return {"copy": placed.parameter.detach().clone()}

    def meant(self, placed: Placed, state: Mapping[str, Any]) -> Tensor:
        copy: Tensor = state["copy"]
        return copy.clone()

    def _write(self, placed: Placed, wish: Tensor, state: State, generator: torch.Generator) -> None:
        array, copy = placed.array, state["copy"]
        copy += wish
        hold(array, copy)
        noise = torch.randn(copy.shape, generator=generator, dtype=copy.dtype)
        seen = (copy + self.noise * float(array.largest) * noise).flatten(1)
        wanted = array.mapping.encode(seen, float(array.largest), array.signs)
        array.put(array.device.place(array.cells, wanted))
