"""The linear step: steps fall linearly with the conductance, to a share of 1 - slope at the bounds.

    up    dg =  step_up   (1 - slope_up   (g - origin) / (1 - origin))
    down  dg = -step_down (1 - slope_down (origin - g) / origin)

Slopes are relative to the nominal bounds, as in the presets of aihwkit's `LinearStepDevice`
(`mean_bound_reference`). A slope of 0 is a constant step, one of 1 a soft bound. Spreads of the slopes from
device to device (.01 to .05 in those presets) are not modelled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rheobase.config import option
from rheobase.crossbar.devices._linear import Linear
from rheobase.crossbar.devices._weights import published

_ECRAM = {"dw_min_dtod": 0.1, "up_down_dtod": 0.01, "w_min_dtod": 0.05, "w_max_dtod": 0.05}


class LinearStep(Linear):
    """Steps that fall linearly.

    >>> round(LinearStep.preset("ecram").origin, 4)
    0.4138
    """

    fitted: ClassVar = (("step_up", "slope_up"), ("step_down", "slope_down"))
    guesses: ClassVar[Mapping[str, tuple[float, ...]]] = {"slope_up": (0.2, 0.9), "slope_down": (0.2, 0.9)}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # aihwkit's CapacitorPresetDevice, a fit to Li et al., VLSI 2018; the lifetime is in batches.
        "capacitor": published(
            -1,
            1,
            0.005,
            dw_min_dtod=0.1,
            up_down_dtod=0.06,
            w_min_dtod=0.07,
            w_max_dtod=0.07,
            dw_min_std=0.3,
            additive=True,
            slope_up=0.05,
            slope_down=0.05,
            lifetime=1e6,
            retention_d2d=0.3,
        ),
        # aihwkit's EcRamPresetDevice, a fit to Tang et al., IEDM 2018 (lithium).
        "ecram": published(
            -0.8276, 1.1724, 0.002, dw_min_std=0.3, slope_up=0.1153, slope_down=0.5085, **_ECRAM
        ),
        # aihwkit's EcRamMOPresetDevice, on data of Kim et al., IEDM 2019 (metal oxide).
        "ecram-mo": published(
            -0.8286, 1.1714, 2.8214e-4, dw_min_std=2.0, slope_up=0.4152, slope_down=0.7342, **_ECRAM
        ),
    }

    slope_up: float = option(
        default=0.5, at_least=0, help="by which share steps up fall from origin to bound"
    )
    slope_down: float = option(
        default=0.5, at_least=0, help="by which share steps down fall from origin to bound"
    )

    def slopes(self) -> tuple[float, float]:
        return self.slope_up, self.slope_down
