"""Triplet spike-timing-dependent plasticity: pairs of spikes, and triplets, two on one side and one opposite.

    at a postsynaptic spike    u += r1 (a2_plus  + a3_plus  o2)
    at a presynaptic spike     u -= o1 (a2_minus + a3_minus r2)

    r1, r2    traces of presynaptic spikes, tau_plus and tau_x
    o1, o2    traces of postsynaptic spikes, tau_minus and tau_y

u = (w - w_min) / (w_max - w_min). Slow traces (r2, o2) are read before the spike that reads them is added.
So more frequent pairs potentiate more, as measured. Defaults: the values of NEST's `stdp_triplet_synapse`
(tau_minus and tau_y belong to its neurons).

Pfister & Gerstner, "Triplets of spikes in a model of spike timing-dependent plasticity", J. Neuroscience
26, 9673 (2006); all-to-all and nearest-spike forms. Not modelled: weight dependence.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from rheobase.config import option
from rheobase.kernels.timing import Timing, Window
from rheobase.rules.plasticity import SpikeTiming


class TripletSTDP(SpikeTiming):
    """Triplet STDP.

    >>> TripletSTDP().timing(dt=1.0).plus_triplet
    0.0062
    """

    cost: ClassVar[str] = (
        "as stdp, with two more traces per neuron; memory does not grow with T (online: a copy of the "
        "weights per sample)"
    )

    a2_plus: float = option(default=5e-10, help="potentiation by pairs, in units of w_max - w_min")
    a3_plus: float = option(default=6.2e-3, help="potentiation by triplets")
    a2_minus: float = option(default=7e-3, help="depression by pairs")
    a3_minus: float = option(default=2.3e-4, help="depression by triplets")
    tau_plus: float = option(default=16.8, above=0, unit="ms", help="fast trace of presynaptic spikes")
    tau_x: float = option(default=101.0, above=0, unit="ms", help="slow trace of presynaptic spikes")
    tau_minus: float = option(default=33.7, above=0, unit="ms", help="fast trace of postsynaptic spikes")
    tau_y: float = option(default=125.0, above=0, unit="ms", help="slow trace of postsynaptic spikes")
    pairing: Literal["all", "nearest"] = option(
        default="all", help="whether traces hold all spikes, or the last one only"
    )

    def timing(self, dt: float) -> Timing:
        return Timing(
            pre=Window.exponential(self.tau_plus, dt),
            post=Window.exponential(self.tau_minus, dt),
            pre_slow=Window.exponential(self.tau_x, dt),
            post_slow=Window.exponential(self.tau_y, dt),
            plus=self.a2_plus,
            minus=self.a2_minus,
            plus_triplet=self.a3_plus,
            minus_triplet=self.a3_minus,
            low=self.w_min,
            high=self.w_max,
            nearest=self.pairing == "nearest",
        )
