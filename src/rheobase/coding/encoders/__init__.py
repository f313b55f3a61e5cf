"""Encoders, one a file (two that share their levels); what they share is in `base`."""

from rheobase.coding.encoders.base import Encoder
from rheobase.coding.encoders.constant_current import ConstantCurrent
from rheobase.coding.encoders.delta import Delta
from rheobase.coding.encoders.latency import Latency
from rheobase.coding.encoders.levels import Thermometer, ThresholdCrossing
from rheobase.coding.encoders.poisson_rate import PoissonRate
from rheobase.coding.encoders.population import Population
from rheobase.coding.encoders.sequence import Sequence
from rheobase.coding.encoders.trace import Trace

__all__ = [
    "ConstantCurrent",
    "Delta",
    "Encoder",
    "Latency",
    "PoissonRate",
    "Population",
    "Sequence",
    "Thermometer",
    "ThresholdCrossing",
    "Trace",
]
