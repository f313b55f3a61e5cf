"""What a workload hands to a contestant and what the contestant hands back.

The rules that use these types are written at the top of `benchmarks.harness`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Data = Mapping[str, NDArray[np.generic]]
"""The weights and inputs of one case, made from a seed: float32 arrays (class labels: int64)."""


@dataclass(frozen=True)
class Outputs:
    """What one evaluation from the given weights and inputs must produce."""

    spikes: NDArray[np.bool_]  # shape: (T, B, N), of the (first) hidden layer
    gradients: Mapping[
        str, NDArray[np.floating]
    ]  # of the loss; keys and shapes as the parameters in the data


@dataclass(frozen=True)
class Runner:
    """One contestant, ready to run one case."""

    step: Callable[[], object]
    """The timed call. Returns once its results exist (an asynchronous library blocks here)."""
    check: Callable[[], Outputs] | None
    """Evaluate once from the data's own weights, by the code that `step` times. None for a floor."""
    notes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Things worth keeping beside the time, such as which product was the fastest."""


Factory = Callable[[Data], Runner]
Forms = Mapping[str, Factory]
"""A contestant's ways of writing one workload. All are timed; the fastest stands for the contestant."""


class ContestantError(RuntimeError):
    """A contestant could not be imported, stopped, or computed something else."""
