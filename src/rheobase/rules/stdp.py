"""Pair-based spike-timing-dependent plasticity.

    pre before post by d ms    u += a_plus  (1 - u)^power_plus  exp(-d/tau_plus)
    post before pre by d ms    u -= a_minus      u^power_minus  exp(-d/tau_minus)

with u = (w - w_min) / (w_max - w_min), over all pairs of spikes, or of each spike with the last one of the
other side only. The powers are the weight dependence: 0 additive (with bounds), 1 multiplicative, between
them a power law (`rheobase.kernels.timing` says what happens in which order). With `silent`, a postsynaptic
spike depresses synapses whose trace is below that.

Song, Miller & Abbott, Nature Neuroscience 3, 919 (2000), additive; van Rossum, Bi & Turrigiano, J.
Neuroscience 20 (2000), multiplicative; Guetig, Aharonov, Rotter & Sompolinsky, J. Neuroscience 23 (2003),
powers between; the default amplitudes are those of Brian 2's example of STDP. With competition and adaptive
thresholds, images are clustered without labels: Diehl & Cook, Frontiers in Computational Neuroscience 9, 99
(2015). Not modelled: see `rheobase.kernels.timing`.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from rheobase.config import option
from rheobase.kernels.timing import Timing, Window
from rheobase.rules.plasticity import SpikeTiming


class STDP(SpikeTiming):
    """Pair-based STDP.

    >>> timing = STDP(a_plus=0.01, tau_plus=20.0).timing(dt=1.0)
    >>> round(timing.plus * timing.pre.decay ** 10, 7)  # pre 10 ms before post
    0.0060653
    """

    cost: ClassVar[str] = (
        "traces of all neurons, and an update at each spike (a row or column of weights), or a sparse "
        "product of spikes and traces; memory does not grow with T (online: a copy of the weights per sample)"
    )

    a_plus: float = option(default=0.01, help="potentiation, in units of w_max - w_min")
    a_minus: float = option(default=0.0105, help="depression, in units of w_max - w_min")
    tau_plus: float = option(default=20.0, above=0, unit="ms", help="window of pre before post")
    tau_minus: float = option(default=20.0, above=0, unit="ms", help="window of post before pre")
    power_plus: float = option(
        default=0.0, at_least=0, help="weight dependence of potentiation: 0 additive, 1 multiplicative"
    )
    power_minus: float = option(default=0.0, at_least=0, help="weight dependence of depression")
    pairing: Literal["all", "nearest"] = option(
        default="all", help="pairs of all spikes, or of each with the last one of the other side"
    )
    silent: float = option(
        default=0.0, at_least=0, help="presynaptic trace below which a postsynaptic spike depresses"
    )
    same_step: bool = option(
        default=False, help="whether an input comes before a spike of the same step, or makes no pair with it"
    )

    def timing(self, dt: float) -> Timing:
        return Timing(
            pre=Window.exponential(self.tau_plus, dt),
            post=Window.exponential(self.tau_minus, dt),
            plus=self.a_plus,
            minus=self.a_minus,
            silent=self.silent,
            power_plus=self.power_plus,
            power_minus=self.power_minus,
            low=self.w_min,
            high=self.w_max,
            nearest=self.pairing == "nearest",
            same_step=self.same_step,
        )
