"""Training in place: any torch optimizer says what is wished, a scheme of programming writes it to the
arrays.

One step: the torch optimizer moves all parameters. Where a parameter stands on an array, the difference to
what the array stores is the wish, the scheme writes it, and the parameter becomes what the array stores then.
Parameters that stand on none (biases, time constants) stay as the optimizer moved them.

Connections that are rewired (DEEP R): the strength that decides is the one that the scheme means (its digital
copy, or what is stored and the sum that is not written yet), and what rewiring does to it is part of the next
wish. The cells of a connection that was drawn are written to a weight of zero at once, by write and verify,
from whatever they held. Those of one that went dormant are left as they are: cells that stand for no
connection are switched off, each by itself. (A scheme's second array remembers them until it forgets.)

So momentum or Adam's moments, where asked for, are digital numbers per weight; plain SGD has none. Random
numbers of a step are drawn from a generator seeded with (seed, array, number of the step): the state is all
in `state_dict`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from rheobase.crossbar.array import Placed
from rheobase.crossbar.programming.base import Programming
from rheobase.crossbar.programming.verify import write_and_verify

#: In front of what schemes keep, beside what the torch optimizer does.
_OWN = "write_"
#: The change by rewiring that is to be part of the next wish.
_CARRIED = "carried"
#: How cells of a new connection are brought to zero: rounds, error left alone (of the largest weight), and
#: pulses per round.
ERASING, ERASED, MOST = 4, 0.02, 64


class PulsedOptimizer(torch.optim.Optimizer):
    """A torch optimizer whose changes reach arrays as pulses.

    Args:
        inner: The torch optimizer, over the parameters of the network.
        placed: The arrays of the network (`rheobase.crossbar.array.arrays`). Those of connections that are
            not trained (whose parameter `inner` does not have) are left as they are.
        programming: How wishes are written.
        seed: Of noise and lots.

    Raises:
        ValueError: If the scheme cannot program such arrays.

    >>> from rheobase.crossbar.array import arrays, place
    >>> from rheobase.crossbar.devices.constant_step import ConstantStep
    >>> from rheobase.crossbar.mapping import DifferentialPair
    >>> from rheobase.crossbar.programming.rounded_pulses import RoundedPulses
    >>> from rheobase.layers.dense import Dense
    >>> layer = Dense(3, 2)
    >>> placed = place(layer, ConstantStep(step_up=0.01), DifferentialPair(), generator=None)
    >>> inner = torch.optim.SGD(layer.parameters(), lr=0.1)
    >>> optimizer = PulsedOptimizer(inner, {"dense": placed}, RoundedPulses(), seed=0)
    >>> layer.weight.sum().backward()
    >>> optimizer.step()
    >>> int(placed.array.pulses.sum()) > 0
    True
    """

    def __init__(
        self,
        inner: torch.optim.Optimizer,
        placed: Mapping[str, Placed],
        programming: Programming,
        *,
        seed: int,
    ) -> None:
        super().__init__(inner.param_groups, {})
        moved = {id(parameter) for group in inner.param_groups for parameter in group["params"]}
        self.placed = {name: one for name, one in placed.items() if id(one.parameter) in moved}
        self.inner, self.programming, self.seed = inner, programming, seed
        self._share()
        for one in self.placed.values():
            begun = programming.begin(one)
            self.state[one.parameter].update({f"{_OWN}{key}": value for key, value in begun.items()})
            self.state[one.parameter][f"{_OWN}number"] = 0

    def _share(self) -> None:
        """State and groups are the same objects in both."""
        self.inner.state, self.inner.param_groups = self.state, self.param_groups

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move the parameters, and write those that stand on arrays."""
        own = {name: self._taken(one) for name, one in self.placed.items()}
        before = {name: one.parameter.detach().clone() for name, one in self.placed.items()}
        loss = self.inner.step(closure)
        for name, one in self.placed.items():
            state = own[name]
            number = state.pop("number")
            wish = one.parameter - before[name]
            if _CARRIED in state:
                wish += state.pop(_CARRIED)
            one.parameter.copy_(before[name])
            self.programming.write(one, wish, state, self._generator(name, number))
            kept = {f"{_OWN}{key}": value for key, value in state.items()}
            self.state[one.parameter].update({**kept, f"{_OWN}number": number + 1})
        return loss

    @torch.no_grad()
    def meant(self, parameter: Tensor) -> Tensor:
        """What a parameter is meant to be: itself, or what the scheme knows of a wish that is not written."""
        for one in self.placed.values():
            if one.parameter is parameter:
                return self._meant(one)
        return parameter

    @torch.no_grad()
    def rewired(self, parameter: Tensor, before: Tensor) -> None:
        """Follow a rewiring (see `rheobase.layers.rewire`): the parameter mirrors the cells again."""
        for name, one in self.placed.items():
            if one.parameter is parameter:
                self._follow(name, one, before)

    def _meant(self, one: Placed) -> Tensor:
        state = self.state[one.parameter]
        kept = {name.removeprefix(_OWN): value for name, value in state.items() if name.startswith(_OWN)}
        meant = self.programming.meant(one, kept).view_as(one.parameter)
        return meant + kept[_CARRIED] if _CARRIED in kept else meant

    def _follow(self, name: str, one: Placed, before: Tensor) -> None:
        state, mask = self.state[one.parameter], one.array.mask
        assert mask is not None
        drawn = mask & (one.parameter == 0)
        change = one.parameter - before
        if self.programming.in_place and bool(drawn.any()):
            write_and_verify(
                one.array,
                torch.zeros_like(one.parameter).flatten(1),
                self._generator(f"{name}/rewired", state[f"{_OWN}number"]),
                rounds=ERASING,
                tolerance=ERASED,
                most=MOST,
                only=drawn.flatten(1),
            )
        one.sync()
        carried = state.setdefault(f"{_OWN}{_CARRIED}", torch.zeros_like(one.parameter))
        change = torch.where(drawn, -self._meant(one), change)
        carried += torch.where(mask, change, 0.0)

    def _taken(self, one: Placed) -> dict[str, Any]:
        """What the scheme keeps for an array, taken out of the state (where the inner optimizer would look
        for its own, and not begin)."""
        state = self.state[one.parameter]
        names = [name for name in state if name.startswith(_OWN)]
        return {name.removeprefix(_OWN): state.pop(name) for name in names}

    def _generator(self, name: str, number: int) -> torch.Generator:
        digest = hashlib.sha256(f"{self.seed}/{name}/{number}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Set the state that `state_dict` returned."""
        super().load_state_dict(state_dict)
        self._share()
        # torch gives tensors the dtype of their parameter; ours keep their own.
        ordered = [p for group in self.param_groups for p in group["params"]]
        for index, values in state_dict["state"].items():
            for name, value in values.items():
                if name.startswith(_OWN):
                    kept = value.clone() if isinstance(value, Tensor) else value
                    self.state[ordered[int(index)]][name] = kept
