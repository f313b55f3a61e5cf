"""What a device is: how the conductance of its cells answers to pulses, is read, and drifts.

Conductances are normalised: g = 0 stands for the nominal `g_min` and g = 1 for the nominal `g_max`,

    G = g_min + g (g_max - g_min)   in siemens (`siemens`, `normalised`)

An array of cells is a value that the caller holds: tensors by name (`Cells`), of which "g" is always there.

    cells = device.fresh((128, 784), generator)         # drawn, with device-to-device variation
    cells = device.pulse(cells, up, down, generator)    # whole numbers of pulses per cell
    g = device.read(cells, generator)                   # as a sensing circuit sees it

A law says what one pulse does on average, `increase` and `decrease`. The rest is common to all (`cells` draws
them, `trains` applies pulses):

    pulse        g <- clip(g +- gain (step + sigma xi), low, high), pulse after pulse
    gain         1 + step_d2d xi +- asymmetry_d2d xi' (or e^(step_d2d xi)), drawn once per cell; never below 0
    low, high    0 + low_d2d xi, 1 + high_d2d xi, drawn once per cell; never below 0 siemens
    sigma        cycle-to-cycle spread of one step: c2c times the step, unless the law says otherwise
    write noise  a hidden conductance takes the pulses; what is seen is hidden + write_noise xi, drawn anew
                 for the cells that were pulsed
    leak         with each write, of all cells, g <- rest + (g - rest)(1 - 1/lifetime)
    retention    in time, g <- rest + (g - rest) e^(-t/retention)
    read noise   G (1 + read_noise xi)
    stuck cells  shares of cells fixed at g_min, at g_max, or never formed (0 S), which no pulse moves

with xi standard normal. Without a generator (`None`) there is no noise, and `fresh` draws no variation: the
mean response. Everything is differentiable with respect to what the cells hold.

The parameters follow aihwkit's pulsed devices (Rasch et al., "A flexible and fast PyTorch toolkit for
simulating training and inference on analog crossbar arrays", IEEE AICAS 2021), in units of the range instead
of weights. Not modelled: current-voltage nonlinearity, pulses of other height or width than the law's, and
temperature.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import Self

from rheobase.config import Config, option
from rheobase.crossbar.devices.cells import Cells as Cells
from rheobase.crossbar.devices.cells import cells_at as cells_at
from rheobase.crossbar.devices.cells import clip, draw_cells, settled
from rheobase.crossbar.devices.cells import gain_of as gain_of
from rheobase.crossbar.devices.trains import pulsed, typical_steps
from rheobase.registry import catalogue, name_of, unknown


class Device(Config, ABC):
    """A kind of memory cell. A subclass has the parameters of its law, `increase` and `decrease`."""

    room: ClassVar[str] = "rheobase.crossbar.devices"
    #: Named sets of options, each from a source named beside it.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    #: Whether a cell can only be raised in steps, and is lowered by a reset (all of `decrease`) instead.
    one_sided: ClassVar[bool] = False
    #: Whether n pulses together vary by c2c sqrt(n) of the range (and the law has a `closed` solution).
    noise_at_end: ClassVar[bool] = False
    #: What of the cells a write circuit knows, beside their conductances (such as a gate's voltage).
    known: ClassVar[tuple[str, ...]] = ()
    #: Which parameters of steps up and of steps down a measured curve tells; none if it cannot be fitted.
    fitted: ClassVar[tuple[tuple[str, ...], tuple[str, ...]] | tuple[()]] = ()
    #: Values to start a fit from, of parameters that are not sizes of steps.
    guesses: ClassVar[Mapping[str, tuple[float, ...]]] = {}

    g_min: float = option(default=1e-7, unit="S", at_least=0, help="nominal lowest conductance")
    g_max: float = option(default=1e-5, unit="S", above=0, help="nominal highest conductance")
    step_d2d: float = option(
        default=0.0, at_least=0, help="spread of the steps from device to device, relative"
    )
    step_d2d_lognormal: bool = option(default=False, help="whether that spread is log-normal")
    asymmetry_d2d: float = option(default=0.0, at_least=0, help="spread of up against down steps, relative")
    low_d2d: float = option(
        default=0.0, at_least=0, help="spread of the lower bound, as a share of the range"
    )
    high_d2d: float = option(
        default=0.0, at_least=0, help="spread of the upper bound, as a share of the range"
    )
    c2c: float = option(default=0.0, at_least=0, help="spread of a step from pulse to pulse, relative")
    write_noise: float = option(
        default=0.0, at_least=0, help="spread of what is seen after a write, of the range"
    )
    read_noise: float = option(
        default=0.0, at_least=0, help="spread of a read, as a share of the conductance"
    )
    rest: float = option(default=0.0, help="where conductances relax to, normalised")
    lifetime: float | None = option(default=None, above=1, unit="writes", help="of a conductance that leaks")
    retention: float | None = option(default=None, above=0, unit="s", help="time constant of relaxation")
    retention_d2d: float = option(default=0.0, at_least=0, help="spread of lifetime and retention, relative")
    stuck_low: float = option(default=0.0, at_least=0, at_most=1, help="share of cells fixed at g_min")
    stuck_high: float = option(default=0.0, at_least=0, at_most=1, help="share of cells fixed at g_max")
    unformed: float = option(default=0.0, at_least=0, at_most=1, help="share of cells that conduct nothing")
    up_volts: float = option(default=1.0, unit="V", help="height of a potentiating pulse")
    down_volts: float = option(default=-1.0, unit="V", help="height of a depressing pulse")
    up_seconds: float = option(default=1e-7, unit="s", above=0, help="width of a potentiating pulse")
    down_seconds: float = option(default=1e-7, unit="s", above=0, help="width of a depressing pulse")
    read_volts: float = option(default=0.1, unit="V", help="height of a read pulse")
    read_seconds: float = option(default=1e-8, unit="s", above=0, help="width of a read pulse")

    def validate(self) -> None:
        if self.g_min >= self.g_max:
            raise ValueError(
                f"{type(self).__name__}: got g_min {self.g_min} S and g_max {self.g_max} S, "
                "wanted g_min below g_max"
            )
        faulty = self.stuck_low + self.stuck_high + self.unformed
        if faulty > 1:
            raise ValueError(
                f"{type(self).__name__}: stuck_low, stuck_high and unformed come to {faulty:g}, "
                "wanted shares of at most 1 together"
            )

    # ---- the law

    @abstractmethod
    def increase(self, g: Tensor, cells: Cells) -> Tensor:
        """The mean change of g by one potentiating pulse, of a cell with gain 1: at least 0, shaped as g."""

    @abstractmethod
    def decrease(self, g: Tensor, cells: Cells) -> Tensor:
        """The mean change of g by one depressing pulse, as a positive number, shaped as g."""

    def spread(self, g: Tensor, step: Tensor, cells: Cells, *, up: bool) -> Tensor:
        """The standard deviation of one pulse's change, whose mean (with the cell's gain) is `step`."""
        return self.c2c * step

    def closed(self, g: Tensor, pulses: Tensor, cells: Cells, *, up: bool) -> Tensor | None:
        """g after several noiseless pulses at once, where the law has a solution that is exact; else None."""
        return None

    # ---- cells

    def fresh(
        self,
        shape: Sequence[int],
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Cells:
        """New cells of this shape, at their lowest conductance.

        Args:
            shape: Of the array; any.
            generator: Where the variation from cell to cell is drawn from; None for nominal cells.
            dtype: float32 or float64.
        """
        return draw_cells(self, tuple(shape), generator, dtype)

    def place(self, cells: Cells, g: Tensor) -> Cells:
        """The cells with these conductances, as if they could simply be set: each within its bounds."""
        low, high = self.bounds(cells)
        placed = clip(g.to(cells["g"].dtype).expand(cells["g"].shape), low, high)
        return settled(cells, placed, placed)

    def program(self, cells: Cells, target: Tensor, generator: torch.Generator | None = None) -> Cells:
        """The cells as the device's own iterative programming leaves them (`place` if it has none)."""
        return self.place(cells, target)

    def bounds(self, cells: Cells) -> tuple[Tensor | float, Tensor | float]:
        """The lowest and the highest g that pulses can reach, per cell or for all."""
        return cells.get("low", 0.0), cells.get("high", 1.0)

    # ---- pulses

    def pulse(
        self, cells: Cells, up: Tensor, down: Tensor, generator: torch.Generator | None = None
    ) -> Cells:
        """The cells after `up` potentiating and then `down` depressing pulses.

        Args:
            cells: As they are.
            up, down: Pulses per cell, whole numbers of at least 0, shaped as the cells.
            generator: Where noise comes from; None for the mean response.
        """
        chosen = ((up > 0) | (down > 0)).flatten().nonzero().flatten()
        return self.pulse_at(cells, chosen, up.flatten()[chosen], down.flatten()[chosen], generator)

    def pulse_at(
        self,
        cells: Cells,
        chosen: Tensor,
        up: Tensor,
        down: Tensor,
        generator: torch.Generator | None = None,
    ) -> Cells:
        """`pulse` for a few cells, at a cost that grows with their number.

        Args:
            cells: As they are.
            chosen: Which cells get pulses, as places in the flattened array, each at most once, int64 `[M]`.
            up, down: Pulses for each, `[M]`.
            generator: Where noise comes from; None for the mean response.
        """
        return pulsed(self, cells, chosen, up, down, generator)

    @property
    def noisy(self) -> bool:
        """Whether pulses vary from one to the next."""
        return self.c2c > 0

    @property
    def drifts(self) -> bool:
        """Whether conductances are a function of the time since the last write."""
        return False

    def typical_steps(self) -> tuple[float, float]:
        """The mean change of g by one pulse up and by one down, averaged over the range of a nominal cell."""
        return typical_steps(self)

    def nominal(self, cells: Cells) -> Cells:
        """What a write circuit knows of cells: nothing of how one differs from another."""
        return {name: cells[name] for name in self.known if name in cells}

    def next_steps(self, cells: Cells) -> tuple[Tensor, Tensor]:
        """By how much the next pulse up and the next down change the conductance that is read, both at least
        0, by the nominal law."""
        scale, nominal = self.scale(cells), self.nominal(cells)
        g = self.conductance(cells) / scale.clamp(min=1e-6)
        return scale * self.increase(g, nominal), scale * self.decrease(g, nominal)

    def scale(self, cells: Cells) -> Tensor:
        """The conductance that is read, per g of a cell: a number, or one per row, column or cell."""
        return torch.ones((), dtype=cells["g"].dtype)

    # ---- what is read

    def conductance(self, cells: Cells) -> Tensor:
        """g as a noiseless read finds it now."""
        return cells["g"]

    def read(
        self, cells: Cells, generator: torch.Generator | None = None, time_s: float | None = None
    ) -> Tensor:
        """g as a read finds it, with its noise, `time_s` seconds from now."""
        later = cells if time_s is None else self.drift(cells, time_s, generator)
        g = self.conductance(later)
        if generator is None:
            return g
        spread = self.read_spread(g, later)
        if spread is None:
            return g
        return g + spread * torch.randn(g.shape, generator=generator, dtype=g.dtype)

    @property
    def exact_reads(self) -> bool:
        """Whether reading cells at once finds what they were set to: no noise, no drift."""
        return not self.read_noise and not self.drifts

    def read_spread(self, g: Tensor, cells: Cells) -> Tensor | None:
        """The standard deviation of a read, normalised; None for no noise."""
        return self.read_noise * (g - self.unformed_g) if self.read_noise else None

    def drift(self, cells: Cells, seconds: float, generator: torch.Generator | None = None) -> Cells:
        """The cells some time later."""
        if self.retention is None or seconds == 0:
            return cells
        rate = 1 / (self.retention * cells.get("persistence", torch.ones((), dtype=cells["g"].dtype)))
        keep = torch.exp(-seconds * rate)

        def relaxed(g: Tensor) -> Tensor:
            return self.rest + (g - self.rest) * keep

        return settled(cells, relaxed(cells.get("hidden", cells["g"])), relaxed(cells["g"]))

    # ---- units and energy

    @property
    def unformed_g(self) -> float:
        """The g of a cell that conducts nothing."""
        return -self.g_min / (self.g_max - self.g_min)

    def siemens(self, g: Tensor) -> Tensor:
        """Conductances in siemens from normalised ones."""
        return self.g_min + g * (self.g_max - self.g_min)

    def normalised(self, conductance: Tensor) -> Tensor:
        """Normalised conductances from those in siemens."""
        return (conductance - self.g_min) / (self.g_max - self.g_min)

    def pulse_energy(self, g: Tensor, up: Tensor, down: Tensor) -> Tensor:
        """The energy in joule of these pulses on cells of (mean) conductance g: V^2 G t each."""
        per_siemens = self.up_volts**2 * self.up_seconds * up + self.down_volts**2 * self.down_seconds * down
        return self.siemens(g) * per_siemens

    def read_energy(self, g: Tensor) -> Tensor:
        """The energy in joule of reading each cell once with full voltage: V^2 G t."""
        return self.siemens(g) * (self.read_volts**2 * self.read_seconds)

    # ---- presets

    @classmethod
    def named(cls, name: str) -> Mapping[str, Any] | None:
        """The table that a preset's name stands for: its law and its options."""
        for law in catalogue(Device).values():
            if name.lower() in law.presets:
                return {"name": name_of(law), **law.presets[name.lower()]}
        return None

    @classmethod
    def of_curve(cls, pulses_up: int, pulses_down: int) -> dict[str, Any]:
        """Options that follow from the numbers of pulses of a measured curve."""
        return {}

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """The device with a named set of options (`presets`), and `changes` on top.

        Raises:
            ValueError: If there is no such preset.
        """
        if name not in cls.presets:
            raise ValueError(unknown(f"preset of {name_of(cls)}", name, cls.presets))
        return cls(**{**cls.presets[name], **changes})
