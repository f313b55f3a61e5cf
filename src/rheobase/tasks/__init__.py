"""Tasks: data sets with their splits, metric, chance level and simple baselines. One task a file.

`digits.py` is the shortest example. A new task is a subclass of `ImageClassification` or `Task` in a
file of its own here, or in another distribution under the entry point `rheobase.tasks`.
"""

from rheobase.tasks import (
    adding,
    base,
    baselines,
    dataset,
    digits,
    evidence_accumulation,
    fashion_mnist,
    generated,
    idx,
    images,
    manifolds,
    metrics,
    mnist,
    pattern_generation,
    randman,
    ras,
    sequential_mnist,
    spike_pattern,
    spiking_xor,
    store_recall,
    streams,
)

__all__ = [
    "adding",
    "base",
    "baselines",
    "dataset",
    "digits",
    "evidence_accumulation",
    "fashion_mnist",
    "generated",
    "idx",
    "images",
    "manifolds",
    "metrics",
    "mnist",
    "pattern_generation",
    "randman",
    "ras",
    "sequential_mnist",
    "spike_pattern",
    "spiking_xor",
    "store_recall",
    "streams",
]
