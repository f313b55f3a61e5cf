"""From an experiment to the objects that training and evaluation work on."""

from __future__ import annotations

import torch

from rheobase.crossbar.array import Placed
from rheobase.layers.network import Network
from rheobase.layers.noise import renew_noise
from rheobase.tasks.dataset import Dataset
from rheobase.training.experiment import Experiment
from rheobase.training.objective import Objective
from rheobase.training.seeding import generator, global_seed

#: Samples on which initial firing rates are set.
SETTLING = 256


def build_network(experiment: Experiment) -> Network:
    """The network with its initial weights, which the seed alone decides."""
    task, seed = experiment.task, experiment.training.seed
    _, *shape = experiment.encoder.output_shape(task.input_shape)
    with global_seed(seed, "weights"):
        return experiment.network.build(tuple(shape), task.outputs, experiment.neuron, experiment.readout)


def put_on_substrate(experiment: Experiment, network: Network) -> dict[str, Placed]:
    """Put the network's connections on the experiment's substrate; the arrays, by layer."""
    return experiment.substrate.place(network, generator(experiment.training.seed, "devices"))


def initial_network(experiment: Experiment, train: Dataset) -> Network:
    """The network as training starts with it: built, settled on training data if that was asked for, and put
    on its substrate."""
    network = build_network(experiment)
    if experiment.network.settles():
        inputs = train.batch(torch.arange(min(len(train), SETTLING))).inputs
        noise = generator(experiment.training.seed, "settling")
        sequence = experiment.encoder.encode(inputs, noise)
        renew_noise(network, noise)
        with global_seed(experiment.training.seed, "settling"):
            experiment.network.settle(network, sequence)
    put_on_substrate(experiment, network)
    return network


def build_objective(experiment: Experiment, network: Network) -> Objective:
    """The objective on this network.

    Raises:
        ValueError: If the read-out lacks a signal that loss or decoder wants.
    """
    return Objective(
        experiment.loss,
        experiment.decoder,
        experiment.regularisers,
        network,
        classes=experiment.task.classes is not None,
    )
