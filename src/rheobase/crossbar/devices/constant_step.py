"""The constant step: every pulse moves the conductance as far, up to its bounds.

    dg = +- step

aihwkit's `ConstantStepDevice`: Gokmen & Vlasov, Frontiers in Neuroscience 10 (2016) 333, and Rasch, Gokmen &
Haensch, IEEE Design & Test 37 (2020). Not modelled: any nonlinearity.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rheobase.crossbar.devices._linear import Linear
from rheobase.crossbar.devices._weights import published


class ConstantStep(Linear):
    """Steps of one size.

    >>> ConstantStep.preset("gokmen-vlasov").step_up
    0.0008
    """

    fitted: ClassVar = (("step_up",), ("step_down",))
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # aihwkit's IdealizedPresetDevice: 10,000 states, symmetric.
        "idealized": published(-1, 1, 2e-4, dw_min_dtod=0.3, dw_min_std=0.3, w_min_dtod=0.3, w_max_dtod=0.3),
        # aihwkit's GokmenVlasovPresetDevice: the specification of Gokmen & Vlasov 2016, about 1,200 states.
        "gokmen-vlasov": published(
            -1, 1, 1.6e-3, dw_min_dtod=0.3, up_down_dtod=0.01, dw_min_std=0.3, w_min_dtod=0.3, w_max_dtod=0.3
        ),
    }

    def slopes(self) -> tuple[float, float]:
        return 0.0, 0.0
