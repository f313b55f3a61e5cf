"""What the trained network did on the test split, for the report: `inspection.safetensors` and `.json`.

inputs [S, ...], targets [S], predictions [S]      the first test samples, one of each class in turn
signal/<layer>.<name> [T, S, N']                   every recordable signal, of up to 64 neurons
weight_counts/<parameter> [bins], weight_edges/... [bins + 1], and weight_counts0/, weight_edges0/ before
rate/<layer> [N]                                   mean rate of each neuron over the test split, in Hz
confusion [C, C]                                   int64, rows true, columns predicted
"""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from rheobase.files import write_bytes, write_json
from rheobase.layers.network import Network
from rheobase.tasks.base import Dataset, Splits
from rheobase.training.evaluate import Evaluation, evaluating
from rheobase.training.experiment import Experiment
from rheobase.training.folder import RunFolder
from rheobase.training.histograms import parameter_histograms
from rheobase.training.objective import Objective
from rheobase.training.seeding import generator
from rheobase.training.setup import initial_network

SAMPLES = 10
NEURONS = 64


def write_inspection(
    folder: Path,
    experiment: Experiment,
    network: Network,
    objective: Objective,
    splits: Splits,
    evaluation: Evaluation,
) -> None:
    """Look at some samples of the test split, and write both files."""
    data = splits.test
    chosen = one_per_class(data, experiment.task.outputs)
    batch = data.batch(chosen)
    noise = generator(experiment.training.seed, "evaluation")
    with evaluating(network):
        seen = network(experiment.encoder.encode(batch.inputs, noise), record=network.signals())
        tensors: dict[str, Tensor] = {
            "inputs": batch.inputs,
            "targets": batch.targets,
            "predictions": objective.predictions(seen),
            "confusion": evaluation.confusion,
        }
    for name, signal in seen.signals.items():
        tensors[f"signal/{name}"] = signal.flatten(2)[..., :NEURONS]
    for suffix, module in (("", network), ("0", initial_network(experiment, splits.train))):
        for name, (counts, edges) in parameter_histograms(module).items():
            tensors[f"weight_counts{suffix}/{name}"] = counts
            tensors[f"weight_edges{suffix}/{name}"] = edges
    tensors |= {f"rate/{layer}": rates for layer, rates in evaluation.rates.items()}
    path = RunFolder(folder).inspection
    write_bytes(path, safetensors.torch.save({k: v.contiguous().clone() for k, v in tensors.items()}))
    shape = experiment.task.input_shape
    classes = experiment.task.classes
    names = {
        "classes": list(classes) if classes else None,
        "dt": experiment.neuron.dt,
        "samples": len(chosen),
        "layers": list(network.neurons()),
        "input_is_image": len(shape) == 3 and shape[0] in (1, 3),
        "spiking": list(network.spiking),
    }
    write_json(path.with_suffix(".json"), names)


def one_per_class(data: Dataset, classes: int, samples: int = SAMPLES) -> Tensor:
    """Indices of up to `samples` samples: the first of each class, then the second of each, ..."""
    targets = data.batch(torch.arange(len(data))).targets
    turns = [(targets == c).nonzero().flatten()[:samples] for c in range(classes)]
    order = [turn[k] for k in range(samples) for turn in turns if k < len(turn)]
    return torch.stack(order[:samples])
