"""What a run's crossbars cost, from the network as it is after training and some samples of the test
split."""

from __future__ import annotations

from typing import Any

import torch

from rheobase.crossbar.accounting import Meter, account
from rheobase.crossbar.array import arrays
from rheobase.layers.network import Network
from rheobase.layers.noise import renew_noise
from rheobase.tasks.dataset import Splits
from rheobase.training.evaluate import Evaluation, batch_size, evaluating
from rheobase.training.experiment import Experiment
from rheobase.training.seeding import generator


def crossbar_costs(
    experiment: Experiment, network: Network, splits: Splits, updates: int
) -> dict[str, Any] | None:
    """The table `crossbar` of a summary; None where nothing stands on crossbars."""
    placed = arrays(network)
    if not placed:
        return None
    steps = experiment.encoder.output_shape(experiment.task.input_shape)[0]
    batch = splits.test.batch(torch.arange(min(len(splits.test), batch_size(steps))))
    noise = generator(experiment.training.seed, "evaluation")
    meter = Meter(placed)
    with evaluating(network), meter.running():
        renew_noise(network, noise)
        network(experiment.encoder.encode(batch.inputs, noise))
    return account(meter.costs(), accesses=updates * experiment.training.batch_size)


def spikes_per_inference(experiment: Experiment, test: Evaluation) -> float:
    """The mean number of spikes of the whole network for one sample."""
    steps = experiment.encoder.output_shape(experiment.task.input_shape)[0]
    seconds = steps * experiment.neuron.dt / 1000.0
    return sum(float(rate.double().sum()) for rate in test.rates.values()) * seconds
