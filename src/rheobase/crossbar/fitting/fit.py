"""Least squares of any law on a measured curve, with standard errors.

Per direction, the free parameters of the law (`Device.fitted`) and the conductance at the branch's start
minimise

    sum_i (g_law(n_i) - g_i)^2,   g normalised by g_min and g_max

from several starting points, of which the best is kept. Standard errors come from the Jacobian J at the
solution, sqrt(diag((J^T J)^-1) r), r = the residuals' sum of squares over degrees of freedom; they take
residuals for independent and normal, which those of a law that does not quite hold are not. g_min and g_max
are the extremes of the curve unless given.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rheobase.config import fields_of
from rheobase.crossbar.devices.base import Device
from rheobase.crossbar.fitting.curve import Branch, Curve
from rheobase.registry import catalogue, name_of

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A parameter, its standard error (NaN where the data do not tell it), and the direction it is of."""

    name: str
    value: float
    error: float
    up: bool


@dataclass(frozen=True)
class Fit:
    """A law on a curve.

    Attributes:
        device: The law with what was found, and no variation.
        estimates: What was found, parameter by parameter.
        rmse: Root mean square error per direction, as a share of the range; None where there is no branch.
        starts: The normalised conductance at which each branch starts.
    """

    device: Device
    estimates: tuple[Estimate, ...]
    rmse: tuple[float | None, float | None]
    starts: tuple[float, float]

    def response(self, branch: Branch, *, up: bool) -> Floats:
        """Conductances in siemens at a branch's pulses."""
        low, high = self.device.g_min, self.device.g_max
        return low + (high - low) * simulate(self.device, self.starts[0 if up else 1], branch.pulses, up=up)


def fit(law: type[Device], curve: Curve, g_min: float | None = None, g_max: float | None = None) -> Fit:
    """Fit a law to a curve.

    Args:
        law: Which.
        curve: What was measured.
        g_min, g_max: The range in siemens; the curve's extremes if None.

    Raises:
        ValueError: If the law has nothing to fit, or the range is none.

    >>> from rheobase.crossbar.devices.memtransistor import Memtransistor
    >>> pulses = np.arange(12.0)
    >>> branch = Branch(pulses, 1e-8 + 2.99e-6 * simulate(Memtransistor(), 0.0, pulses, up=True))
    >>> found = fit(Memtransistor, Curve(branch, None), 1e-8, 3e-6)
    >>> [(e.name, round(e.value, 4)) for e in found.estimates]
    [('a_up', 0.2248), ('b_up', 1.537)]
    """
    if not law.fitted:
        can = ", ".join(name.replace("_", "-") for name, cls in catalogue(Device).items() if cls.fitted)
        raise ValueError(f"{name_of(law)} has no parameters to fit; wanted one of {can}")
    low, high = curve.range
    low, high = low if g_min is None else g_min, high if g_max is None else g_max
    if low >= high:
        raise ValueError(f"got g_min {low:g} S and g_max {high:g} S, wanted g_min below g_max")
    options: dict[str, Any] = {"g_min": low, "g_max": high, **law.of_curve(*_lengths(curve))}
    estimates: list[Estimate] = []
    errors: list[float | None] = [None, None]
    starts = [0.0, 1.0]
    for index, branch in enumerate((curve.up, curve.down)):
        up = index == 0
        names = law.fitted[index]
        if branch is None or not names:
            continue
        measured = (branch.siemens - low) / (high - low)
        found, spread, residuals = _solve(law, options, names, branch.pulses, measured, up)
        options |= dict(zip(names, found.tolist(), strict=False))
        starts[index] = float(found[-1])
        estimates += [
            Estimate(n, float(v), float(s), up) for n, v, s in zip(names, found, spread, strict=False)
        ]
        errors[index] = float(np.sqrt(np.mean(residuals**2)))
    return Fit(law(**options), tuple(estimates), (errors[0], errors[1]), (starts[0], starts[1]))


def simulate(device: Device, start: float, pulses: Floats, *, up: bool) -> Floats:
    """g of a nominal cell after these numbers of pulses (increasing), from g = `start`, without noise."""
    cells = device.nominal(device.fresh((1,), dtype=torch.float64))
    counts = torch.as_tensor(np.round(pulses))
    at_once = device.closed(torch.full_like(counts, start), counts, cells, up=up)
    if at_once is not None:
        return np.asarray(at_once.clamp(0, 1).numpy())
    g, values, done = torch.tensor([start], dtype=torch.float64).clamp(0, 1), [], 0
    for number in counts.tolist():
        while done < number:
            step = device.increase(g, cells) if up else -device.decrease(g, cells)
            g = (g + step).clamp(0, 1)
            done += 1
        values.append(float(g))
    return np.array(values)


def _lengths(curve: Curve) -> tuple[int, int]:
    """The number of pulses of each branch, of the other one where there is none."""
    lengths = [round(float(b.pulses[-1])) if b else 0 for b in (curve.up, curve.down)]
    longest = max(lengths)
    return lengths[0] or longest, lengths[1] or longest


def _solve(
    law: type[Device],
    options: dict[str, Any],
    names: tuple[str, ...],
    pulses: Floats,
    measured: Floats,
    up: bool,
) -> tuple[Floats, Floats, Floats]:
    """Values and standard errors of the parameters and of the start (the last one), and residuals."""
    from scipy.optimize import least_squares

    limits = [_limits(law, name) for name in names] + [(-0.2, 1.2)]
    low, high = (np.array(side) for side in zip(*limits, strict=True))

    def residuals(values: Floats) -> Floats:
        chosen = options | dict(zip(names, values[:-1].tolist(), strict=True))
        return simulate(law(**chosen), float(values[-1]), pulses, up=up) - measured

    best = None
    for start in _starts(law, names, pulses, measured):
        guess = np.clip(np.array([*start, measured[0]]), low + 1e-9, high - 1e-9)
        scale = np.maximum(np.abs(guess), 1e-3)
        found = least_squares(residuals, guess, bounds=(low, high), x_scale=scale, max_nfev=200)
        if best is None or found.cost < best.cost:
            best = found
    assert best is not None
    free = max(1, len(measured) - len(best.x))
    inverse = np.linalg.pinv(best.jac.T @ best.jac) * (2 * best.cost / free)
    errors = np.sqrt(np.diag(inverse))
    # What does not move the curve is not told by it.
    errors[np.abs(best.jac).max(0) < 1e-12] = math.nan
    return best.x, errors, np.asarray(best.fun)


def _limits(law: type[Device], name: str) -> tuple[float, float]:
    metadata = next(field.metadata for field in fields_of(law) if field.name == name)
    below, at_least, at_most = (metadata.get(key) for key in ("above", "at_least", "at_most"))
    low = at_least if at_least is not None else below
    return (
        -100.0 if low is None else float(low) + (1e-9 if at_least is None else 0),
        100.0 if at_most is None else float(at_most),
    )


def _starts(
    law: type[Device], names: tuple[str, ...], pulses: Floats, measured: Floats
) -> list[tuple[float, ...]]:
    """Starting points: sizes of steps from the data, other parameters from a few values each."""
    steps = np.abs(np.diff(measured) / np.diff(pulses))
    sizes = (float(max(steps.max(), 1e-6)), float(max(steps.mean(), 1e-6)))
    choices = [sizes if is_size(name) else law.guesses.get(name, (1.0,)) for name in names]
    return list(itertools.product(*choices))


def is_size(name: str) -> bool:
    """Whether a parameter is the size of a step."""
    return name.startswith(("step", "a_"))
