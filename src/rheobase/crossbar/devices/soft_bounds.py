"""Soft bounds: steps fall linearly to nothing at the bounds, which are never passed.

    up    dg =  step_up   (high - g) / (high - origin)
    down  dg = -step_down (g - low) / (origin - low)

with the bounds of each cell: aihwkit's `SoftBoundsDevice`; its `SoftBoundsReferenceDevice` is this with a
reference cell to subtract, which is a matter of the mapping here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rheobase.crossbar.devices._linear import Linear
from rheobase.crossbar.devices._weights import published


class SoftBounds(Linear):
    """Steps that fall linearly to 0 at the bounds.

    >>> SoftBounds.preset("reram-sb").step_up
    0.001
    """

    fitted: ClassVar = (("step_up",), ("step_down",))
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # aihwkit's ReRamSBPresetDevice, a loose fit to Gong et al., Nature Communications 9, 2018.
        "reram-sb": published(
            -0.75,
            1.25,
            0.002,
            dw_min_dtod=0.3,
            up_down_dtod=0.01,
            w_min_dtod=0.3 / 0.75,
            w_max_dtod=0.3 / 1.25,
            dw_min_std=3.75,
            write_noise_std=56,
            additive=True,
        ),
        # aihwkit's ReRamArrayOMPresetDevice: the "optimised material" array of Gong, Rasch et al., IEDM 2022
        # (13.5 % of whose cells were corrupt; that share is left out, as in aihwkit).
        "reram-array-om": published(
            -1,
            1,
            0.0949,
            dw_min_dtod=0.7829,
            up_down_dtod=0.01,
            w_min_dtod=0.5695,
            w_max_dtod=0.3499,
            dw_min_std=0.4158,
            write_noise_std=1.4113,
            additive=True,
            step_d2d_lognormal=True,
        ),
        # aihwkit's ReRamArrayHfO2PresetDevice: the baseline HfO2 array of the same paper (10 % corrupt).
        "reram-array-hfo2": published(
            -1,
            1,
            0.4622,
            dw_min_dtod=0.7125,
            up_down_dtod=0.01,
            w_min_dtod=0.5990,
            w_max_dtod=0.4295,
            dw_min_std=0.2174,
            write_noise_std=0.5841,
            additive=True,
            step_d2d_lognormal=True,
        ),
    }

    def slopes(self) -> tuple[float, float]:
        return 1.0, 1.0

    @property
    def own_bounds(self) -> bool:
        return True
