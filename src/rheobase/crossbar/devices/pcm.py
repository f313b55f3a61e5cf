"""Phase-change memory: programmed iteratively or by partial SET pulses; noisy, drifting, reset as a whole.

Statistics of a GST array of a million cells, with g = G / 25 uS:

    programming   sigma = max(-1.1731 g^2 + 1.965 g + .26348, 0) uS                     (`program`)
    drift         G = G_0 ((t + t_c) / t_c)^-nu, t since the last write, t_c = 20 s; nu is drawn with each
                  write, mean clip(-.0155 ln g + .0244, .049, .1), sigma clip(-.0125 ln g - .0059, .008, .045)
    read          sigma / G = Q sqrt(ln((t + t_c + t_r) / (2 t_r))), Q = min(.0088 / g_0^.65, .2), t_r = 250
    ns

Pulses: a partial SET raises g as aihwkit's `PCMPresetDevice` (its exponential step, from 0 up), whatever g is
lowered by is a RESET to near 0 (`one_sided`), so a pair of cells with refresh is what trains.

Joshi et al., "Accurate deep neural network inference using computational phase-change memory", Nature
Communications 11 (2020); Nandakumar et al., Frontiers in Neuroscience 14 (2020) 406; constants as in
aihwkit's `PCMLikeNoiseModel` and `PCMPresetDevice`. Not modelled: correlated 1/f noise from read to read,
temperature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from rheobase.config import option
from rheobase.crossbar.devices.base import Cells, Device

#: Below this, g is taken as this in logarithms and powers.
SMALL = 1e-3


class PCM(Device):
    """Phase-change memory.

    >>> programming_spread(torch.tensor([0.1, 0.5, 1.0])) * 25
    tensor([0.4482, 0.9527, 1.0554])
    """

    fitted: ClassVar = (("step", "A"), ())
    guesses: ClassVar[Mapping[str, tuple[float, ...]]] = {"A": (-5.0, -30.0)}
    one_sided: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # aihwkit's PCMPresetDevice and PCMLikeNoiseModel: the defaults, with their spreads.
        "pcm": {"step_d2d": 0.2, "asymmetry_d2d": 0.05, "high_d2d": 0.1, "c2c": 0.6, "reset_noise": 0.005},
    }

    g_min: float = option(default=0.0, unit="S", at_least=0, help="nominal lowest conductance")
    g_max: float = option(default=25e-6, unit="S", above=0, help="nominal highest conductance")
    step: float = option(
        default=0.005, above=0, help="scale of steps by partial SET, as a share of the range"
    )
    A: float = option(default=-27.235, help="factor of the exponential")
    gamma: float = option(default=2.5, help="exponent over the whole range, halved")
    noise_add: float = option(
        default=0.021, at_least=0, help="part of the spread that is always there, of the range"
    )
    noise_slope: float = option(default=0.108, at_least=0, help="part of the spread that grows with g")
    reset: float = option(default=0.005, at_least=0, help="g after a RESET")
    reset_noise: float = option(default=0.0, at_least=0, help="spread of g after a RESET")
    t_c: float = option(
        default=20.0, unit="s", above=0, help="time at which programmed conductances are told"
    )
    t_read: float = option(default=250e-9, unit="s", above=0, help="width of the read in the noise's law")
    drifting: bool = option(default=True, help="whether conductances drift")
    reading_noise: bool = option(default=True, help="whether reads have the noise above")

    def fresh(
        self,
        shape: Sequence[int],
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Cells:
        cells = dict(super().fresh(shape, generator, dtype))
        if self.drifting:
            cells |= {"age": torch.zeros_like(cells["g"]), "nu": self._nu(cells["g"], generator)}
        return cells

    def increase(self, g: Tensor, cells: Cells) -> Tensor:
        low, high = self.bounds(cells)
        return self.step * (1 - self.A * torch.exp(-2 * self.gamma * g / (high - low))).clamp(min=0)

    def decrease(self, g: Tensor, cells: Cells) -> Tensor:
        return (g - self.reset).clamp(min=0)

    def spread(self, g: Tensor, step: Tensor, cells: Cells, *, up: bool) -> Tensor:
        if not up:
            return torch.full_like(g, self.reset_noise)
        return self.c2c * (step + self.noise_add + self.noise_slope * g.abs())

    @property
    def drifts(self) -> bool:
        return self.drifting

    @property
    def exact_reads(self) -> bool:
        return not self.reading_noise and not self.drifting

    def pulse_at(
        self,
        cells: Cells,
        chosen: Tensor,
        up: Tensor,
        down: Tensor,
        generator: torch.Generator | None = None,
    ) -> Cells:
        after = super().pulse_at(cells, chosen, up, down, generator)
        touched = torch.zeros(after["g"].shape, dtype=torch.bool)
        touched.view(-1)[chosen] = (up > 0) | (down > 0)
        return self._written(cells, after, touched, generator)

    def place(self, cells: Cells, g: Tensor) -> Cells:
        placed = super().place(cells, g)
        return self._written(cells, placed, torch.ones_like(placed["g"], dtype=torch.bool), None)

    def program(self, cells: Cells, target: Tensor, generator: torch.Generator | None = None) -> Cells:
        target = target.to(cells["g"].dtype).expand(cells["g"].shape)
        if generator is not None:
            noise = torch.randn(target.shape, generator=generator, dtype=target.dtype)
            target = target + programming_spread(target) * noise
        placed = super().place(cells, target)
        return self._written(cells, placed, torch.ones_like(placed["g"], dtype=torch.bool), generator)

    def conductance(self, cells: Cells) -> Tensor:
        if not self.drifting:
            return cells["g"]
        return cells["g"] * ((cells["age"] + self.t_c) / self.t_c) ** -cells["nu"]

    def drift(self, cells: Cells, seconds: float, generator: torch.Generator | None = None) -> Cells:
        return {**cells, "age": cells["age"] + seconds} if self.drifting else cells

    def read_spread(self, g: Tensor, cells: Cells) -> Tensor | None:
        if not self.reading_noise:
            return None
        age = cells["age"] if self.drifting else torch.zeros_like(g)
        return g * relative_read_spread(cells["g"], age + self.t_c, self.t_read)

    def _nu(self, g: Tensor, generator: torch.Generator | None) -> Tensor:
        mean, spread = drift_exponent(g)
        if generator is None:
            return mean
        return (mean + spread * torch.randn(g.shape, generator=generator, dtype=g.dtype)).abs()

    def _written(
        self, before: Cells, after: Cells, touched: Tensor, generator: torch.Generator | None
    ) -> Cells:
        """The cells after a write: those touched start to drift anew, the others go on."""
        if not self.drifting:
            return after
        if "stuck" in before:
            touched = touched & ~before["stuck"]
        return {
            **after,
            "g": torch.where(touched, after["g"], before["g"]),
            "age": torch.where(touched, 0.0, before["age"]),
            "nu": torch.where(touched, self._nu(after["g"], generator), before["nu"]),
        }


def programming_spread(g: Tensor) -> Tensor:
    """The standard deviation of iterative programming, normalised (times 25 uS in siemens)."""
    return (-1.1731 * g**2 + 1.965 * g + 0.26348).clamp(min=0) / 25


def drift_exponent(g: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of nu.

    >>> drift_exponent(torch.tensor([0.1, 0.5, 1.0]))[0]
    tensor([0.0601, 0.0490, 0.0490])
    """
    log = g.clamp(min=SMALL).log()
    return (-0.0155 * log + 0.0244).clamp(0.049, 0.1), (-0.0125 * log - 0.0059).clamp(0.008, 0.045)


def relative_read_spread(g: Tensor, seconds: Tensor, t_read: float = 250e-9) -> Tensor:
    """sigma / G of a read, so long after programming.

    >>> relative_read_spread(torch.tensor([0.1, 0.5, 1.0]), torch.tensor(86400.0))
    tensor([0.2000, 0.0702, 0.0448])
    """
    q = (0.0088 / g.clamp(min=SMALL) ** 0.65).clamp(max=0.2)
    return q * ((seconds + t_read) / (2 * t_read)).log().sqrt()
