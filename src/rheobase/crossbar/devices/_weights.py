"""Published device parameters in units of weights, as options of `Device`.

aihwkit describes a device by the weight that it stands for, between w_min and w_max, around 0. With R = w_max
- w_min:

    g = (w - w_min) / R,  origin = -w_min / R      where the weight is 0
    step_up   = dw_min (1 + min(up_down, 0)) / R   at the origin
    step_down = dw_min (1 - max(up_down, 0)) / R

and spreads of bounds, given relative to the bounds, become shares of the range. aihwkit adds the spread of
steps to 1 + min(up_down, 0), here it multiplies; this differs where up_down is not 0 (ReRamES). Its abstract
devices have no conductances: 5 to 25 microsiemens are an assumption, with room below for cells whose lower
bound is lower.
"""

from __future__ import annotations

from typing import Any


def published(
    w_min: float,
    w_max: float,
    dw_min: float,
    *,
    up_down: float = 0.0,
    dw_min_dtod: float = 0.0,
    up_down_dtod: float = 0.0,
    w_min_dtod: float = 0.0,
    w_max_dtod: float = 0.0,
    dw_min_std: float = 0.0,
    write_noise_std: float = 0.0,
    **options: Any,
) -> dict[str, Any]:
    """A device's options from aihwkit's parameters of these names (its write noise is in units of dw_min).

    >>> published(-0.75, 1.25, 0.002)["origin"]
    0.375
    """
    span = w_max - w_min
    return {
        "g_min": 5e-6,
        "g_max": 25e-6,
        "origin": -w_min / span,
        "rest": -w_min / span,
        "step_up": dw_min * (1 + min(up_down, 0.0)) / span,
        "step_down": dw_min * (1 - max(up_down, 0.0)) / span,
        "step_d2d": dw_min_dtod,
        "asymmetry_d2d": up_down_dtod,
        "low_d2d": abs(w_min) * w_min_dtod / span,
        "high_d2d": abs(w_max) * w_max_dtod / span,
        "c2c": dw_min_std,
        "write_noise": write_noise_std * dw_min / span,
        **options,
    }
