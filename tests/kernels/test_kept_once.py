"""Values that two steps share are kept once."""

from __future__ import annotations

import torch

from rheobase.kernels.groups import Group
from rheobase.kernels.program import PROGRAMS
from rheobase.kernels.recurrent import plan_layer
from rheobase.kernels.recurrent_forms import kept_arrays, places_of
from rheobase.neurons.adaptive_lif import AdaptiveLIF
from rheobase.surrogate import Triangular


def test_how_far_the_membrane_was_from_threshold_is_kept_once() -> None:
    neuron = AdaptiveLIF.preset("eprop", detach=True, surrogate=Triangular())
    (plan,) = plan_layer([Group("", neuron, 3)], ()).plans
    saved = PROGRAMS[plan.key].saved
    # Before the reset and after the step: the second of a step is the first of the next.
    assert len(saved) == 2
    assert places_of(PROGRAMS[plan.key], saved) == ((0, 0), (0, 1))
    assert kept_arrays(plan.key, saved, torch.float32) == [(1, torch.float32)]


def test_values_that_are_not_shared_have_arrays_of_their_own() -> None:
    neuron = AdaptiveLIF(surrogate=Triangular())
    (plan,) = plan_layer([Group("", neuron, 3)], ()).plans
    saved = PROGRAMS[plan.key].saved
    rows = dict(places_of(PROGRAMS[plan.key], saved))
    assert kept_arrays(plan.key, saved, torch.float32) == [(0, torch.float32)] * len(saved)
    assert rows == dict.fromkeys(range(len(saved)), 0)
