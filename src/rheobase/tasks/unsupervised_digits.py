"""Handwritten digits, to be told apart without labels: the images and splits of `mnist`, other recipes.

A network learns from the images alone what kinds there are. Labels name those kinds afterwards, and score
the answers. Chance level and baselines are those of `mnist`, whose linear model and nearest neighbour do
learn from labels.

Diehl & Cook, Frontiers in Computational Neuroscience 9, 99 (2015); all of MNIST there, for 15 passes: about
83 % with 100 neurons, 95 % with 6,400.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rheobase.tasks.mnist import MNIST

_NEURON = {
    "name": "lif",
    "tau_m": 100.0,
    "threshold": 100.0,
    "reset": "value",
    "refractory": 5.0,
}


class UnsupervisedDigits(MNIST):
    """Handwritten digits in clusters, 28x28 pixels; their 10 classes name the clusters.

    >>> UnsupervisedDigits().input_shape, UnsupervisedDigits.recipes["default"]["rule"]["name"]
    ((1, 28, 28), 'stdp')
    """

    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {
            "encoder": {"name": "poisson_rate", "steps": 150, "max_rate": 128.0},
            "network": {"name": "competitive", "hidden": 400, "train_neurons": ["threshold"]},
            "neuron": _NEURON,
            # So slow a leak that it counts votes.
            "readout": {"name": "leaky_integrator", "tau_m": 1e6},
            "rule": {
                "name": "stdp",
                "online": True,
                "a_plus": 0.01,
                "a_minus": 0.001,
                "pairing": "nearest",
                "normalise": True,
                "homeostasis": 2.0,
            },
            "loss": {"name": "cross_entropy_max"},
            "decoder": {"name": "membrane_last"},
            "training": {
                "epochs": 5,
                "batch_size": 10,
                "optimizer": "sgd",
                "learning_rate": 1.0,
                "log_every": 10,
            },
        },
    }
    settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # The window is one step, in which few pixels fire: a spike says much of these, little of the rest.
        "coincidence": {
            "rule": {
                "online": True,
                "potentiation": 0.05,
                "depression": 0.001,
                "normalise": True,
                "homeostasis": 2.0,
            },
        },
    }
