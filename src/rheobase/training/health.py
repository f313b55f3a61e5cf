"""Is training healthy? Errors where it cannot go on, warnings where it probably does not learn.

    nan         the loss or a weight is NaN or infinite: `DivergedError`, training stops
    exploding   the loss is over 10 x, or the norm of the gradient over 1000 x, that of the first step
    silent      over half of a layer's neurons never fired in an epoch, or its mean rate is below .1 Hz
    saturated   a layer's mean is above .9 spikes per step
    unreached   a trained parameter got a direction of exactly zero, all through an epoch
    blind       answers differ by less than 1 % of their size between samples (see `training.dependence`)
    one_class   over .9 of an epoch's predictions are one class, and they are not right (classes only)
    stuck       the loss of an epoch (from the second on) is within 1 % of that of a read-out at zero

Losses and directions are looked at in logged steps, spikes are counted in these, and all weights are
looked at before every checkpoint, so that no checkpoint ever holds a NaN. Each kind of warning is given at
most once per layer and epoch. The bounds are rules of thumb.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from rheobase.layers.connection import plain_name
from rheobase.training.errors import DivergedError
from rheobase.training.objective import to_hertz
from rheobase.training.tally import Tally

Health = Literal["nan", "exploding", "silent", "saturated", "unreached", "blind", "one_class", "stuck"]


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """When to warn."""

    loss_growth: float = 10.0  # times the first loss
    gradient_growth: float = 1000.0  # times the first norm
    silent_share: float = 0.5  # of a layer's neurons
    silent_rate: float = 0.1  # Hz
    saturated: float = 0.9  # spikes per step
    blind: float = 0.01  # of the size of the answers
    one_class: float = 0.9  # of an epoch's predictions
    stuck: float = 0.01  # of the loss of a read-out at zero


@dataclass(frozen=True)
class Finding:
    """A warning: its kind, the layer it is about ("" for the network), and what to do."""

    health: Health
    layer: str
    message: str


class HealthMonitor:
    """Looks at training as it goes on.

    Args:
        dt: Duration of a time step in ms.
        uninformed: The loss of a read-out that stays at zero.
        bounds: When to warn.
        higher_is_better: Of the metric; for classes it is the share of right answers, else of wrong ones.
        trained: The parameters that the rule gives directions for, by name.
    """

    def __init__(
        self,
        dt: float,
        uninformed: float,
        bounds: Bounds | None = None,
        *,
        higher_is_better: bool = True,
        trained: Collection[str] = (),
    ) -> None:
        self._dt, self._uninformed, self._higher_is_better = dt, uninformed, higher_is_better
        self._bounds = bounds or Bounds()
        self._first_loss: float | None = None
        self._first_norm: float | None = None
        self._told: set[tuple[str, str]] = set()
        self._trained = tuple(trained)
        self._unreached = set(trained)  # in this epoch, so far

    def step(self, loss: float, norm: float, step: int) -> list[Finding]:
        """Look at the loss and the gradient's norm of a step.

        Raises:
            DivergedError: If the loss is not finite.
        """
        if not math.isfinite(loss):
            raise DivergedError(f"the loss is {loss} at step {step}")
        found = []
        if self._first_loss is None:
            self._first_loss = abs(loss)
        if not self._first_norm and math.isfinite(norm):
            self._first_norm = norm
        b = self._bounds
        if self._first_loss and loss > b.loss_growth * self._first_loss:
            text = f"the loss is {loss:.3g} at step {step}, it began at {self._first_loss:.3g}"
            found.append(Finding("exploding", "", f"{text}; lower the learning rate"))
        elif not math.isfinite(norm) or (self._first_norm and norm > b.gradient_growth * self._first_norm):
            text = (
                f"the norm of the gradient is {norm:.3g} at step {step}, it began at {self._first_norm:.3g}"
            )
            found.append(Finding("exploding", "", f"{text}; set clip_norm or lower the learning rate"))
        return self._new(found)

    def directions(self, network: nn.Module) -> None:
        """Look at which parameters the rule gave a direction in this step."""
        if not self._unreached:
            return
        for name, parameter in network.named_parameters():
            if name in self._unreached and parameter.grad is not None and bool(parameter.grad.any()):
                self._unreached.discard(name)

    def weights(self, network: nn.Module, step: int) -> None:
        """Raise `DivergedError` if a parameter or buffer of the network is not finite."""
        for name, value in network.state_dict().items():
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise DivergedError(f"'{name}' holds NaN or infinite values after step {step}")

    def epoch(self, tally: Tally, epoch: int) -> list[Finding]:
        """Look at the sums of epoch `epoch` (from 1), and be ready for the next one."""
        found = [finding for layer in tally.spikes for finding in self._layer(layer, tally)]
        found += [self._reach(name) for name in self._trained if name in self._unreached]
        self._unreached = set(self._trained)
        b = self._bounds
        shares, dependence = tally.predicted(), tally.dependence
        if dependence is not None and dependence < b.blind:  # then that it is one class says nothing more
            text = f"answers hardly depend on the input (they differ by {dependence:.1%} between samples)"
            remedy = "raise the initial weights (gain, initial_rate), lower biases, or lengthen tau_m"
            found.append(Finding("blind", "", f"{text}; {remedy}"))
        elif shares is not None and self._one_class(float(shares.max()), tally.value):
            text = f"class {int(shares.argmax())} is predicted for {float(shares.max()):.0%} of the samples"
            found.append(
                Finding("one_class", "", f"{text}; see that the read-out fires, or lower the learning rate")
            )
        if epoch > 1 and abs(tally.loss - self._uninformed) < b.stuck * self._uninformed:
            text = f"the loss is {tally.loss:.4g}, as if the read-out said nothing ({self._uninformed:.4g})"
            found.append(
                Finding("stuck", "", f"{text}; see that every layer fires, or raise the learning rate")
            )
        found = self._new(found)
        self._told.clear()
        return found

    def _one_class(self, share: float, value: float) -> bool:
        """Whether one class is predicted for this share of the samples, and it is not the right one."""
        right = value if self._higher_is_better else 1 - value
        return share > self._bounds.one_class and right < self._bounds.one_class

    def _layer(self, layer: str, tally: Tally) -> list[Finding]:
        b = self._bounds
        mean = tally.spikes[layer] / tally.watched  # spikes per step, shape: [N]
        silent, overall = float((mean == 0).float().mean()), float(mean.mean())
        rate = to_hertz(overall, self._dt)
        if silent > b.silent_share or rate < b.silent_rate:
            text = f"{silent:.0%} of the neurons never fired, the mean rate is {rate:.3g} Hz"
            remedy = "raise the initial weights (gain), lower the threshold, or add a rate_lower regulariser"
            return [Finding("silent", layer, f"{layer}: {text}; {remedy}")]
        if overall > b.saturated:
            text = f"the neurons fire in {overall:.0%} of all steps"
            remedy = "lower the input or the initial weights (gain), or add a rate_upper regulariser"
            return [Finding("saturated", layer, f"{layer}: {text}; {remedy}")]
        return []

    def _reach(self, name: str) -> Finding:
        plain = plain_name(name).removeprefix("layers.")
        text = f"{plain}: the rule gave it no direction in this epoch, so it does not learn"
        remedy = (
            "see that its neurons fire, and that errors come this far (within one step they do not reach "
            "what made a neuron fire that is of the timing 'late')"
        )
        return Finding("unreached", plain, f"{text}; {remedy}")

    def _new(self, found: list[Finding]) -> list[Finding]:
        new = [f for f in found if (f.health, f.layer) not in self._told]
        self._told |= {(f.health, f.layer) for f in new}
        return new

    def state(self) -> dict[str, Any]:
        """What must be kept to go on, as plain values."""
        return {
            "loss": self._first_loss,
            "norm": self._first_norm,
            "told": sorted(self._told),
            "unreached": sorted(self._unreached),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Set what `state` returned."""
        self._first_loss, self._first_norm = state["loss"], state["norm"]
        self._told = {(health, layer) for health, layer in state["told"]}
        self._unreached = set(state.get("unreached", ()))  # none in a checkpoint from before there was this
