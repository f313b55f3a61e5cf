"""What a linear model gets from the mean input rates alone: a task's code without its order in time.

Inputs are encoded as in the recipe, averaged over all steps, and standardised; then multinomial logistic
regression as in the baselines of tasks, fitted on the training split and scored on the test split.

    python benchmarks/mean_input_rates.py sequential_mnist srnn srnn_pixels
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from rheobase.kernels.constant import Constant
from rheobase.tasks.baselines import classification
from rheobase.tasks.dataset import Dataset
from rheobase.training.experiment import Experiment


def mean_rates(experiment: Experiment, data: Dataset, lot: int = 250) -> Tensor:
    """The mean over time of what each sample is encoded as, `[samples, inputs]`."""
    inputs, random = data.whole().inputs, torch.Generator().manual_seed(0)
    codes = (experiment.encoder.encode(some, random) for some in inputs.split(lot))
    return torch.cat([c.value if isinstance(c, Constant) else c.mean(0) for c in codes]).flatten(1)


if __name__ == "__main__":
    task, *recipes = sys.argv[1:]
    for recipe in recipes:
        experiment = Experiment.from_recipe(task, recipe)
        splits = experiment.task.splits()
        sets = (splits.train, splits.test)
        (train, test), (labels, wanted) = (
            [mean_rates(experiment, data) for data in sets],
            [data.whole().targets for data in sets],
        )
        mean, deviation = train.mean(0), train.std(0).clamp(min=1e-6)
        train, test = (train - mean) / deviation, (test - mean) / deviation
        found = classification(train, labels, test, wanted)
        print(f"{task} {recipe}: linear on mean input rates {found['linear']:.4f}")
