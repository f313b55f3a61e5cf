"""The optimizer, and the learning rate as a function of the step.

With S steps in all, s of them done, and L the `learning_rate` option:

    constant   L
    cosine     L (1 + cos(pi s / S)) / 2                       Loshchilov & Hutter 2017, arXiv:1608.03983
    onecycle   from L/25 up to L over the first .3 S - 1 steps, then down to L/250000 at the last step,
               both along half a cosine                        Smith & Topin 2018, arXiv:1708.07120
    drop       L, and L/10 from 0.4 S on

The rates of the two are those of torch's `CosineAnnealingLR` and `OneCycleLR` (there with momentum cycling
off). A function of the step has no state, so a checkpoint need not hold any.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rheobase.layers.connection import trained_weight
from rheobase.training.experiment import Training
from rheobase.training.rmaxprop import GAMMA, RMaxProp


def make_optimizer(training: Training, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The torch optimizer that the options name.

    Raises:
        ValueError: If there is nothing to train.
    """
    trained = [p for p in parameters if p.requires_grad]
    if not trained:
        raise ValueError("the network has no trainable parameters, wanted at least one")
    lr, decay, momentum = training.learning_rate, training.weight_decay, training.momentum
    # Fused: one pass over memory per parameter instead of about ten.
    if training.optimizer == "adam":
        return torch.optim.Adam(trained, lr=lr, weight_decay=decay, fused=True)
    if training.optimizer == "adamw":
        return torch.optim.AdamW(trained, lr=lr, weight_decay=decay, fused=True)
    if training.optimizer == "adamax":
        return torch.optim.Adamax(trained, lr=lr, weight_decay=decay)
    if training.optimizer == "sgd":
        return torch.optim.SGD(trained, lr=lr, weight_decay=decay, momentum=momentum, fused=True)
    if training.optimizer == "rmaxprop":
        if decay or momentum:
            raise ValueError(
                f"training.optimizer: got rmaxprop with weight_decay {decay:g} and momentum "
                f"{momentum:g}, wanted 0 for both, which it does not know"
            )
        return RMaxProp(trained, lr=lr, decay=GAMMA if training.smoothing is None else training.smoothing)
    alpha = 0.99 if training.smoothing is None else training.smoothing
    return torch.optim.RMSprop(trained, lr=lr, alpha=alpha, weight_decay=decay, momentum=momentum)


def learning_rate(training: Training, step: int, steps: int) -> float:
    """The learning rate of step `step` (from 0) of `steps`.

    >>> learning_rate(Training(schedule="cosine", learning_rate=1.0), 5, 10)
    0.5
    """
    top = training.learning_rate
    if training.schedule == "cosine":
        return _between(top, 0.0, step / steps)
    if training.schedule == "drop":
        return top if step < 0.4 * steps else top / 10
    if training.schedule == "onecycle":
        start, end = top / 25, top / 25 / 1e4
        peak, last = 0.3 * steps - 1, steps - 1
        if step <= peak:
            return _between(start, top, step / peak)
        return _between(top, end, (step - peak) / (last - peak))
    return top


def _between(start: float, end: float, share: float) -> float:
    """Half a cosine from `start` (share 0) to `end` (share 1)."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Use this learning rate from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def bounded_weights(bound: float | None, network: nn.Module) -> list[Tensor]:
    """The weights that are kept within the bound after each step: none without one."""
    if bound is None:
        return []
    weights = (trained_weight(module) for module in network.modules())
    return [weight for weight in weights if weight is not None]


def keep_within(weights: list[Tensor], bound: float | None) -> None:
    """Put weights that a step took out of the bound back to it.

    >>> w = torch.tensor([-3.0, 0.5])
    >>> keep_within([w], 1.0)
    >>> w.tolist()
    [-1.0, 0.5]
    """
    if bound is not None:
        with torch.no_grad():
            for weight in weights:
                weight.clamp_(-bound, bound)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The tensors of the optimizer's state, by "parameter number/name"."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}/{name}": value
        for number, values in state.items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def optimizer_values(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The rest of the optimizer's state, as plain values."""
    state = optimizer.state_dict()
    numbers = {
        str(number): {n: v for n, v in values.items() if not isinstance(v, Tensor)}
        for number, values in state["state"].items()
    }
    return {"numbers": numbers, "groups": state["param_groups"]}


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], values: Mapping[str, Any]
) -> None:
    """Set the state that `optimizer_tensors` and `optimizer_values` returned."""
    state: dict[int, dict[str, Any]] = {int(n): dict(v) for n, v in values["numbers"].items()}
    for name, tensor in tensors.items():
        number, key = name.split("/")
        state.setdefault(int(number), {})[key] = tensor
    # JSON knows no tuples.
    groups = [
        {k: tuple(v) if isinstance(v, list) and k != "params" else v for k, v in group.items()}
        for group in values["groups"]
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
