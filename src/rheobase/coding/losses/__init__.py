"""Losses, one family a file; what they share is in `base`."""

from rheobase.coding.losses.base import Loss
from rheobase.coding.losses.count_hinge import CountHinge
from rheobase.coding.losses.cross_entropy import (
    CrossEntropyCount,
    CrossEntropyLast,
    CrossEntropyMax,
    CrossEntropyMean,
    CrossEntropySum,
)
from rheobase.coding.losses.first_spike import FirstSpikeCrossEntropy
from rheobase.coding.losses.mean_squared_error import MeanSquaredError
from rheobase.coding.losses.spike_trains import ResponseWindows, VanRossum

__all__ = [
    "CountHinge",
    "CrossEntropyCount",
    "CrossEntropyLast",
    "CrossEntropyMax",
    "CrossEntropyMean",
    "CrossEntropySum",
    "FirstSpikeCrossEntropy",
    "Loss",
    "MeanSquaredError",
    "ResponseWindows",
    "VanRossum",
]
