"""What the conformance tests vary, read off each neuron's own fields; nothing is listed by hand."""

from __future__ import annotations

import typing
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch
from pairwise import Case
from torch import Tensor

from rheobase.config import Config, fields_of, hints_of
from rheobase.kernels.constant import Constant
from rheobase.kernels.sequence import Backend, Run, sequence
from rheobase.neurons.base import Neuron
from rheobase.neurons.spiking import SpikingNeuron
from rheobase.registry import catalogue, find

STEPS, BATCH, SIZE = 12, 2, 9
DTYPES = {"float32": torch.float32, "float64": torch.float64}

#: How a case runs a neuron, beside the neuron's own options.
RUNNING: dict[str, list[Hashable]] = {
    "dtype": ["float64", "float32"],
    "parameters": ["numbers", "scalars", "per neuron"],
    "input": ["sequence", "constant"],
    "record": ["all", "none"],
    "start": ["given", "rest"],
    "every": [None, 5],
}


def spiking_neurons() -> list[type[SpikingNeuron]]:
    """The registered models that fire."""
    return [cls for cls in catalogue(Neuron).values() if issubclass(cls, SpikingNeuron)]


def option_levels(cls: type[Neuron]) -> dict[str, list[Hashable]]:
    """The values to try for each option of a model that is not a parameter."""
    hints = hints_of(cls)
    levels: dict[str, list[Hashable]] = {}
    for field in fields_of(cls):
        hint = hints[field.name]
        if typing.get_origin(hint) is typing.Literal:
            levels[field.name] = list(typing.get_args(hint))
        elif hint is bool:
            levels[field.name] = [False, True]
        elif isinstance(hint, type) and issubclass(hint, Config):
            levels[field.name] = list(catalogue(hint))
        elif hint is float and field.metadata.get("unit") == "ms" and field.metadata.get("at_least") == 0:
            levels[field.name] = [0.0, 2.0]  # an optional duration: off, and two steps long
    return levels


def factors(cls_name: str) -> dict[str, list[Hashable]]:
    """All that a case of this model chooses."""
    return {"neuron": [cls_name], **option_levels(find(Neuron, cls_name)), **RUNNING}


def perturbed(cls: type[Neuron], name: str, default: float) -> float:
    """A value near the default that is neither 0 nor 1 and that the model accepts."""
    for value in (1.1 * default + 0.05, 0.9 * default + 0.01):
        try:
            cls(**{name: value})
        except ValueError:
            continue
        return value
    return default


def build(case: Case, dtype: torch.dtype | None = None, **changes: Any) -> Neuron:
    """The neuron of a case; parameters that are tensors ask for gradients."""
    cls = find(Neuron, str(case["neuron"]))
    chosen = dtype or DTYPES[str(case["dtype"])]
    options: dict[str, Any] = {name: case[name] for name in option_levels(cls)}
    if case["parameters"] != "numbers":
        for name in cls.parameter_names():
            value = perturbed(cls, name, getattr(cls(), name))
            if case["parameters"] == "scalars":
                tensor = torch.tensor(value, dtype=chosen)
            else:
                tensor = value * torch.linspace(0.95, 1.05, SIZE, dtype=chosen)
            options[name] = tensor.requires_grad_()
    return cls(**{**options, **changes})


@dataclass
class Stimulus:
    """Input and start of a case: leaves that ask for gradients."""

    current: Tensor
    start: dict[str, Tensor] | None
    constant: bool

    def leaves(self) -> list[Tensor]:
        """All that gets a gradient."""
        return [self.current, *(self.start or {}).values()]

    def sequence(self) -> Tensor | Constant:
        """The input as the neuron takes it."""
        return Constant(self.current, STEPS) if self.constant else self.current


def stimulus(case: Case, neuron: Neuron) -> Stimulus:
    """Random drive from far too weak to far too strong, so that each case has silence and spikes."""
    generator = torch.Generator().manual_seed(7)
    dtype = DTYPES[str(case["dtype"])]
    constant = case["input"] == "constant"
    ports = len(neuron.inputs)
    shape = (BATCH, ports * SIZE) if constant else (STEPS, BATCH, ports * SIZE)
    strength = torch.logspace(-0.7, 1.7, SIZE, dtype=torch.float64).repeat(ports)
    current = (torch.randn(shape, generator=generator, dtype=torch.float64) + 0.5) * strength
    start = None
    if case["start"] == "given":
        start = {
            name: torch.rand(BATCH, SIZE, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
            for name in neuron.initial()
        }
    return Stimulus(current.to(dtype).requires_grad_(), start, constant)


def run(case: Case, neuron: Neuron, given: Stimulus, backend: Backend, every: int | None = None) -> Run:
    """The case on one back-end."""
    record = tuple(neuron.initial()) if case["record"] == "all" else ()
    return sequence(
        neuron, given.sequence(), given.start, record=record, backend=backend, checkpoint_every=every
    )


def parameters(neuron: Neuron) -> dict[str, Tensor]:
    """The neuron's parameters that are tensors."""
    values = {name: getattr(neuron, name) for name in neuron.parameter_names()}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def gradients(result: Run, leaves: list[Tensor], weigh: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """Gradients of a weighted sum of all results; zeros for what has no influence."""
    outputs = [result.output, *result.traces.values(), *result.state.values()]
    loss = torch.stack([(weigh(x) * x).sum() for x in outputs if x.requires_grad]).sum()
    found = torch.autograd.grad(loss, leaves, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, leaves, strict=True)]


def weights(x: Tensor) -> Tensor:
    """Fixed random weights in the shape of x."""
    generator = torch.Generator().manual_seed(x.numel())
    return torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.dtype)
