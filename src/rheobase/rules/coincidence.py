"""Coincidence within one step: the simplest rule of spike timing, as devices of a crossbar can do it.

    pre at t-1, post at t              u += potentiation
    post at t, no pre at t-1           u -= depression
    post at t-1, pre at t              u -= depression

u = (w - w_min) / (w_max - w_min).

This is the plasticity that a spiking network for memtransistor crossbars was begun with, and never learnt
by. The amplitudes stand for those of a device; on a crossbar, how a conductance answers to the direction is
the device's.

Inputs that are no spikes count as so many of them, so that a constant current x gives a trace of x in each
step. Not modelled: windows longer than a step (see stdp), dependence on the weight (the device's, or stdp's
powers).
"""

from __future__ import annotations

from typing import ClassVar

from rheobase.config import option
from rheobase.kernels.timing import ONE_STEP, Timing
from rheobase.rules.plasticity import SpikeTiming


class Coincidence(SpikeTiming):
    """Potentiation of what came one step before a spike, depression of the rest.

    >>> timing = Coincidence(potentiation=0.03, depression=0.01).timing(dt=1.0)
    >>> [round(timing.plus * (x - timing.silent), 12) for x in (1.0, 0.0)]
    [0.03, -0.01]
    """

    cost: ClassVar[str] = (
        "a weight update at each spike (a row or column), or a sparse product of spikes; keeps the last step"
    )

    potentiation: float = option(default=0.01, at_least=0, help="rise, in units of w_max - w_min")
    depression: float = option(default=0.005, at_least=0, help="fall, in units of w_max - w_min")

    def timing(self, dt: float) -> Timing:
        # At a spike: potentiation x - depression (1 - x), for x = 1 or 0 inputs in the step before.
        both = self.potentiation + self.depression
        return Timing(
            pre=ONE_STEP,
            post=ONE_STEP,
            plus=both,
            minus=self.depression,
            silent=self.depression / both if both else 0.0,
            low=self.w_min,
            high=self.w_max,
            nearest=True,
        )
