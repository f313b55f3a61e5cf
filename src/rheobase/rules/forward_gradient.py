"""The forward gradient: the exact derivative of the loss along a random direction, found in one forward pass.

    g = mean over directions u of (dL/dW . u) u,    u standard normal

Its mean is the gradient itself (in the surrogates' sense, as backpropagation's), since E[u u^T] is the
unit matrix. Beside SPSA, which asks the loss at two places, it has no sigma and no error of its order;
spikes count by their surrogate derivatives, not as the steps that they are. Its variance grows with the
number of parameters: |dL/dW|^2 + (dL/dw_i)^2 for entry i, over the number of directions.

Numbers carry their derivative along with them (dual numbers), so nothing is kept over time. Neurons run
their step-by-step reference, which can do that; the fused kernels cannot.

Baydin, Pearlmutter, Syme, Wood & Torr, "Gradients without backpropagation" (2022),
https://arxiv.org/abs/2202.08587. Not modelled: perturbed activities in place of weights (Ren et al. 2023).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor
from torch.autograd import forward_ad

from rheobase.config import option
from rheobase.layers.network import Network, Record
from rheobase.layers.neurons import Neurons
from rheobase.layers.recurrent import Recurrent
from rheobase.rules.base import Kind, LearningRule, Lesson, Memory, Outcome
from rheobase.rules.evolution import noise_of


class ForwardGradient(LearningRule):
    """Directional derivatives in forward mode, along random directions.

    >>> ForwardGradient().directions
    1
    """

    trains: ClassVar[str] = "every parameter of any network"
    cost: ClassVar[str] = "some two forward passes for each direction, step by step; keeps no step"

    directions: int = option(default=1, at_least=1, help="random directions that are averaged for each batch")

    @property
    def kind(self) -> Kind:
        return "black-box"

    def begin(self, network: Network, generator: torch.Generator) -> Memory:
        return {
            "seed": torch.randint(2**62, (), generator=generator),
            "generation": torch.tensor(0),
        }

    def accumulate(self, network: Network, lesson: Lesson, memory: Memory) -> Outcome:
        noise, generation = noise_of(memory), int(memory["generation"])
        trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
        for number in range(self.directions):
            direction = {
                name: noise.normal(generation, number, address, p.shape).to(p)
                for address, (name, p) in enumerate(trained.items())
            }
            seen, loss, slope = derivative(network, lesson, direction)
            for name, along in direction.items():
                before, part = trained[name].grad, slope / self.directions * along
                trained[name].grad = part if before is None else before + part
        return Outcome(loss, seen, {**memory, "generation": memory["generation"] + 1})


def derivative(
    network: Network, lesson: Lesson, direction: Mapping[str, Tensor]
) -> tuple[Record, Tensor, Tensor]:
    """What the network did, its loss, and the loss's derivative along a direction in its parameters.

    Args:
        network: The network.
        lesson: The batch.
        direction: By the parameters' names; those that are missing stand still.
    """
    with torch.no_grad(), forward_ad.dual_level(), _step_by_step(network):
        moving = {name: _dual(network.get_parameter(name), along) for name, along in direction.items()}
        seen = torch.func.functional_call(network, moving, (lesson.inputs,), {"record": lesson.record})
        value, slope = _parts(lesson.objective(seen))
        plain = Record(
            _parts(seen.output)[0],
            {name: _parts(signal)[0] for name, signal in seen.signals.items()},
            {layer: {n: _parts(x)[0] for n, x in state.items()} for layer, state in seen.state.items()},
        )
        # A loss that nothing of the direction reaches has no derivative by it.
        return plain, value.clone(), torch.zeros_like(value) if slope is None else slope.clone()


def _dual(value: Tensor, tangent: Tensor) -> Tensor:
    dual: Tensor = forward_ad.make_dual(value.detach(), tangent)  # type: ignore[no-untyped-call]
    return dual


def _parts(dual: Tensor) -> tuple[Tensor, Tensor | None]:
    value, tangent = forward_ad.unpack_dual(dual)  # type: ignore[no-untyped-call]
    return value, tangent


@contextmanager
def _step_by_step(network: Network) -> Iterator[None]:
    """Neurons run their reference within, which has derivatives in forward mode."""
    layers = [m for m in network.modules() if isinstance(m, (Neurons, Recurrent))]
    before = [(layer.backend, layer.checkpoint_every) for layer in layers]
    try:
        for layer in layers:
            layer.backend, layer.checkpoint_every = "torch", None
        yield
    finally:
        for layer, (backend, every) in zip(layers, before, strict=True):
            layer.backend, layer.checkpoint_every = backend, every
