"""Gradients cut to a greatest norm, of all layers together or of some."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rheobase.layers.network import Network
from rheobase.registry import unknown


class Clipping:
    """Cuts gradients before a step.

    Args:
        network: Its parameters have the gradients.
        limit: The greatest norm; None to cut nothing.
        layers: Those whose gradients are cut, by their own norm; None for all.

    Raises:
        ValueError: If there is no such layer.
    """

    def __init__(self, network: Network, limit: float | None, layers: tuple[str, ...] | None) -> None:
        for name in layers or ():
            if name not in network.layers:
                raise ValueError(f"training.clip_only: {unknown('layer', name, network.layers)}")
        self._all = list(network.parameters())
        self._limit = limit
        self._some = (
            None if layers is None else [p for name in layers for p in network.layers[name].parameters()]
        )

    def apply(self, watched: bool) -> Tensor:
        """Cut what is too long; the norm of all gradients before, and zero if nobody wants to know."""
        gradients = _gradients(self._all)
        if not gradients or (self._limit is None and not watched):
            return torch.zeros(())
        norm = torch.nn.utils.get_total_norm(gradients)
        if self._limit is not None:
            if self._some is None:
                torch.nn.utils.clip_grads_with_norm_(self._all, self._limit, norm)
            else:
                own = torch.nn.utils.get_total_norm(_gradients(self._some))
                torch.nn.utils.clip_grads_with_norm_(self._some, self._limit, own)
        return norm


def _gradients(parameters: list[nn.Parameter]) -> list[Tensor]:
    return [p.grad for p in parameters if p.grad is not None]
