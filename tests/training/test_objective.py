from __future__ import annotations

import math

import pytest
import torch
from small_runs import small

from rheobase.coding.decoders import MembraneMax, SpikeCount
from rheobase.coding.losses import CrossEntropyCount, CrossEntropyMax, CrossEntropySum
from rheobase.coding.regularisers import L1Activity
from rheobase.layers.network import Record
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.training.objective import Objective, spike_counts
from rheobase.training.setup import build_network

NETWORK = build_network(small())
QUIET = build_network(small().replace(readout=LeakyIntegrator()))


def test_only_what_is_needed_is_recorded() -> None:
    assert Objective(CrossEntropySum(), SpikeCount(), (), NETWORK).training == ("readout.v", "readout.spikes")
    assert Objective(CrossEntropySum(), MembraneMax(), (), QUIET).training == ("readout.v",)
    priced = Objective(CrossEntropyCount(), SpikeCount(), (L1Activity(),), NETWORK)
    assert priced.training == ("readout.spikes", "hidden1.spikes")
    assert Objective(CrossEntropySum(), MembraneMax(), (), QUIET).spikes == {"hidden1": "hidden1.spikes"}


def test_a_silent_readout_has_no_spikes() -> None:
    with pytest.raises(ValueError, match=r"loss 'cross_entropy_count' reads 'spikes'.*choose a loss that"):
        Objective(CrossEntropyCount(), MembraneMax(), (), QUIET)
    with pytest.raises(ValueError, match=r"decoder 'spike_count' reads 'spikes' of the layer 'readout'"):
        Objective(CrossEntropyMax(), SpikeCount(), (), QUIET)


def test_values() -> None:
    objective = Objective(CrossEntropyCount(), SpikeCount(), (L1Activity(strength=0.5),), NETWORK)
    counts = torch.zeros(4, 2, 10)
    counts[0, 0, 3] = counts[1, 1, 7] = 1.0
    hidden = torch.zeros(4, 2, 16)
    hidden[:3, 0, 5] = 1.0
    record = Record(counts, {"readout.spikes": counts, "hidden1.spikes": hidden})
    targets = torch.tensor([3, 7])
    error = math.log(math.e + 9) - 1
    assert float(objective.error(record, targets)) == pytest.approx(error)
    assert float(objective.loss(record, targets)) == pytest.approx(error + 1.5)
    assert objective.predictions(record).tolist() == [3, 7]
    found = spike_counts(record, {"hidden1": "hidden1.spikes"})["hidden1"]
    assert found.tolist() == [3.0 if n == 5 else 0.0 for n in range(16)]


def test_loss_of_a_readout_at_zero() -> None:
    assert Objective(CrossEntropySum(), SpikeCount(), (), NETWORK).uninformed(6, 10) == pytest.approx(
        6 * math.log(10)
    )
    assert Objective(CrossEntropyMax(), SpikeCount(), (), NETWORK).uninformed(6, 10) == pytest.approx(
        math.log(10)
    )
