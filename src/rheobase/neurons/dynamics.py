"""First-order relaxation, the one piece of dynamics that all models here share.

With decay a = exp(-dt/tau) (exponential, exact for an input that is constant within a step) or
a = 1 - dt/tau (Euler):

    scaling "leak":  x' = rest + a (x - rest) + (1 - a) drive     a drive of D settles at rest + D
    scaling "unit":  x' = rest + a (x - rest) + drive             a drive adds its full size at once

The order of operations is that of the libraries whose presets use each form, to the last bit.
"""

from __future__ import annotations

from typing import Literal

from rheobase.operators import Value, exp

Scheme = Literal["exponential", "euler"]
Scaling = Literal["leak", "unit"]


def relax(
    x: Value,
    drive: Value,
    tau: Value,
    dt: float,
    rest: Value = 0.0,
    scheme: Scheme = "exponential",
    scaling: Scaling = "unit",
) -> Value:
    """x one step of `dt` ms later (see the module's text).

    >>> relax(0.0, 1.0, tau=10.0, dt=1.0, scheme="euler", scaling="leak")
    0.1
    """
    if scheme == "exponential":
        decay = exp(-dt / tau)
        drive = (1.0 - decay) * drive if scaling == "leak" else drive
        return (decay * (x - rest) + rest) + drive
    rate = dt / tau
    if scaling == "leak":
        return x + rate * ((rest - x) + drive)
    return (x + rate * (rest - x)) + drive
