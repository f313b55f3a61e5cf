"""What the trained network did on the test split, for the report: `inspection.safetensors` and `.json`.

inputs [S, ...], targets [S], predictions [S]      the first test samples, one of each class in turn
                                                   (values: [S, K]; at every step: [S, T] or [S, T, K])
mask [S, T]                                        the steps at which the output counts, if not all do
signal/<layer>.<name> [T, S, N']                   every recordable signal, and thresholds that move, of up
                                                   to 64 neurons
weight_counts/<parameter> [bins], weight_edges/... [bins + 1], and weight_counts0/, weight_edges0/ before
spectrum/<layer> [N, 2]                            eigenvalues (real, imaginary) of recurrent weights, and
                                                   spectrum0/ before
rate/<layer> [N]                                   mean rate of each neuron over the test split, in Hz
confusion [C, C]                                   int64, rows true, columns predicted (classes only)
answers/predictions [M, K], answers/targets        of many samples (values only)
fields/<connection> [M, height, width]             weights from a grey image to up to 100 neurons
trains/<name>                                      in place of <name>, if that is 0 or 1 at each of many steps
"""

from __future__ import annotations

import math
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from rheobase.files import write_bytes, write_json
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network, Record
from rheobase.layers.neurons import Neurons
from rheobase.layers.noise import renew_noise
from rheobase.layers.recurrent import Recurrent
from rheobase.neurons.base import State
from rheobase.neurons.spiking import SpikingNeuron
from rheobase.tasks.dataset import ArrayDataset, Batch, Dataset, Splits
from rheobase.training.evaluate import Evaluation, evaluating
from rheobase.training.experiment import Experiment
from rheobase.training.folder import RunFolder
from rheobase.training.histograms import parameter_histograms
from rheobase.training.objective import Objective
from rheobase.training.seeding import generator
from rheobase.training.setup import initial_network

SAMPLES = 10
LONG, FEW = 256, 4  # steps above which only few samples are kept
NEURONS = 64
FIELDS = 100  # neurons whose weights from an image are kept
SEARCHED = 64  # samples among which one of each class is looked for, where they must be made


def write_inspection(
    folder: Path,
    experiment: Experiment,
    network: Network,
    objective: Objective,
    splits: Splits,
    evaluation: Evaluation,
) -> None:
    """Look at some samples of the test split, and write both files."""
    task, data = experiment.task, splits.test
    long = experiment.encoder.output_shape(task.input_shape)[0] > LONG
    chosen = shown_samples(data, task.outputs if task.classes else None, FEW if long else SAMPLES)
    batch = data.batch(chosen)
    noise = generator(experiment.training.seed, "evaluation")
    with evaluating(network):
        renew_noise(network, noise)
        seen = network(experiment.encoder.encode(batch.inputs, noise), record=network.signals())
        predictions = objective.predictions(seen)
    over_time = is_sequence(batch, predictions)
    tensors: dict[str, Tensor] = {
        "inputs": batch.inputs,
        "targets": batch.targets.transpose(0, 1) if over_time else batch.targets,
        "predictions": predictions.transpose(0, 1) if over_time else predictions,
    }
    if batch.mask is not None:
        tensors["mask"] = batch.mask.t().to(torch.uint8)
    if evaluation.confusion is not None:
        tensors["confusion"] = evaluation.confusion
    if evaluation.answers is not None:
        tensors["answers/predictions"], tensors["answers/targets"] = evaluation.answers
    for name, signal in (seen.signals | thresholds(network, seen)).items():
        tensors[f"signal/{name}"] = signal.flatten(2)[..., :NEURONS]
    for suffix, module in (("", network), ("0", initial_network(experiment, splits.train))):
        for name, (counts, edges) in parameter_histograms(module).items():
            tensors[f"weight_counts{suffix}/{name}"] = counts
            tensors[f"weight_edges{suffix}/{name}"] = edges
        tensors |= {f"spectrum{suffix}/{name}": values for name, values in spectra(module).items()}
    tensors |= {f"fields/{name}": values for name, values in fields(network, task.input_shape).items()}
    tensors |= {f"rate/{layer}": rates for layer, rates in evaluation.rates.items()}
    if long:
        tensors = dict(_in_bytes(name, value) for name, value in tensors.items())
    path = RunFolder(folder).inspection
    write_bytes(path, safetensors.torch.save({k: v.contiguous().clone() for k, v in tensors.items()}))
    shape, classes = task.input_shape, task.classes
    names = {
        "classes": list(classes) if classes else None,
        "dt": experiment.neuron.dt,
        "samples": len(chosen),
        "layers": list(network.neurons()),
        "input_is_image": len(shape) == 3 and shape[0] in (1, 3),
        "spiking": list(network.spiking),
    }
    write_json(path.with_suffix(".json"), names)


def _in_bytes(name: str, value: Tensor) -> tuple[str, Tensor]:
    """Spike trains (0 or 1 at each of many steps) as bytes, under another name; other tensors as they are."""
    if value.dim() < 3 or not value.is_floating_point() or not bool(((value == 0) | (value == 1)).all()):
        return name, value
    return f"trains/{name}", value.to(torch.uint8)


def spectra(network: Network) -> dict[str, Tensor]:
    """The eigenvalues of the weights of each recurrent layer, (real, imaginary) `[N, 2]`."""
    weights = {n: m.weight.detach() for n, m in network.layers.items() if isinstance(m, Recurrent)}
    return {n: torch.view_as_real(torch.linalg.eigvals(w)).contiguous() for n, w in weights.items()}


def fields(network: Network, shape: tuple[int, ...]) -> dict[str, Tensor]:
    """Weights of the first connection as images `[M, height, width]`, where inputs are grey images."""
    name, first = next(iter(network.layers.items()))
    if len(shape) != 3 or shape[0] != 1 or not isinstance(first, Dense) or first.inputs != math.prod(shape):
        return {}
    return {name: first.weight.detach()[:FIELDS].reshape(-1, *shape[1:])}


def thresholds(network: Network, seen: Record) -> dict[str, Tensor]:
    """Thresholds that move, after each step `[T, S, N]`, from the recorded states."""
    found: dict[str, Tensor] = {}
    for layer, module in network.layers.items():
        if isinstance(module, Recurrent):
            models = {f"{layer}.{g.name}" if g.name else layer: g.neuron for g in module.groups()}
        elif isinstance(module, Neurons):
            models = {layer: module.bound()}
        else:
            continue
        for name, neuron in models.items():
            if isinstance(neuron, SpikingNeuron):
                state = State({variable: seen[f"{name}.{variable}"] for variable in neuron.initial()})
                level = neuron.level(state)
                if isinstance(level, Tensor) and level.dim() > 2:
                    found[f"{name}.threshold"] = level.detach()
    return found


def is_sequence(batch: Batch, predictions: Tensor) -> bool:
    """Whether there is a target at every step: classes `[T, B]`, or values `[T, B, K]`."""
    return batch.targets.dim() == (3 if predictions.is_floating_point() else 2)


def shown_samples(data: Dataset, classes: int | None, samples: int) -> Tensor:
    """Indices of the samples to show: one of each class in turn, or the first ones."""
    first = torch.arange(min(samples, len(data)))
    if classes is None or data.batch(first[:1]).targets.dim() > 1:
        return first
    return one_per_class(data, classes, samples)


def one_per_class(data: Dataset, classes: int, samples: int = SAMPLES) -> Tensor:
    """Indices of up to `samples` samples: the first of each class, then the second of each, ..."""
    some = len(data) if isinstance(data, ArrayDataset) else min(len(data), SEARCHED)
    targets = data.batch(torch.arange(some)).targets
    turns = [(targets == c).nonzero().flatten()[:samples] for c in range(classes)]
    order = [turn[k] for k in range(samples) for turn in turns if k < len(turn)]
    return torch.stack(order[:samples])
