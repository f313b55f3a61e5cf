"""RMaxProp: a learning rate for each parameter, from the largest recent gradient.

    v <- max(g^2, gamma v),    w <- w - r0 g / (sqrt(v) + eps)

A step is never larger than r0, and the first with a gradient is r0 sign(g), whatever the gradient's scale.
Unlike a mean of squares, the maximum remembers a rare large gradient for about tau = step / (1 - gamma).
gamma = exp(-0.5/30) is the authors' value for a step every 0.5 s and a memory of 30 s, eps = 1e-12.

Kept is sqrt(v), which for gradients that are small does not underflow.

Zenke & Ganguli, "SuperSpike", Neural Computation 30 (2018); the constants are those of their code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

#: The authors' decay: a memory of 30 s and a step every 0.5 s.
GAMMA = math.exp(-0.5 / 30.0)


class RMaxProp(torch.optim.Optimizer):
    """RMaxProp.

    Args:
        parameters: What is trained.
        lr: r0, the largest change of a parameter in a step.
        decay: gamma, what is left of v from one step to the next.
        eps: Added to sqrt(v).

    >>> w = torch.nn.Parameter(torch.zeros(2))
    >>> w.grad = torch.tensor([1e-9, -4.0])
    >>> RMaxProp([w], lr=0.5, eps=0.0).step()
    >>> w.tolist()
    [-0.5, 0.5]
    """

    def __init__(
        self, parameters: Iterable[Tensor], lr: float = 1e-3, decay: float = GAMMA, eps: float = 1e-12
    ) -> None:
        for name, value, good in (
            ("lr", lr, lr >= 0.0),
            ("decay", decay, 0.0 <= decay <= 1.0),
            ("eps", eps, eps >= 0.0),
        ):
            if not good:
                wanted = "0 to 1" if name == "decay" else "at least 0"
                raise ValueError(f"RMaxProp.{name}: got {value}, wanted {wanted}")
        super().__init__(parameters, {"lr": lr, "decay": decay, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; parameters without a gradient stay."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            root, eps = math.sqrt(group["decay"]), group["eps"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                size, state = p.grad.abs(), self.state[p]
                if "largest" in state:
                    torch.maximum(size, state["largest"].mul_(root), out=state["largest"])
                else:
                    state["largest"] = size
                # Where nothing ever came in, 0 / 0 without eps would be no number.
                change = p.grad / (state["largest"] + eps)
                p.sub_(torch.nan_to_num_(change, nan=0.0) if eps == 0.0 else change, alpha=group["lr"])
        return loss
